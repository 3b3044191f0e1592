"""One of every kind of bad or unusual file among good ones: every good one is used, every bad one is named."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kinds_of_files import CONVERTED, GRAY, PLAIN, REFUSED, coded, deep_png, picture, with_exif
from PIL import Image

from koala import colorize, data
from koala.data import decode, jpeg
from koala.data.reasons import Reason
from koala.system import paths
from koala.system.errors import KoalaError

GOOD = 12


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "photos_of_all_kinds"
    for i in range(GOOD):
        (place / f"good{i % 2}").mkdir(parents=True, exist_ok=True)
        (place / f"good{i % 2}" / f"{i}.jpg").write_bytes(coded(picture(i)))
    (place / "odd").mkdir()
    for table in (REFUSED, CONVERTED):
        for name, (content, _) in table.items():
            (place / "odd" / name).write_bytes(content)
    for table in (GRAY, PLAIN):
        for name, content in table.items():
            (place / "odd" / name).write_bytes(content)
    (tmp_path / "outside.jpg").write_bytes(coded(picture(600)))
    (place / "odd/link_out.jpg").symlink_to(tmp_path / "outside.jpg")
    (place / "odd/link_nowhere.jpg").symlink_to(place / "gone.jpg")
    (place / "odd/link_loop").symlink_to(place)
    os.mkfifo(place / "odd/pipe.jpg")
    (place / "good0/copy.jpg").write_bytes(coded(picture(0)))
    (place / "Odd").mkdir()
    (place / "Odd/case.jpg").write_bytes(coded(picture(601)))
    return place


def test_every_kind_is_used_or_named(folder):
    photos = data.prepare(str(folder), "kinds", 32)
    table = data.files("kinds").set_index("path")
    kinds = len(REFUSED) + len(GRAY) + len(CONVERTED) + 6
    assert kinds >= 30
    for name, (_, reason) in REFUSED.items():
        line = table.loc[f"odd/{name}"]
        assert line["status"] == "refused" and line["reason"] and reason in line["reason"], (
            name,
            line["reason"],
        )
    for name, reason in (
        ("link_out.jpg", "out of the folder"),
        ("link_nowhere.jpg", "to nothing"),
        ("link_loop", "link"),
        ("pipe.jpg", "not a regular file"),
    ):
        assert (
            table.loc[f"odd/{name}", "status"] == "refused" and reason in table.loc[f"odd/{name}", "reason"]
        )
    for name in GRAY:
        assert table.loc[f"odd/{name}", "status"] == "gray", name
    for name, (_, note) in CONVERTED.items():
        line = table.loc[f"odd/{name}"]
        assert line["status"] == "used" and note in line["reason"], (name, line["status"], line["reason"])
    for name in PLAIN:
        assert tuple(table.loc[f"odd/{name}", ["status", "reason"]]) == ("used", ""), name
    assert (
        table.loc["good0/0.jpg", "status"] == "used" and table.loc["good0/copy.jpg", "status"] == "duplicate"
    )
    assert "odd" in table.loc["Odd/case.jpg", "reason"] and "case" in table.loc["Odd/case.jpg", "reason"]
    good = table[table.index.str.startswith("good")].drop("good0/copy.jpg")
    assert (good["status"] == "used").all()
    used = GOOD + len(CONVERTED) + len(PLAIN) + 1
    assert photos.meta["counts"] == {
        "used": used,
        "gray": len(GRAY),
        "duplicate": 1,
        "refused": len(REFUSED) + 4,
    }
    assert sum(photos.meta["counts"].values()) == len(table)


def test_gray_photographs_can_be_kept(folder):
    photos = data.prepare(str(folder), "kinds", 32, keep_gray=True)
    assert photos.meta["counts"].get("gray") is None
    assert set(GRAY) <= {path.rpartition("/")[2] for path in photos.files["path"]}


def test_a_folder_with_nothing_usable_is_one_sentence(tmp_path):
    (tmp_path / "bad").mkdir()
    for name in ("text.jpg", "zero_bytes.jpg", "cmyk.jpg"):
        (tmp_path / "bad" / name).write_bytes(REFUSED[name][0])
    with pytest.raises(KoalaError, match=r"nothing usable in 'bad': of 3 files none .*CMYK"):
        data.prepare("bad", "bad", 32)
    with pytest.raises(KoalaError, match="at least 3 photographs"):
        (tmp_path / "bad/good.jpg").write_bytes(coded(picture(0)))
        data.prepare("bad", "bad", 32)


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    def fail(self, read=Path.read_bytes):
        if self.name == "1.jpg":
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    data.prepare(str(folder), "kinds", 32)
    assert (
        data.files("kinds").set_index("path").loc["good1/1.jpg", "reason"] == "unreadable (Permission denied)"
    )


def test_archives_cannot_reach_outside(tmp_path):
    odd = {
        "/absolute.jpg": "absolute",
        "../climbs.jpg": "climbs",
        "a/../../climbs.jpg": "climbs",
        "C:\\windows.jpg": "absolute",
    }
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for i in range(6):
            archive.writestr(f"a/{i}.jpg", coded(picture(i)))
        for name in odd:
            archive.writestr(name, coded(picture(9)))
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        for i, name in enumerate((*odd, *(f"a/{i}.jpg" for i in range(6)))):
            info = tarfile.TarInfo(name)
            info.size = len(content := coded(picture(i)))
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for place in ("odd.zip", "odd.tar"):
        photos = data.prepare(place, "odd", 32)
        table = data.files("odd").set_index("path")
        for name, reason in odd.items():
            assert table.loc[name, "status"] == "refused" and reason in table.loc[name, "reason"]
        assert len(photos) == 6
    assert table.loc["link.jpg", "reason"] == "not a regular file in the archive"


def test_encrypted_and_damaged_zip_members_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(8):
            archive.writestr(f"{i}.jpg", coded(picture(i)))
        archive.writestr("bomb.jpg", bytes(10_000), zipfile.ZIP_DEFLATED)
        archive.writestr("lzma.jpg", coded(picture(20)), zipfile.ZIP_LZMA)
        offsets = {info.filename: info.header_offset for info in archive.infolist()}
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[offsets["1.jpg"] + 200] ^= 1  # a flipped bit in the stored bytes
    for at in (offsets["2.jpg"] + 6, content.index(b"2.jpg", content.index(b"PK\1\2")) - 46 + 8):
        content[at] |= 1  # the mark of an encrypted member, in both of its headers
    (tmp_path / "x.zip").write_bytes(content)
    data.prepare("x.zip", "x", 32)
    reasons = data.files("x").set_index("path")["reason"]
    assert (
        "damaged" in reasons["1.jpg"]
        and "encrypted" in reasons["2.jpg"]
        and "compression" in reasons["lzma.jpg"]
    )
    assert reasons["bomb.jpg"] == "not an image that can be read"


def test_exif_turns_pictures_upright():
    for orientation, turn in (
        (1, None),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),
        (8, Image.Transpose.ROTATE_90),
    ):
        got, _, size = decode.square(with_exif(1, orientation), 48, "fit")
        wanted = Image.open(io.BytesIO(coded(picture(1))))
        wanted = wanted.transpose(turn) if turn is not None else wanted
        assert size == wanted.size
        assert (
            np.abs(got.astype(int) - np.asarray(wanted.resize((48, 48), Image.Resampling.BICUBIC))).max() <= 1
        )


def test_strict_decoding_gives_pillows_pixels():
    names = [coded(picture(i, (200 + i, 150)), quality=60 + i, progressive=i % 2 == 0) for i in range(8)]
    for content in [*names, coded(picture(9, (1200, 900))), coded(picture(10, (1203, 901)), subsampling=1)]:
        ours, reasons, size = decode.square(content, 64)
        with Image.open(io.BytesIO(content)) as image:
            assert size == image.size and not reasons
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            plain = np.asarray(image.crop(box).resize((64, 64), Image.Resampling.BICUBIC))
            assert np.abs(ours.astype(int) - plain).mean() < 1
            assert np.array_equal(decode.whole(content), np.asarray(image))
            for part in (1, 2, 4, 8):
                pixels = jpeg.decode(content, part, image.size)
                with Image.open(io.BytesIO(content)) as small:
                    small.draft(None, (image.width // part, image.height // part))
                    assert np.array_equal(pixels, np.asarray(small))  # libjpeg scales both


def test_16_bit_and_alpha_are_converted_rightly():
    deep, _, _ = decode.square(deep_png(560), 48)
    plain, _, _ = decode.square(coded(picture(560), "PNG"), 48)
    assert np.array_equal(deep, plain)
    half = Image.new("RGBA", (32, 32), (200, 0, 0, 128))
    assert decode.square(coded(half, "PNG"), 32)[0][0, 0].tolist() == [227, 127, 127]
    gray, notes, _ = decode.square(GRAY["gray_16_bit.png"], 48)
    assert np.array_equal(
        gray[..., 0], decode.square(coded(picture(522, mode="L"), "PNG"), 48)[0][..., 0]
    ) and notes == [Reason("deep-gray")]


def test_a_picture_never_runs_a_program(tmp_path, monkeypatch):
    """Ghostscript, were it started, would write this file, or run for ever."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, (content, reason) in REFUSED.items():
        if "EPS" in reason:
            (tmp_path / name).write_bytes(content)
            for opened in (
                lambda name=name: colorize.read(tmp_path / name),
                lambda content=content: decode.square(content, 32),
            ):
                with pytest.raises(KoalaError, match="EPS files are not read"):
                    opened()
    assert not (tmp_path / "started").exists()
    sources = [path for path in (paths.ROOT / "koala").rglob("*.py") if "Image.open(" in path.read_text()]
    assert [path.name for path in sources] == ["decode.py"]  # one place that opens a picture


def test_a_zip_member_that_begins_at_the_end_of_its_file_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(8):
            archive.writestr(f"{i}.jpg", coded(picture(i)))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    entry = content.index(b"1.jpg", content.index(b"PK\1\2")) - 46
    content[entry + 42 : entry + 46] = (len(content) - 4).to_bytes(4, "little")  # where its local header is
    (tmp_path / "x.zip").write_bytes(content)
    data.prepare("x.zip", "x", 32)
    assert "local header is damaged" in data.files("x").set_index("path").loc["1.jpg", "reason"]
