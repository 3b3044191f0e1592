"""images.npy: each photograph is written to its row, so that memory does not grow with their number."""

import os
from pathlib import Path

import numpy as np

from koala.data.shards import FILES, Shards

PAGE = 4096  # bytes


def write_images(path: Path, shards: Shards, row_of: np.ndarray, stored: np.ndarray) -> None:
    """Write the photographs of all shards. row_of: (N,) row of each listed file, -1 for none; stored: (N,) bool, whether
    its shard holds its pixels."""
    size = shards.image_size
    shape = (int((row_of >= 0).sum()), size, size, 3)
    with open(path, "wb") as file:
        start = _write_header(file, shape)
        if hasattr(os, "posix_fallocate"):  # scattered writes into reserved space are cheaper
            os.posix_fallocate(file.fileno(), 0, start + int(np.prod(shape)))
        for i in range(len(shards)):
            here = slice(i * FILES, (i + 1) * FILES)
            for row, pixels in zip(row_of[here][stored[here]].tolist(), shards.photographs(i), strict=True):
                if row >= 0:
                    os.pwrite(file.fileno(), pixels, start + row * size * size * 3)  # (S, S, 3)
        os.fsync(file.fileno())


def _write_header(file, shape) -> int:
    """The .npy header of an array of uint8, padded to a whole page: photographs that fill whole pages then leave no
    page half written. Returns its length in bytes."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape})
    magic = np.lib.format.magic(1, 0)
    length = PAGE - len(magic) - 2
    file.write(magic + length.to_bytes(2, "little") + text.ljust(length - 1).encode("latin1") + b"\n")
    file.flush()
    return PAGE


def read_image(file, row: int, size: int) -> np.ndarray:
    """Row `row`, (size, size, 3) uint8, of an images.npy that `write_images` wrote and that is open as `file`.

    Not mapped: the pages of a mapped file count as this process's memory."""
    count = size * size * 3
    return np.frombuffer(os.pread(file.fileno(), count, PAGE + row * count), np.uint8).reshape(size, size, 3)
