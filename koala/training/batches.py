"""Photographs and features by row number: resident on the device where they fit, read ahead where they do not."""

import concurrent.futures
import dataclasses
import mmap
import os
import warnings

import numpy as np
import torch

PIXELS = 4_000_000  # looked at together where no gradients are needed: some 200 MB of float32 in all
KEPT = (
    8 * 2**20
)  # bytes read from a memory map before its pages are handed back (the kernel maps neighbours, too)


class Streamed:
    """Rows of a memory-mapped array (N, ...), read when they are asked for.

    What has been read is handed back again and again, so that a process does not grow with the number of rows."""

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
            self.map.madvise(
                mmap.MADV_DONTNEED
            )  # the pages are clean: they are read again where they are needed
            self.read = 0
        return out


@dataclasses.dataclass
class Batches:
    """images (N,S,S,3) uint8 and features (N,D) by row number, each a tensor or Streamed; what does not lie on the
    device is read ahead by a thread where `ahead` announces it. mirrored: features (N,D) of the mirrored photographs."""

    images: torch.Tensor | Streamed
    features: torch.Tensor | Streamed
    device: torch.device
    mirrored: torch.Tensor | Streamed | None = None

    def __post_init__(self):
        self._coming = {}  # id of an announced array of rows -> what the thread is reading
        resident = isinstance(self.images, torch.Tensor) and self.images.device.type == self.device.type
        self._thread = None if resident else concurrent.futures.ThreadPoolExecutor(1, "koala-batches")

    def __call__(self, rows: np.ndarray, mirror: np.ndarray | None = None):
        """rgb (n,3,S,S) uint8 and features (n,D) float32, on the device. mirror: (N,) bool, the rows to mirror."""
        coming = self._coming.pop(id(rows), None)
        parts = coming.result() if coming else self._read(rows, mirror)
        rgb, features, *other = (part.to(self.device, non_blocking=True) for part in parts)
        rgb, features = rgb.permute(0, 3, 1, 2), features.float()  # (n, 3, S, S), (n, D)
        if mirror is None:
            return rgb, features
        turned = torch.from_numpy(mirror[rows]).to(self.device)  # (n,)
        if other:
            features = torch.where(turned[:, None], other[0].float(), features)
        return torch.where(turned[:, None, None, None], rgb.flip(-1), rgb), features

    def ahead(self, pieces, mirror: np.ndarray | None = None):
        """Yield `pieces` (arrays of rows), while the next one is being read already."""
        pieces = iter(pieces)
        piece = next(pieces, None)
        try:
            while piece is not None:
                following = next(pieces, None)
                if self._thread and following is not None:
                    self._coming[id(following)] = self._thread.submit(self._read, following, mirror)
                yield piece
                piece = following
        finally:
            self._coming.clear()

    def _read(self, rows, mirror) -> list[torch.Tensor]:
        """Pictures (n,S,S,3), features (n,D) and, where rows are mirrored, their other features, where they lie."""
        index = torch.from_numpy(rows)
        wanted = [self.images, self.features] + (
            [self.mirrored] if mirror is not None and self.mirrored is not None else []
        )
        parts = [array[index.to(array.device)] for array in wanted]
        if self.device.type == "cuda":
            parts = [part if part.is_cuda else part.pin_memory() for part in parts]
        return parts


def make_batches(
    images: np.ndarray,
    features: np.ndarray,
    device: torch.device,
    mirrored: np.ndarray | None = None,
    budget: int | None = None,
) -> Batches:
    """Data on the GPU as uint8 when all of it takes less than `budget` bytes, else streamed.

    budget: half of the device's free memory where it is None. On a CPU a memory map is resident as it stands, in the
    system's page cache, as long as that can hold it."""
    arrays = [array for array in (images, features, mirrored) if array is not None]
    budget = _free(device) // 2 if budget is None else budget
    if sum(array.nbytes for array in arrays) < budget:
        tensors = [_as_tensor(array).to(device) for array in arrays]
    else:
        tensors = [Streamed(array) if isinstance(array, np.memmap) else _as_tensor(array) for array in arrays]
    return Batches(*tensors[:2], device, *tensors[2:])


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
    """How many of images (N,S,S,3) are looked at together: at most `most`, and fewer where they are large."""
    return max(1, min(most, PIXELS // images.shape[1] ** 2))


def chunks(rows: np.ndarray, size: int):
    """`rows` in consecutive pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
