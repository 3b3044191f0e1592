"""Batches: resident and streamed ones are the same photographs, read once; two sizes; mirroring."""

import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

from koala import lab
from koala.training.batches import Resident, Streamed, chunks, make_batches

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
FEATURES = RNG.normal(size=(50, 5)).astype(np.float16)


@pytest.fixture
def mapped(tmp_path):
    """The same arrays as files, memory-mapped."""
    arrays = []
    for name, array in (("images", IMAGES), ("features", FEATURES)):
        np.save(tmp_path / name, array)
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return arrays


def test_streamed_batches_are_the_resident_ones(mapped):
    resident, streamed = make_batches(*mapped, CPU), make_batches(*mapped, CPU, budget=0)
    assert isinstance(streamed.images, Streamed) and not isinstance(resident.images, Streamed)
    pieces = list(chunks(RNG.permutation(50), 7))
    loaded = zip(pieces, streamed.load(pieces), resident.load(pieces), strict=True)
    for piece, (rgb, features), same in loaded:
        assert rgb.dtype == torch.uint8 and features.dtype == torch.float32
        assert (rgb.permute(0, 2, 3, 1).numpy() == IMAGES[piece]).all()
        assert (features.numpy() == FEATURES[piece].astype(np.float32)).all()
        assert torch.equal(rgb, same.rgb) and torch.equal(features, same.features)


def test_a_streamed_epoch_reads_each_row_once_and_holds_two_batches(mapped, monkeypatch):
    batches = make_batches(*mapped, CPU, budget=0)
    read, alive = [], weakref.WeakSet()
    honest = Streamed.__getitem__

    def counting(self, index):
        out = honest(self, index)
        if self is batches.images:
            read.extend(index.tolist())
            alive.add(out)
        return out

    monkeypatch.setattr(Streamed, "__getitem__", counting)
    order = RNG.permutation(50)
    for batch in batches.load(chunks(order, 5)):
        parts = [part.rgb.sum() for part in batch.pieces(2)]  # micro-batches are cut from what has been read
        assert len(parts) == 3 and len(alive) <= 3  # this one, the next, and one that is being read
    assert read == order.tolist()


def test_training_photographs_stay_on_the_device_where_they_alone_fit(mapped):
    train = np.sort(RNG.permutation(50)[:30])
    batches = make_batches(*mapped, CPU, budget=31 * IMAGES[0].nbytes, train=train)
    assert isinstance(batches.images, Resident) and len(batches.images.rows) == 30
    for rows in (RNG.permutation(train)[:7], np.setdiff1d(np.arange(50), train), np.arange(50)):
        (batch,) = batches.load([rows])
        assert (batch.rgb.permute(0, 2, 3, 1).numpy() == IMAGES[rows]).all()
        assert (batch.features.numpy() == FEATURES[rows].astype(np.float32)).all()
    assert isinstance(make_batches(*mapped, CPU, budget=29 * IMAGES[0].nbytes, train=train).images, Streamed)


def test_mirrored_photographs_are_turned_with_their_gray(mapped):
    images, _ = mapped
    mirror = RNG.integers(0, 2, 50, dtype=bool)
    for budget in (None, 0):
        batches = make_batches(images, None, CPU, budget=budget)
        for rows, (rgb, gray) in zip(
            chunks(np.arange(50), 20), batches.load(chunks(np.arange(50), 20), mirror), strict=True
        ):
            for i, row in enumerate(rows):
                assert (
                    rgb[i].permute(1, 2, 0).numpy() == (IMAGES[row][:, ::-1] if mirror[row] else IMAGES[row])
                ).all()
            assert torch.equal(gray, lab.luma(rgb))
    assert torch.equal(
        batches(np.arange(3)).rgb.permute(0, 2, 3, 1), torch.from_numpy(IMAGES[:3])
    )  # evaluation


def test_the_network_sees_means_of_whole_blocks_and_the_extractor_the_stored_photograph(mapped):
    rgb, gray = make_batches(mapped[0], None, CPU, image_size=4)(np.arange(50))
    blocks = IMAGES.reshape(50, 4, 2, 4, 2, 3).astype(float).mean((2, 4))  # (50, 4, 4, 3)
    assert np.abs(rgb.permute(0, 2, 3, 1).numpy() - blocks).max() <= 0.5
    assert torch.equal(gray, lab.luma(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)))


MEMORY = """
import resource, sys
import numpy as np, torch
from koala import lab
from koala.training.batches import chunks, make_batches
images = np.load(sys.argv[1], mmap_mode="r")
batches = make_batches(images, np.zeros((len(images), 4), np.float16), torch.device("cpu"), budget=0)
for batch in batches.load(chunks(np.random.default_rng(0).permutation(len(images)), 64)):
    pass
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
