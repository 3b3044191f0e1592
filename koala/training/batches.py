"""Photographs and features by row number: resident on the device where they fit, read ahead where they do not."""

import concurrent.futures
import dataclasses
import math
import mmap
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from koala import lab

PIXELS = 4_000_000  # per evaluation batch, without gradients: some 200 MB of float32 in all
KEPT = (
    8 * 2**20
)  # bytes read from a memory map before its pages are released (the kernel maps neighbours, too)


class Streamed:
    """Rows of a memory-mapped array (N, ...), read when they are asked for.

    The pages that were read are released from time to time, so that memory does not grow with the number of rows."""

    def __init__(self, array: np.memmap):
        self.rows, self.map, self.read = _as_tensor(array), array._mmap, 0
        self.shape = self.rows.shape
        self.device = torch.device("cpu")

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        out = self.rows[index]
        self.read += out.nbytes
        if self.read > KEPT and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)  # the pages are clean: they are read again when needed
            self.read = 0
        return out


class Resident:
    """Some rows of an array (N, ...) on a device, the others read when they are asked for: for training
    photographs that fit into memory where all photographs together do not."""

    def __init__(self, array: np.memmap, rows: np.ndarray, device: torch.device):
        self.rest, self.shape, self.device = Streamed(array), array.shape, torch.device("cpu")
        self.place = torch.full((len(array),), -1)  # row number -> where it is in `rows`
        self.place[torch.from_numpy(rows)] = torch.arange(len(rows))
        self.rows = torch.empty((len(rows), *array.shape[1:]), dtype=self.rest.rows.dtype, device=device)
        for start in range(0, len(rows), 1024):
            piece = torch.from_numpy(rows[start : start + 1024])
            self.rows[start : start + len(piece)] = self.rest[piece].to(device)

    def __len__(self):
        return len(self.place)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        place = self.place[index]
        return self.rows[place.to(self.rows.device)] if (place >= 0).all() else self.rest[index]


class Batch(NamedTuple):
    """rgb (n,3,S,S) uint8 at the network's size, and beside it, on the same device, the extractor's features (n,D)
    float32, or gray (n,1,stored,stored) float32 in [0,1], the luma of the stored photograph, for a network that runs
    the extractor itself."""

    rgb: torch.Tensor
    features: torch.Tensor

    def pieces(self, size: int) -> Iterator["Batch"]:
        """The same in consecutive micro-batches of at most `size`."""
        return (Batch(*parts) for parts in zip(self.rgb.split(size), self.features.split(size), strict=True))


@dataclasses.dataclass(frozen=True)
class Batches:
    """images (N,stored,stored,3) uint8 and features (N,D) by row number, each a tensor or Streamed. image_size: what
    the network sees, a divisor of the stored size. features is None for a network that gets gray instead."""

    images: torch.Tensor | Streamed | Resident
    features: torch.Tensor | Streamed | None
    device: torch.device
    image_size: int

    def __call__(self, rows: np.ndarray, mirror: np.ndarray | None = None) -> Batch:
        """The batch of `rows`. mirror: (N,) bool, the photographs to mirror (only without features)."""
        return self._finish(self._read(rows), rows, mirror)

    def load(self, pieces: Iterable[np.ndarray], mirror: np.ndarray | None = None) -> Iterator[Batch]:
        """The batches of `pieces` (arrays of rows) in turn; what is streamed is read by a thread, one piece ahead."""
        if isinstance(self.images, torch.Tensor) and self.images.device.type == self.device.type:
            yield from (self(rows, mirror) for rows in pieces)
            return
        with concurrent.futures.ThreadPoolExecutor(1, "koala-batches") as thread:
            coming = ((rows, thread.submit(self._read, rows)) for rows in pieces)
            ready = next(coming, None)
            while ready:
                (rows, read), ready = ready, next(coming, None)
                yield self._finish(read.result(), rows, mirror)

    def _read(self, rows: np.ndarray) -> list[torch.Tensor]:
        """Photographs (n,stored,stored,3) and features (n,D), where they are stored; pinned on their way to a GPU."""
        index = torch.from_numpy(rows)
        arrays = [array for array in (self.images, self.features) if array is not None]
        parts = [array[index.to(array.device)] for array in arrays]
        if self.device.type == "cuda":
            parts = [part if part.is_cuda else part.pin_memory() for part in parts]
        return parts

    def _finish(self, parts: list[torch.Tensor], rows: np.ndarray, mirror: np.ndarray | None) -> Batch:
        stored, *features = (part.to(self.device, non_blocking=True) for part in parts)
        stored = stored.permute(0, 3, 1, 2)  # (n, 3, stored, stored)
        if mirror is not None:
            turned = torch.from_numpy(mirror[rows]).to(self.device)  # (n,)
            stored = torch.where(turned[:, None, None, None], stored.flip(-1), stored)
        known = features[0].float() if features else lab.luma(stored)  # (n, D) or (n, 1, stored, stored)
        return Batch(block_means(stored, self.image_size), known)


def block_means(rgb: torch.Tensor, size: int) -> torch.Tensor:
    """(N,3,S,S) uint8 -> (N,3,size,size) uint8: the means of whole blocks of pixels, where size divides S."""
    if rgb.shape[-1] == size:
        return rgb
    return F.avg_pool2d(rgb.float(), rgb.shape[-1] // size).round().to(torch.uint8)


def at_size(images: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Rows of images (N,S,S,3) uint8 as a network of `size` pixels sees them, (n,size,size,3) uint8."""
    stored = torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2)
    return block_means(stored, size).permute(0, 2, 3, 1).contiguous().numpy()


def make_batches(
    images: np.ndarray,
    features: np.ndarray | None,
    device: torch.device,
    image_size: int | None = None,
    budget: int | None = None,
    train: np.ndarray | None = None,
) -> Batches:
    """Data on the GPU as uint8 where all of it takes less than `budget` bytes; else the photographs of the rows `train`
    where these alone do, and all others streamed.

    image_size: what the network sees, by default the stored size. budget: half of the device's free memory by default.
    On a CPU a memory map is resident as it is, in the system's page cache, as long as that can hold it."""
    arrays = [array for array in (images, features) if array is not None]
    budget = _free(device) // 2 if budget is None else budget
    if sum(array.nbytes for array in arrays) < budget:
        tensors = [_as_tensor(array).to(device) for array in arrays]
    else:
        tensors = [Streamed(array) if isinstance(array, np.memmap) else _as_tensor(array) for array in arrays]
        if train is not None and isinstance(images, np.memmap) and len(train) * images[0].nbytes < budget:
            tensors[0] = Resident(images, train, device)
    return Batches(
        tensors[0], tensors[1] if len(tensors) > 1 else None, device, image_size or images.shape[1]
    )


def _free(device: torch.device) -> int:
    """Bytes: a GPU's free memory, or all of the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


def at_a_time(images, most: int = 256) -> int:
    """How many of images (N,S,S,3) are evaluated together: at most `most`, and fewer where they are large."""
    return max(1, min(most, PIXELS // images.shape[1] ** 2))


def chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """`rows` in consecutive pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def steps_per_epoch(photographs: int, batch_size: int) -> int:
    """How many batches they make; the last may be smaller."""
    return math.ceil(photographs / batch_size)
