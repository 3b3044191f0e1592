"""The zoo goes through preparation: every odd file and archive meets its fate, whichever way it is decoded."""

import io
import os

import fuzz
import numpy as np
import pytest
import zoo
import zoo_archives
from kinds_of_files import coded, picture
from PIL import Image

from koala import data
from koala.data import decode, jpeg, preparation, sources
from koala.data.examine import examine
from koala.data.reasons import Refused
from koala.system.errors import KoalaError

FILES = zoo.files()
ARCHIVES = zoo_archives.archives()


def test_every_odd_file_meets_its_fate(tmp_path):
    place = tmp_path / "zoo"
    place.mkdir()
    for name, case in FILES.items():
        (place / name).write_bytes(case.content)
    data.prepare(str(place), "zoo", 32)
    table = data.files("zoo").set_index("path")
    wrong = {}
    for name, case in FILES.items():
        line = table.loc[name]
        codes = [code for code in line["code"].split() if code != "near-copy"]  # many show the same
        fits = case.code is None or (case.code in codes if case.code else not codes)
        if line["status"] != case.status or not fits or (case.status == "refused" and not line["reason"]):
            wrong[name] = (case.status, case.code, line["status"], line["reason"])
    assert not wrong


def outcome(content):
    try:
        return decode.square(content, 32)
    except Refused as error:
        return error.reason.code


def test_decoding_with_and_without_pillow_is_one(monkeypatch):
    frame = jpeg.frame
    for name, case in FILES.items():
        fast = outcome(case.content)
        with monkeypatch.context() as patch:
            patch.setattr(jpeg, "frame", lambda data: (found := frame(data)) and found._replace(plain=False))
            slow = outcome(case.content)
        if isinstance(fast, str) or isinstance(slow, str):
            assert isinstance(fast, str) and isinstance(slow, str), (name, fast, slow)
        else:
            assert np.array_equal(fast[0], slow[0]) and fast[1:] == slow[1:], name


def test_odd_names_are_told_apart_and_read_back(tmp_path):
    place = tmp_path / "names"
    place.mkdir()
    for i, name in enumerate(zoo.NAMES):
        with open(os.path.join(os.fsencode(place), name), "wb") as file:
            file.write(coded(picture(800 + i)))
    photos = data.prepare(str(place), "names", 32)
    assert len(photos) == len(zoo.NAMES) and photos.files["path"].is_unique
    assert {"Icon\\r", "new\\nline.jpg", "caf\\xe9.jpg", "bell\\x07.jpg", "nan"} <= set(photos.files["path"])
    assert len((photos.folder / "files.csv").read_bytes().splitlines()) == len(zoo.NAMES) + 1
    assert data.load("names").fingerprint == photos.fingerprint


def test_a_new_data_set_is_read_back_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    place = tmp_path / "some"
    place.mkdir()
    for i in range(12):
        (place / f"{i}.jpg").write_bytes(coded(picture(i)))
    before = data.prepare(str(place), "some", 32)
    (place / "13.jpg").write_bytes(coded(picture(13)))
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "read_table", lambda path: data.files("some"))  # a line is missing
        with pytest.raises(KoalaError, match=r"cannot be read back .*nothing was replaced"):
            data.prepare(str(place), "some", 32)
        assert data.load("some").fingerprint == before.fingerprint
    assert len(data.prepare(str(place), "some", 32)) == 13


def fates(place) -> dict[str, str]:
    """{path: code, "" where it is used}; of several of one name, the first that is not used."""
    found = {}
    for entry in sources.entries(str(place)):
        _, record = examine(entry, 32, "crop")
        code = record.reasons[0].code if record.status == "refused" else ""
        found[entry.path] = found.get(entry.path) or code
    return found


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_odd_archive_meets_its_fate(tmp_path, name):
    case = ARCHIVES[name]
    (tmp_path / name).write_bytes(case.content)
    if case.refused:
        with pytest.raises(KoalaError, match=case.refused):
            fates(tmp_path / name)
    else:
        wanted = dict.fromkeys(zoo_archives.PHOTOS, "") | dict(case.fates)
        assert fates(tmp_path / name) == {path: code for path, code in wanted.items() if code is not None}


def test_the_zoo_is_large():
    assert len(FILES) >= 120 and len(ARCHIVES) >= 40


def test_damage_at_random_is_never_used_silently(capfd):
    told = []
    outcomes = fuzz.run(seconds=60, most=600, seed=1, progress=told.append)
    assert not told and outcomes.total() == 600
    assert {"used", "refused", "named"} == {outcome for *_, outcome in outcomes}


def test_the_fuzz_command_fails_on_a_silent_use(monkeypatch, capsys):
    """Had Pillow's lenient decoder stayed, the same command would have said so."""

    def lenient(data, part, size, colours="RGB"):
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    monkeypatch.setattr(jpeg, "decode", lenient)
    assert fuzz.main(["--most", "300", "--seed", "1"]) == 1
    out = capsys.readouterr().out
    assert "SILENT: JPEG: used, but a strict decoder says" in out and "300 cases with seed 1" in out
