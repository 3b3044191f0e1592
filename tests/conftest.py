"""Shared by the tests: a home of their own for data/ and runs/, and small real photographs."""

import os

# before torch is imported: the tests run in as many processes as there are cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import skimage.data
from calling import make_environment
from PIL import Image

LONGEST = (
    "test_papermill",
    "test_nbval",
    "test_training",
    "test_pretrain",
    "test_benchmark",
    "test_starting",
)


def pytest_collection_modifyitems(items):
    """The longest files first: so the processes of `make test`, which take one after the other, end together."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """data/ and runs/ of a test are its own; the hub is not asked."""
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of notebooks: one home for a module of tests, so that data and features are prepared once."""
    return make_environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """A folder of two categories with 30 crops of real photographs each, 48 pixels, as JPEG."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name in ("coffee", "astronaut"):
        picture = getattr(skimage.data, name)()
        (folder / name).mkdir()
        for index in range(30):
            top, left = (rng.integers(0, length - 200) for length in picture.shape[:2])
            Image.fromarray(picture[top : top + 200, left : left + 200]).resize((48, 48)).save(
                folder / name / f"{index:02d}.jpg", quality=95
            )
    return folder
