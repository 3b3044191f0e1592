"""Features of a frozen extractor, computed once per data set and kept in data/features/KEY/.

features.npy is float16 (N,D) in row order, index.json says what it is and holds a sha256 for each finished block of
256 rows. A block counts only after its bytes are on the disk and its hash is in the index, so a kill costs at most
one block; every block is verified when it is used again, and computed anew if its bytes have changed.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from koala import lab
from koala.extractors.extractor import build
from koala.system import device, processes
from koala.system.errors import KoalaError
from koala.system.paths import Damaged, atomic_path, features_dir, locked, read_json, write_json

BLOCK = 256  # rows
BATCH = 64  # photographs at a time
FORMAT = 2  # raise it when the same key parts would no longer give the same numbers


@dataclass(frozen=True)
class Features:
    """array (N,D) float16, read-only, filled at least in the rows that were asked for; info: of the extractor."""

    array: np.ndarray
    info: dict
    key: str
    folder: Path | None


def compute(
    photos,
    backbone: str,
    weights: str = "auto",
    n: int | None = None,
    layer: str = "logits",
    device: str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
    precision: str = "fp32",
) -> Features:
    """Features of the first `n` rows of photos.images (N,S,S,3) uint8, from the cache as far as they are there.

    A later call with a larger n computes the new rows only. `none` gives (N,0). precision: of the extractor's
    arithmetic, fp32 or bf16 (faster where a CPU or GPU has it, and its own cache). Values are stored as float16: one
    that does not fit is an error, never inf. Where memory runs out, the batch is halved."""
    total = len(photos.images)
    n = total if n is None else int(n)
    if not 0 <= n <= total:
        raise KoalaError(f"features: n {n} must be in 0..{total} (rows of '{photos.name}').")
    if backbone == "none":
        info = dict.fromkeys(("sha256", "reason", "preprocessing"), "") | {"width": 0, "size": 0}
        info |= {"backbone": "none", "weights": "none", "trained": False, "layer": layer}
        return Features(np.zeros((total, 0), np.float16), info, "none", None)
    extractor = build(backbone, weights, layer, progress, precision=precision)
    parts = key_parts(photos.fingerprint, extractor.info)
    folder = features_dir() / key_of(parts)
    with locked(
        folder / "lock",
        lambda: progress and progress(0, 1, f"another process computes {folder.name}; waiting"),
    ):
        index = _open(folder, parts, extractor.info, total)
        array = np.load(folder / "features.npy", mmap_mode="r+")
        with processes.keep_freed_memory():
            _fill(array, index, folder, photos.images, extractor.to(device), n, progress)
    return Features(np.load(folder / "features.npy", mmap_mode="r"), extractor.info, folder.name, folder)


def key_parts(fingerprint: str, info: dict) -> dict:
    """What the numbers depend on: the data, the extractor, its weights, its preprocessing."""
    names = ("backbone", "layer", "sha256", "preprocessing", "precision")
    return dict(data=fingerprint, format=FORMAT, **{name: info[name] for name in names})


def key_of(parts: dict) -> str:
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{parts['backbone']}-{parts['layer']}-{digest}"


def _open(folder, parts, info, total) -> dict:
    """The index of an existing cache, or of a new, empty one. KoalaError if the folder holds something else."""
    shape = (total, info["width"])
    try:
        index = read_json(folder / "index.json")
        stored = np.load(folder / "features.npy", mmap_mode="r").shape
    except Damaged as error:
        print(f"{error} These features are computed anew.", flush=True)
        return _create(folder, parts, info, shape)
    except (OSError, ValueError, EOFError):  # not there, or cut short: begin anew
        return _create(folder, parts, info, shape)
    if index.get("parts") != parts or stored != shape:
        raise KoalaError(f"{folder} holds features of other data or another extractor; delete that folder.")
    return index


def _create(folder, parts, info, shape) -> dict:
    with atomic_path(folder / "features.npy") as temporary:
        np.lib.format.open_memmap(temporary, "w+", np.float16, shape).flush()
        with open(temporary, "rb+") as file:  # a full disk is an error here, and not a killed process later
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    index = dict(parts=parts, info=info, shape=shape, block=BLOCK, blocks={}, computed_on=[])
    write_json(folder / "index.json", index)
    return index


def _fill(array, index, folder, images, extractor, n, progress):
    batch_size = BATCH
    missing = [i for i in range(-(-n // BLOCK)) if index["blocks"].get(str(i)) != _sha256(array, i)]
    machine = f"{platform.machine()} {next(extractor.buffers()).device.type}"
    rows = sum(len(array[i * BLOCK : (i + 1) * BLOCK]) for i in missing)
    done = 0
    for i in missing:
        start, stop = i * BLOCK, min((i + 1) * BLOCK, len(array))
        while start < stop:
            end = min(start + batch_size, stop)
            values = _try(extractor, images[start:end])
            if values is None:
                batch_size = _halved(batch_size, extractor.info["backbone"])
                continue
            array[start:end] = values
            done, start = done + end - start, end
            if progress:
                progress(done, rows, f"features of {extractor.info['backbone']}")
        array.flush()  # the numbers reach the disk before the index vouches for them
        index["blocks"][str(i)] = _sha256(array, i)
        index["computed_on"] = sorted({*index["computed_on"], machine})
        write_json(folder / "index.json", index)


def _try(extractor, images) -> np.ndarray | None:
    """(n,S,S,3) uint8 -> (n,D) float16, or None where memory ran out."""
    rgb = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)  # (n, 3, S, S)
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # float16 keeps what TF32 would lose
            values = extractor(lab.luma(rgb.to(next(extractor.buffers()).device))).cpu()
    except RuntimeError as error:
        if not device.is_out_of_memory(error):
            raise
        return None
    halves = values.half()
    if not torch.isfinite(halves).all():
        raise KoalaError(
            f"{extractor.info['backbone']} ({extractor.info['weights']}) gives values up to "
            f"{values.abs().max():.3g}, beyond float16's 65504 or not numbers: these weights cannot be used."
        )
    return halves.numpy()


def _halved(batch_size, backbone) -> int:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch_size == 1:
        raise KoalaError(
            f"memory runs out for a single photograph in '{backbone}': use device=cpu or a smaller backbone."
        )
    return batch_size // 2


def _sha256(array, i) -> str:
    return hashlib.sha256(np.ascontiguousarray(array[i * BLOCK : (i + 1) * BLOCK])).hexdigest()
