"""Preparation of data sets: the arrays, the split, and that nothing is computed twice or lost."""

import numpy as np
import pytest
from PIL import Image

from koala import data
from koala.errors import KoalaError
from koala.split import ranks, split


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path):
    """30 colourful pictures of three categories."""
    generator = np.random.default_rng(0)
    for i in range(30):
        path = tmp_path / "source" / f"category{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((80, 60), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "source"


def test_split_has_the_counts_of_the_report_rounded_once():
    n = 105_321  # Places-Extra69, train and test merged
    category = np.random.default_rng(0).integers(0, 69, n)
    parts = split(category, np.arange(n), ranks([str(i) for i in range(n)], 0, "split"))
    assert np.bincount(parts).tolist() == [84_257, 10_532, 10_532]
    for i in range(69):
        inside = np.bincount(parts[category == i], minlength=3)
        assert np.abs(inside - inside.sum() * np.array([0.8, 0.1, 0.1])).max() <= 2


def test_prepared_rows_are_the_files_they_name(folder):
    photos = data.prepare(str(folder), "small", 32)
    assert photos.images.shape == (30, 32, 32, 3) and photos.images.dtype == np.uint8
    assert photos.meta["splits"] == {"train": 24, "validation": 3, "test": 3}
    assert sorted(photos.files["category"].unique()) == ["category0", "category1", "category2"]
    for row, path in enumerate(photos.files["path"]):
        image = Image.open(folder / path).crop((10, 0, 70, 60)).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(photos.images[row].astype(int) - np.asarray(image)).max() <= 1


def test_nothing_is_computed_twice_and_a_new_file_is_noticed(folder):
    first = data.prepare(str(folder), "small", 32)
    written = (first.folder / "images.npy").stat().st_mtime_ns
    assert data.prepare(str(folder), "small", 32).fingerprint == first.fingerprint
    assert (first.folder / "images.npy").stat().st_mtime_ns == written
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 40).convert("RGB").quantize(8).convert("RGB").save(folder / "x.png")
    again = data.prepare(str(folder), "small", 32)
    assert again.meta["counts"] == {"gray": 1, "used": 30} and again.meta["splits"] == first.meta["splits"]


def test_a_missing_data_set_is_one_sentence(folder):
    data.prepare(str(folder), "small", 32)
    with pytest.raises(KoalaError, match=r"(?s)nowhere.*prepared are: small"):
        data.find("nowhere", 32)
