"""Listing and reading: folders, archives, list files and data sets by name."""

import dataclasses
import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
from kinds_of_files import coded, picture

from koala import data
from koala.data import catalog, list_files, sources, statistics
from koala.data.samples import CROPS, photographs
from koala.system import progress
from koala.system.errors import KoalaError


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def jpeg(seed: int, size=(40, 32)) -> bytes:
    return coded(picture(seed, size), quality=90)


FILES = {
    f"set/{kind}/{'deep/' if kind == 'c' else ''}{i}.jpg": jpeg(i + 20 * ord(kind))
    for kind in "abc"
    for i in range(5)
}


def as_folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    return tmp_path / "folder"


def as_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return tmp_path / "set.zip"


def as_tar(tmp_path, ending="tar"):
    with tarfile.open(tmp_path / f"set.{ending}", "w:" + ending.replace("tar", "").strip(".")) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return tmp_path / f"set.{ending}"


def test_folder_and_archives_give_the_same_data_set(tmp_path):
    places = [
        as_folder(tmp_path),
        as_zip(tmp_path),
        *(as_tar(tmp_path, e) for e in ("tar", "tar.gz", "tar.bz2", "tar.xz")),
    ]
    prepared = [data.find(str(place), 32) for place in places]
    assert len({photos.name for photos in prepared}) == len(places)
    assert len({photos.fingerprint for photos in prepared}) == 1
    for photos in prepared:
        assert np.array_equal(photos.images, prepared[0].images)
        assert photos.files["category"].value_counts().to_dict() == {"a": 5, "b": 5, "c/deep": 5}
    assert sorted(p.name for p in tmp_path.glob("*")) == sorted(
        [*(p.name for p in places), "home"]
    )  # nothing unpacked


def test_several_sources_are_one_data_set_in_whatever_order(tmp_path):
    names = list(FILES)
    for part in range(3):
        with zipfile.ZipFile(tmp_path / f"part-{part}.zip", "w") as archive:
            for name in names[part::3]:
                archive.writestr(name, FILES[name])
    globbed = data.prepare("part-*.zip", "globbed", 32)
    named = data.prepare(f"part-2.zip, {tmp_path}/part-0.zip,part-1.zip", "named", 32)
    assert len(globbed) == len(FILES) and globbed.fingerprint == named.fingerprint
    assert set(globbed.files["category"]) == {"a", "b", "c/deep"}


def test_sources_of_the_same_name_keep_their_paths_apart(tmp_path):
    for i, place in enumerate(("2019/photos", "2020/photos", "2020/more")):
        (tmp_path / place / "cat").mkdir(parents=True)
        for k in range(4):
            (tmp_path / place / f"cat/{k}.jpg").write_bytes(jpeg(10 * i + k))
    photos = data.prepare("2019/photos,2020/photos,2020/more", "years", 32)
    folders = photos.files["path"].str.removesuffix(".jpg").str[:-2]
    assert photos.files["path"].is_unique and set(folders) == {
        "2019/photos/cat",
        "2020/photos/cat",
        "more/cat",
    }
    assert statistics.compare_with_source(photos) == 12


def test_names_and_hashes_that_look_like_numbers_stay_text(tmp_path):
    (tmp_path / "numbers/7").mkdir(parents=True)
    for i in range(6):
        (tmp_path / f"numbers/7/00{i}").write_bytes(jpeg(i))
    photos = data.prepare("numbers", "numbers", 32)
    assert sorted(photos.files["path"]) == [f"7/00{i}" for i in range(6)] and set(
        photos.files["category"]
    ) == {"7"}
    (tmp_path / "numbers/7").rename(tmp_path / "flat")
    photos = data.prepare("flat", "flat", 32)
    assert sorted(photos.files["path"]) == [f"00{i}" for i in range(6)]
    assert statistics.compare_with_source(photos) == 6 and statistics.reasons(photos).empty


def zip_of(place, names):
    with zipfile.ZipFile(place, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, b"" if name.endswith(("/", "\\")) else jpeg(i))
    return str(place)


def categories(source) -> dict:
    return Counter(entry.category for entry in sources.entries(source))


def test_what_a_mac_adds_is_left_out(tmp_path):
    names = [f"set/{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(3)]
    added = [f"__MACOSX/{name.rpartition('/')[0]}/._{name.rpartition('/')[2]}" for name in names] + [
        "set/cat/._0.jpg"
    ]
    place = zip_of(tmp_path / "mac.zip", names + added)
    assert categories(place) == {"cat": 3, "dog": 3}
    with zipfile.ZipFile(place) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert categories("unpacked") == {"cat": 3, "dog": 3}
    with tarfile.open(tmp_path / "mac.tar", "w") as archive:
        archive.add(tmp_path / "unpacked", ".")
    assert categories("mac.tar") == {"cat": 3, "dog": 3}
    assert len(data.prepare(place, "mac", 32)) == 6


def test_backslashes_are_folders_where_a_zip_has_no_slash(tmp_path):
    names = ["set\\", *(f"set\\{kind}\\{i}.jpg" for kind in ("cat", "dog") for i in range(3))]
    place = zip_of(tmp_path / "old.zip", [*names, "..\\climbs.jpg"])
    found = {entry.path: str(entry.problem or "") for entry in sources.entries(place)}
    assert "climbs" in found.pop("../climbs.jpg") and not any(found.values())
    assert sorted(found) == [f"set/{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(3)]
    assert categories(zip_of(tmp_path / "old.zip", names)) == {"cat": 3, "dog": 3}
    assert len(data.prepare(place, "old", 32)) == 6
    mixed = zip_of(tmp_path / "mixed.zip", ["a/1.jpg", "b/back\\slash.jpg"])
    assert categories(mixed) == {"a": 1, "b": 1}


@pytest.mark.parametrize(("prefix", "stray"), [("", ""), ("set/", "set/"), ("set/", "")])
def test_a_stray_picture_beside_train_and_val_splits_no_category(tmp_path, prefix, stray):
    names = [f"{prefix}{part}/{kind}/1.jpg" for part in ("train", "val") for kind in ("cat", "dog")]
    found = categories(zip_of(tmp_path / "all.zip", [*names, f"{stray}sample.jpg"]))
    assert found == {"cat": 2, "dog": 2, "set" if stray else "all": 1}


def test_a_flat_folder_is_one_category(tmp_path):
    (tmp_path / "holiday").mkdir()
    for i in range(12):
        (tmp_path / "holiday" / f"{i}.jpg").write_bytes(jpeg(i))
    photos = data.find("holiday", 32)
    assert set(photos.files["category"]) == {"holiday"} and photos.name.startswith("holiday-")
    assert photos.meta["splits"] == {"train": 10, "validation": 1, "test": 1}


def places_extra69(root, photographs_each=4):
    """Places-Extra69's own layout: data_256_extra/, two list files, and a file of categories. Gives the categories."""
    names = [f"hot_tub/{'in' if i % 2 else 'out'}door{i}" if i % 5 == 0 else f"scene_{i}" for i in range(69)]
    (root / "categories_extra69.txt").write_text("".join(f"/{n[0]}/{n} {i}\n" for i, n in enumerate(names)))
    lines = {"train": [], "test": []}
    for label, name in enumerate(names):
        for i in range(photographs_each):
            path = f"{name[0]}/{name}/{i:08d}.jpg"
            (root / "data_256_extra" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "data_256_extra" / path).write_bytes(jpeg(1000 * label + i))
            lines["test" if i == 0 else "train"].append(f"{path} {label}\n")
    for part, text in lines.items():
        (root / f"extra69_{part}.txt").write_text("".join(text))
    return names


@pytest.mark.parametrize("source", ["places", "places/data_256_extra"])
def test_places_extra69_as_distributed(tmp_path, source):
    (tmp_path / "places").mkdir()
    names = places_extra69(tmp_path / "places")
    (tmp_path / "places/data_256_extra/s/scene_1/unlisted.jpg").write_bytes(jpeg(5))
    with open(tmp_path / "places/extra69_test.txt", "a") as file:
        file.write("s/scene_2/lost.jpg 2\n")
    photos = data.find(source, 32)
    assert photos.files["category"].value_counts().to_dict() == dict.fromkeys(names, 4)
    assert photos.meta["splits"] == {"train": 221, "validation": 28, "test": 27}  # 276 photographs
    reasons = {key: n for key, n in photos.meta["reasons"].items() if "list" in key or "named" in key}
    assert reasons["refused: in none of the list files"] >= 1
    assert reasons["refused: named in a list file but not there"] == 1


TINY = {
    "n01443537": ("goldfish, Carassius auratus", "goldfish-n01443537"),
    "n01629819": ("European fire salamander, Salamandra salamandra", "european_fire_salamander-n01629819"),
    "n03992509": ("potter's wheel", "potters_wheel-n03992509"),
}


def official_tiny_imagenet(place, each=8):
    """tiny-imagenet-200.zip's own layout, with photographs made here. Gives its training photographs, {name: content}."""
    photographs, top = {}, "tiny-imagenet-200"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(
            f"{top}/words.txt", "".join(f"{wnid}\t{words}\n" for wnid, (words, _) in TINY.items())
        )
        archive.writestr(f"{top}/wnids.txt", "\n".join(reversed(TINY)))
        lines = []
        for i, wnid in enumerate(TINY):
            archive.mkdir(f"{top}/train/{wnid}/images")
            for k in range(each):
                photographs[f"{wnid}_{k}.JPEG"] = content = jpeg(100 * i + k, (64, 64))
                archive.writestr(f"{top}/train/{wnid}/images/{wnid}_{k}.JPEG", content)
            archive.writestr(f"{top}/train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
            archive.writestr(f"{top}/val/images/val_{i}.JPEG", jpeg(900 + i, (64, 64)))
            archive.writestr(f"{top}/test/images/test_{i}.JPEG", jpeg(950 + i, (64, 64)))
            lines.append(f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n")
        archive.writestr(f"{top}/val/val_annotations.txt", "".join(lines))
    return photographs


def test_tiny_imagenet_by_name_is_the_four_quarters(tmp_path, monkeypatch):
    """The official archive and the same training photographs in four archives under readable categories."""
    place = tmp_path / "home/data/downloads/tiny-imagenet-200.zip"
    place.parent.mkdir(parents=True)
    photographs = official_tiny_imagenet(place)
    archive = dataclasses.replace(
        catalog.SOURCES["tiny-imagenet"], sha256=hashlib.sha256(place.read_bytes()).hexdigest()
    )
    monkeypatch.setitem(catalog.SOURCES, "tiny-imagenet", archive)
    for quarter in range(4):
        with zipfile.ZipFile(tmp_path / f"tiny-imagenet-{quarter}.zip", "w") as part:
            for name in list(photographs)[quarter::4]:
                category = TINY[name.partition("_")[0]][1]
                part.writestr(f"tiny-imagenet/{category}/{name}", photographs[name])
    official = data.prepare("tiny-imagenet", "official", 64)
    quarters = data.prepare("tiny-imagenet-*.zip", "quarters", 64)
    assert official.fingerprint == quarters.fingerprint and len(official) == len(photographs)
    assert np.array_equal(official.images, quarters.images)
    assert official.files["category"].tolist() == quarters.files["category"].tolist()
    assert official.meta["reasons"]["refused: outside tiny-imagenet's training part"] == 6


def test_checksums_are_those_of_torchvision():
    from torchvision.datasets import Imagenette, Places365

    assert Imagenette._ARCHIVES["160px"] == (
        catalog.SOURCES["imagenette"].url,
        catalog.SOURCES["imagenette"].md5,
    )
    for name, part in (("places365", "train-standard"), ("places365-val", "val")):
        file, md5 = Places365._IMAGES_META[part, True]
        url = (Places365._BASE_URL + file).replace("http:", "https:")
        assert (url, md5) == (catalog.SOURCES[name].url, catalog.SOURCES[name].md5)
    for archive in catalog.SOURCES.values():
        assert archive.url.startswith("https:") and (len(archive.md5), len(archive.sha256)) == (32, 64)


def test_a_known_name_without_a_network_says_where_to_put_what(monkeypatch):
    def refuse(*_):
        raise KoalaError("no network")

    monkeypatch.setattr(catalog, "download", refuse)
    with pytest.raises(KoalaError, match=r"99 MB.*imagenette2-160\.tgz.*e793b78c.*downloads/imagenette2-160"):
        data.find("imagenette", 64)


def test_fetching_a_known_archive_shows_its_progress(tmp_path, monkeypatch):
    content = as_tar(tmp_path, "tar.gz").read_bytes()

    def download(url, path, progress, sha256, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for total in (30_000_000, 0):  # some servers do not say how much it will be
            progress(20_000_000, total, "weights from a hub")

    monkeypatch.setattr(catalog, "download", download)
    archive = dataclasses.replace(catalog.SOURCES["imagenette"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(catalog.SOURCES, "imagenette", archive)
    told = []
    assert len(data.find("imagenette", 32, progress=lambda *what: told.append(what))) == len(FILES)
    assert told[:2] == [(20, 30, "fetching imagenette"), (20, 21, "fetching imagenette")]
    assert {text for *_, text in told[2:]} == {"reading photographs"}  # a download is checked as it comes
    archive.path.with_name(archive.path.name + ".sha256").unlink()
    catalog.fetch("imagenette", lambda *what: told.append(what))
    assert told[-1][2] == "checking imagenette"  # one that lay there is not
    assert catalog.in_megabytes(None, "") is None


def test_a_progress_that_counts_files_is_not_given_megabytes(capsys):
    files = progress.Progress("files")
    catalog.in_megabytes(files, "fetching places365")(24_000_000_000, 24_000_000_000)
    assert "fetching places365: 24,000 of 24,000 MB" in capsys.readouterr().out and files.done is None


def test_a_known_archive_with_another_checksum_is_refused(tmp_path):
    path = tmp_path / "home/data/downloads/imagenette2-160.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(KoalaError, match=r"has the SHA-256 .* delete it"):
        data.find("imagenette", 64)


def test_no_match_and_no_archive_are_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 this is no zip")
    (tmp_path / "empty").mkdir()
    for source, text in (
        ("none-*.zip", "matches"),
        ("notes.txt", "neither"),
        ("broken.zip", "no archive"),
        ("", "empty"),
        ("empty", "no file"),
    ):
        with pytest.raises(KoalaError, match=text):
            data.prepare(source, "x", 32)


def test_names_in_any_bytes(tmp_path):
    (tmp_path / "odd").mkdir()
    odd = [b"caf\xe9.jpg", "日本.jpg".encode(), b"a,b.jpg", b"new\nline.jpg", b"'quoted\".jpg"]
    for i, name in enumerate(odd):
        with open(os.path.join(os.fsencode(tmp_path / "odd"), name), "wb") as file:
            file.write(jpeg(i))
    photos = data.find("odd", 32)
    assert len(photos) == len(odd) and "caf\\xe9.jpg" in set(photos.files["path"])


def test_embedded_crops_keep_to_their_photograph():
    photos = data.find("photos", 16)
    groups = photos.files.groupby("group")["split"].nunique()
    assert len(photos) == CROPS * len(photographs()) and (groups == 1).all()
    assert set(photos.files["split"]) == {"train", "validation", "test"}
    other = Counter(entry.box[0] for entry in sources.entries("photos", seed=1))
    assert other != Counter(entry.box[0] for entry in sources.entries("photos", seed=0))


def test_a_comma_in_a_path_is_no_separator(tmp_path):
    folder = as_folder(tmp_path).rename(tmp_path / "sea, sand, sun")
    (tmp_path / "sea").mkdir()
    as_zip(tmp_path)
    assert sources.expand("sea, sand, sun") == sources.expand(str(folder)) == [folder]
    assert sources.expand(f"set.zip,{folder},sea") == sorted(
        [folder, tmp_path / "set.zip", tmp_path / "sea"], key=str
    )
    photos = data.prepare("sea, sand, sun,set.zip", "both", 32)
    assert data.find("both", 16).files["path"].tolist() == photos.files["path"].tolist()


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\0b", "~nobody/x", "two\nlines", "[" * 300])
def test_odd_and_long_names_are_one_sentence(name):
    with pytest.raises(KoalaError) as caught:
        data.find(name, 32)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_an_archive_that_is_replaced_is_read_anew(tmp_path):
    before = data.prepare(str(as_tar(tmp_path)), "set", 32)
    others = {name: jpeg(1000 + i) for i, name in enumerate(FILES)}
    (tmp_path / "new").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FILES", others)
        os.replace(as_tar(tmp_path / "new"), tmp_path / "set.tar")
    after = data.prepare(str(tmp_path / "set.tar"), "set", 32)
    assert before.fingerprint != after.fingerprint and not np.array_equal(before.images, after.images)


def test_a_list_beside_a_folder_that_changes_makes_another_source(tmp_path):
    places_extra69(tmp_path)
    folder = str(tmp_path / "data_256_extra")
    before = sources.signature(folder)
    lists = tmp_path / "extra69_train.txt"
    lists.write_text(lists.read_text().replace(" 1\n", " 2\n"))
    assert sources.signature(folder) != before


def test_a_list_that_is_refused_is_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("a\tsecret\n")
    folder = tmp_path / "tiny-imagenet-200"
    for i in range(12):
        place = folder / "train" / "ab"[i % 2] / "images"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.jpg").write_bytes(jpeg(i))
    (folder / "val").mkdir()
    (folder / "val" / "val_annotations.txt").write_text("")
    os.symlink(tmp_path / "secret.txt", folder / "words.txt")
    assert set(data.prepare(str(folder), "tiny", 32).files["category"]) == {"a", "b"}


def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    def unreadable(entry):
        raise list_files.Unreadable("Input/output error")

    places_extra69(tmp_path)
    monkeypatch.setattr(list_files, "read", unreadable)
    with pytest.raises(KoalaError, match=r"a list file in .* cannot be read \(Input/output error\): mend it"):
        data.prepare(str(tmp_path), "places", 32)
