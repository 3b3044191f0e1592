"""Batches: resident, streamed and read ahead are the same photographs; mirrored ones bring their own features."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from koala.training.batches import Streamed, chunks, make_batches

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
FEATURES = RNG.normal(size=(50, 5)).astype(np.float16)


@pytest.fixture
def mapped(tmp_path):
    """The same arrays as files, memory-mapped."""
    arrays = []
    for name, array in (("images", IMAGES), ("features", FEATURES), ("mirrored", -FEATURES)):
        np.save(tmp_path / name, array)
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return arrays


def test_streamed_batches_are_the_resident_ones(mapped):
    images, features, _ = mapped
    resident, streamed = make_batches(images, features, CPU), make_batches(images, features, CPU, budget=0)
    assert isinstance(streamed.images, Streamed) and not isinstance(resident.images, Streamed)
    order = RNG.permutation(50)
    pieces = list(chunks(order, 7))
    for piece, same in zip(pieces, streamed.ahead(pieces), strict=True):
        rgb, vectors = streamed(same)
        assert same is piece and rgb.dtype == torch.uint8 and vectors.dtype == torch.float32
        assert (rgb.permute(0, 2, 3, 1).numpy() == IMAGES[piece]).all()
        assert (vectors.numpy() == FEATURES[piece].astype(np.float32)).all()
        for one, other in zip(resident(piece), (rgb, vectors), strict=True):
            assert torch.equal(one, other)
        assert (
            streamed(piece[:3])[1].numpy() == FEATURES[piece[:3]].astype(np.float32)
        ).all()  # not announced


@pytest.mark.parametrize("budget", [None, 0])
def test_mirrored_rows_bring_their_own_features(mapped, budget):
    images, features, mirrored = mapped
    batches = make_batches(images, features, CPU, mirrored, budget)
    mirror = RNG.integers(0, 2, 50, dtype=bool)
    pieces = list(chunks(np.arange(50), 20))
    for rows in batches.ahead(pieces, mirror):
        rgb, vectors = batches(rows, mirror)
        for i, row in enumerate(rows):
            picture = IMAGES[row][:, ::-1] if mirror[row] else IMAGES[row]
            assert (rgb[i].permute(1, 2, 0).numpy() == picture).all()
            assert (vectors[i].numpy() == (-1 if mirror[row] else 1) * FEATURES[row].astype(np.float32)).all()
    assert torch.equal(
        batches(pieces[0])[1], torch.from_numpy(FEATURES[:20]).float()
    )  # evaluation mirrors nothing


MEMORY = """
import resource, sys
import numpy as np, torch
from koala.training.batches import chunks, make_batches
images = np.load(sys.argv[1], mmap_mode="r")
batches = make_batches(images, np.zeros((len(images), 4), np.float16), torch.device("cpu"), budget=0)
for rows in batches.ahead(list(chunks(np.random.default_rng(0).permutation(len(images)), 64))):
    batches(rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_streamed_photographs(tmp_path):
    peaks = []
    for count in (
        8_000,
        80_000,
    ):  # 98 MB and 983 MB; without the handing back the second would take 800 MB more
        path = tmp_path / f"{count}.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (count, 64, 64, 3)).flush()  # a file of holes
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks
