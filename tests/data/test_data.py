"""Preparation of data sets: the arrays, the split, and that nothing is computed twice or lost."""

import multiprocessing
import os
import random
import shutil
import signal
import time
import zipfile

import numpy as np
import psutil
import pytest
from kinds_of_files import coded, picture
from PIL import Image, ImageEnhance

from koala import data
from koala.data import duplicates, images, shards
from koala.system import paths
from koala.system.errors import KoalaError


def fill(folder, seeds, categories=3):
    for i in seeds:
        path = folder / f"category{i % categories}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i, (80, 60), detail=(6, 8)).save(path, compress_level=1)
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "source", range(30))


def contents(photos) -> tuple:
    return photos.fingerprint, *((photos.folder / name).read_bytes() for name in ("images.npy", "files.csv"))


def test_prepared_rows_are_the_files_they_name(folder):
    photos = data.prepare(str(folder), "small", 32)
    assert photos.images.shape == (30, 32, 32, 3) and photos.images.dtype == np.uint8
    assert photos.meta["splits"] == {"train": 24, "validation": 3, "test": 3}
    assert sorted(photos.files["category"].unique()) == ["category0", "category1", "category2"]
    for row, path in enumerate(photos.files["path"]):
        image = Image.open(folder / path).crop((10, 0, 70, 60)).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(photos.images[row].astype(int) - np.asarray(image)).max() <= 1
    assert photos.files["row"].tolist() == list(range(30))
    parts = [photos.rows(part, 20) for part in ("train", "validation", "test")]
    assert sorted(np.concatenate(parts)) == list(range(20)) and parts[0].dtype == np.int64


def test_mean_chroma_is_that_of_skimage(folder):
    from skimage.color import rgb2lab

    photos = data.prepare(str(folder), "small", 32)
    lab = rgb2lab(photos.images[:, ::2, ::2])
    chroma = np.hypot(lab[..., 1], lab[..., 2]).mean((1, 2))
    assert np.allclose(photos.files["chroma"], chroma, atol=0.02)


def test_nothing_is_computed_twice_and_a_new_file_is_noticed(folder, monkeypatch):
    first = data.prepare(str(folder), "small", 32)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "examine", None)  # calling it would fail
        assert contents(data.prepare(str(folder), "small", 32)) == contents(first)
        assert data.find("small", 32).fingerprint == first.fingerprint
    Image.linear_gradient("L").convert("RGB").save(folder / "gray.png")
    again = data.prepare(str(folder), "small", 32)
    assert again.meta["counts"] == {"gray": 1, "used": 30} and again.fingerprint == first.fingerprint
    assert data.find("small", 16).folder == again.folder  # 16 divides 32
    smaller = data.find("small", 24)
    assert (
        smaller.name == "small-24"
        and smaller.images.shape[1] == 24
        and data.load("small").images.shape[1] == 32
    )


def test_prepared_again_with_other_parameters(folder):
    first = data.prepare(str(folder), "small", 32)
    for change in ({"seed": 1}, {"fit": "fit"}, {"image_size": 48}):
        other = data.prepare(**{"source": str(folder), "name": "small", "image_size": 32} | change)
        assert other.fingerprint != first.fingerprint
    assert data.prepare(str(folder), "small", 32).fingerprint == first.fingerprint


def test_a_missing_data_set_is_one_sentence(folder):
    data.prepare(str(folder), "small", 32)
    with pytest.raises(KoalaError, match=r"nowhere.*prepared are: small.*'photos'.*no file or folder"):
        data.find("nowhere", 32)
    for name in ("", "../x", "features", "downloads", "colorized", "Colorized", "a/b", ".x"):
        with pytest.raises(KoalaError, match="cannot name"):
            data.prepare(str(folder), name, 32)
    with pytest.raises(KoalaError, match="fit must be"):
        data.prepare(str(folder), "x", 32, fit="stretch")


def everything(folder) -> dict:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_a_users_own_files_in_data_are_never_replaced(folder, tmp_path, monkeypatch):
    mine = paths.data_dir() / "mine"
    fill(mine, range(12))
    before = everything(paths.data_dir())
    for source in (mine, mine / "category0", folder):
        with pytest.raises(KoalaError, match="choose another name"):
            data.prepare(str(source), "mine", 32)
        assert everything(paths.data_dir()) == before
    assert (
        len(data.prepare(str(mine), "of-mine", 32)) == 12
    )  # under another name they are a source as any other
    (paths.data_dir() / "file").write_text("no folder")
    with pytest.raises(KoalaError, match="choose another name"):
        data.prepare(str(folder), "file", 32)


def test_files_put_into_a_data_set_are_never_replaced(folder, monkeypatch):
    prepared = data.prepare(str(folder), "small", 32)
    picture(99).save(prepared.folder / "mine.png")
    with pytest.raises(KoalaError, match=r"did not write \('mine.png'\)"):
        data.prepare(str(folder), "small", 16)
    assert (prepared.folder / "mine.png").exists() and data.load("small").fingerprint == prepared.fingerprint

    def meanwhile(done, total, what):
        fill(paths.data_dir() / "late", [1])

    with pytest.raises(KoalaError, match="did not write"):
        data.prepare(str(folder), "late", 32, progress=meanwhile)
    assert len(list((paths.data_dir() / "late").rglob("*.png"))) == 1


def test_photos_never_means_other_photographs(folder, tmp_path, monkeypatch, capsys):
    for source in (str(folder), f"photos,{folder}"):
        with pytest.raises(KoalaError, match="-p name NAME"):
            data.prepare(source, "photos", 32)
    data.prepare(str(folder), "other", 32)
    (paths.data_dir() / "other").rename(paths.data_dir() / "photos")
    with pytest.raises(KoalaError, match=f"prepared from {folder}.*another name"):
        data.find("photos", 32)
    shutil.rmtree(paths.data_dir() / "photos")
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "photos", range(12))
    capsys.readouterr()
    assert data.find("photos", 16).meta["source"] == "photos"
    assert capsys.readouterr().out.count("say './photos'") == 1
    assert len(data.find("./photos", 16)) == 12 and not capsys.readouterr().out


@pytest.mark.parametrize("home", ["/proc/koala", "a file"])
def test_a_home_that_cannot_be_written_is_one_sentence(folder, tmp_path, monkeypatch, home):
    (tmp_path / "a file").write_text("no folder")
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / home))
    with pytest.raises(KoalaError, match=r"could not write .*\.small\.lock: .*KOALA_HOME"):
        data.prepare(str(folder), "small", 32)
    with pytest.raises(KoalaError, match=r"could not write .*x\.json: .*unchanged"):
        paths.write_json(paths.data_dir() / "x.json", {})


def test_copies_never_stand_on_both_sides(tmp_path):
    folder = fill(tmp_path / "source", range(120))
    for i in range(0, 120, 3):
        image = picture(i, (80, 60), detail=(6, 8))
        variants = {
            "scaled.png": image.resize((64, 48), Image.Resampling.BILINEAR),
            "quality.jpg": image,
            "brighter.png": ImageEnhance.Brightness(image).enhance(1.03),
        }
        for name, variant in variants.items():
            (folder / "copies").mkdir(exist_ok=True)
            variant.save(folder / "copies" / f"{i}-{name}", quality=40)
        (folder / "copies" / f"{i}-same.png").write_bytes(
            (folder / f"category{i % 3}/{i:04d}.png").read_bytes()
        )
    photos = data.prepare(str(folder), "copies", 64)
    assert photos.meta["counts"] == {"used": 240, "duplicate": 40}
    number = photos.files["path"].str.extract(r"(\d+)[-.][a-z]+")[0].astype(int)
    sides = photos.files.groupby(number)["split"].nunique()
    assert (sides == 1).all() and photos.files.groupby(number)["group"].nunique().max() == 1
    assert photos.files["group"].nunique() == 120  # and no two photographs were taken for one
    assert photos.meta["reasons"]["used: near copy of another"] == 120


def test_which_copy_is_kept_depends_on_no_order(tmp_path):
    """The same photographs in two categories, spread over archives in two ways."""
    out = []
    for i in range(40):
        content = coded(picture(i % 30))  # 10 of them in both categories
        out.append((f"{'night' if i < 30 else 'day'}/{i}.jpg", content))
    for kind, step in (("one", 1), ("three", 3)):
        for part in range(step):
            with zipfile.ZipFile(tmp_path / f"{kind}-{part}.zip", "w") as archive:
                for name, content in out[part::step][:: 1 if step == 1 else -1]:
                    archive.writestr(name, content)
    one, three = (data.prepare(str(tmp_path / f"{kind}-*.zip"), kind, 32) for kind in ("one", "three"))
    assert one.fingerprint == three.fingerprint and one.meta["counts"] == {"used": 30, "duplicate": 10}
    assert one.files["category"].tolist() == three.files["category"].tolist()
    assert {"day", "night"} == set(one.files["category"])  # neither name always wins


def test_candidates_are_all_pairs_within_five_bits():
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**63, 400, dtype=np.uint64)
    for i, count in enumerate(generator.integers(0, 9, 200)):
        flips = sum(1 << int(bit) for bit in generator.choice(64, int(count), replace=False))
        hashes[200 + i] = hashes[i] ^ np.uint64(flips)
    pairs = {tuple(pair) for pair in duplicates.candidates(hashes).tolist()}
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    close, near = (
        {(i, j) for i, j in np.argwhere(distance <= bits).tolist() if i < j} for bits in (5, duplicates.BITS)
    )
    assert close <= pairs <= near and len(close) > 100


@pytest.mark.parametrize("file", ["images.npy", "files.csv", "meta.json"])
def test_a_flipped_byte_is_noticed_and_repaired(folder, file):
    before = contents(data.prepare(str(folder), "small", 32))
    path = data.load("small").folder / file
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)
    with pytest.raises(KoalaError, match=f"{file} is not what was written"):
        data.load("small")
    assert contents(data.prepare(str(folder), "small", 32)) == before


@pytest.fixture
def many(tmp_path):
    """Enough small files for several shards, in one zip."""
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(1200):
            archive.writestr(f"category{i % 5}/{i}.jpg", coded(picture(i, (24, 24))))
    return tmp_path / "many.zip"


def test_an_interrupted_preparation_goes_on(many, monkeypatch):
    whole = data.prepare(str(many), "whole", 16)
    work = whole.folder.parent / ".broken.part"
    seen = []

    def stop(done, total, what):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare(str(many), "broken", 16, progress=stop)
    content = bytearray((work / "000001.npz").read_bytes())
    content[5000] ^= 1  # and one of the finished pieces is spoiled
    (work / "000001.npz").write_bytes(content)
    made = []
    monkeypatch.setattr(
        shards.Shards,
        "__getitem__",
        lambda self, i, make=shards.Shards.__getitem__: made.append(i) or make(self, i),
    )
    broken = data.prepare(str(many), "broken", 16, progress=stop)
    assert made == [3, 4, 1] and not work.exists()
    assert contents(broken) == contents(whole)


def test_a_full_disk_is_one_sentence_and_loses_nothing(many, monkeypatch):
    def full(self, i, make=shards.Shards.__getitem__):
        if i == 2:
            raise OSError(28, "No space left on device")
        return make(self, i)

    with monkeypatch.context() as patch:
        patch.setattr(shards.Shards, "__getitem__", full)
        with pytest.raises(KoalaError, match=r"No space left on device.*what is finished is kept"):
            data.prepare(str(many), "full", 16)
    seen = []
    data.prepare(str(many), "full", 16, progress=lambda done, total, what: seen.append((done, total)))
    assert seen[0] == (3 * shards.FILES, 1200) and seen[-1] == (1200, 1200)


def test_a_disk_that_fills_at_the_end_is_one_sentence(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(images.os, "posix_fallocate", full)
        with pytest.raises(
            KoalaError, match=r"'small' stopped .*No space left on device.*what is finished is kept"
        ):
            data.prepare(str(folder), "small", 32)
    assert len(data.prepare(str(folder), "small", 32)) == 30


def test_processes_change_nothing(many, monkeypatch):
    monkeypatch.setattr(shards, "MANY", 100)
    one, two = (data.prepare(str(many), f"by-{n}", 16, workers=n) for n in (1, 2))
    assert contents(one) == contents(two)


@pytest.mark.slow
def test_killed_at_ten_moments(many, monkeypatch):
    """Each run goes on where the one before was killed; when one gets through, the next starts from nothing."""
    monkeypatch.setattr(shards, "MANY", 100)
    whole = data.prepare(str(many), "whole", 16)
    place = whole.folder.parent / "killed"

    def run(seconds=None) -> float:
        process = multiprocessing.get_context("fork").Process(
            target=data.prepare, args=(str(many), "killed", 16), kwargs={"workers": 2}
        )
        process.start()
        start = time.monotonic()
        process.join(seconds)
        if process.is_alive():
            process.kill()  # SIGKILL for this process alone: those that decode for it find out for themselves
        process.join()
        return time.monotonic() - start

    whole_time, randomness, killed = run(), random.Random(0), 0
    assert contents(data.load("killed")) == contents(whole)
    while killed < 10:
        shutil.rmtree(place, ignore_errors=True)
        run(randomness.random() * whole_time)
        killed += not (place / "meta.json").exists()
    run()
    assert contents(data.load("killed")) == contents(whole)


@pytest.fixture
def thousands(tmp_path):
    """More files than one process reads: decoding processes are started as in ordinary use."""
    plain = coded(picture(0, (24, 24)))
    with zipfile.ZipFile(tmp_path / "thousands.zip", "w") as archive:
        for i in range(shards.MANY + 300):
            content = coded(picture(i, (24, 24)), quality=90)
            content = content if i % 100 else plain[: 300 + i // 100]  # and some damaged ones
            archive.writestr(f"category{i % 5}/{i}.jpg", content)
    return tmp_path / "thousands.zip"


@pytest.mark.slow
def test_decoding_processes_are_killed_and_their_work_is_spoiled(thousands):
    """Main process alone, one decoding process, the whole group: and between two starts a bit flips in what is finished."""
    whole = data.prepare(str(thousands), "whole", 16, workers=2)
    assert whole.meta["counts"] == {"used": len(whole), "refused": 23} and len(whole) == shards.MANY + 277
    place, work = (whole.folder.parent / name for name in ("killed", ".killed.part"))
    randomness, killed, flipped = random.Random(1), 0, 0

    def prepare():
        os.setpgrp()
        data.prepare(str(thousands), "killed", 16, workers=2)

    for attempt in range(12):
        process = multiprocessing.get_context("fork").Process(target=prepare)
        process.start()
        process.join(0.1 + randomness.random() * 0.9)
        if process.is_alive():
            how = attempt % 3
            children = psutil.Process(process.pid).children()
            if how == 0:
                process.kill()
            elif how == 1 and children:
                children[0].kill()  # what the main process finds out: it stops with a sentence
            else:
                os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        for path in randomness.sample(sorted(work.glob("*.npz")), k=min(1, len(list(work.glob("*.npz"))))):
            content = bytearray(path.read_bytes())
            content[randomness.randrange(len(content))] ^= 1 << randomness.randrange(8)
            path.write_bytes(content)
            flipped += 1
        if (place / "meta.json").exists():
            assert contents(data.load("killed")) == contents(whole)
            shutil.rmtree(place)
    assert killed >= 5 and flipped >= 3
    assert contents(data.prepare(str(thousands), "killed", 16, workers=2)) == contents(whole)
