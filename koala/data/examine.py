"""One listed file -> its square photograph and record; then perceptual hash, mean chroma, and whether it is gray."""

import hashlib

import numpy as np
import torch

from koala.bins import GRAY
from koala.data.archives import Unreadable, read
from koala.data.decode import square
from koala.data.duplicates import perceptual_hash
from koala.data.reasons import Reason, Refused
from koala.data.records import Entry, Record
from koala.lab import rgb_to_lab


def examine(entry: Entry, image_size: int, fit: str):
    """(pixels (S, S, 3) uint8 or None, Record) of one listed file. Never raises for a bad file."""
    record = Record(entry.path, entry.category, entry.group)
    try:
        if entry.problem:
            record.reasons = [entry.problem]
            return None, record
        data = read(entry)
        digest = hashlib.sha256(data)
        if entry.box:  # crops of one file are different photographs
            digest.update(repr(list(entry.box)).encode())
        record.sha256 = digest.hexdigest()
        pixels, record.reasons, size = square(data, image_size, fit, entry.box)
    except Unreadable as error:
        record.reasons = [Reason("unreadable", str(error))]
        return None, record
    except Refused as error:
        record.reasons = [error.reason]
        return None, record
    record.status = "used"
    record.width, record.height = size
    return pixels, record


def measure(photographs: np.ndarray, records: list[Record]) -> None:
    """Fill in perceptual hash, mean chroma sqrt(a*^2 + b*^2) (over a grid of about 16x16 pixels), and status gray.

    photographs: (n, S, S, 3) uint8; records: one for each, changed in place."""
    step = max(1, photographs.shape[1] // 16)
    ab = _ab(photographs[:, ::step, ::step])  # (n, 2, ~16, ~16)
    chroma = ab.square().sum(1).sqrt().mean((1, 2)).tolist()
    strongest = ab.abs().amax((1, 2, 3)).tolist()
    hashes = perceptual_hash(photographs).tolist()
    for i, record in enumerate(records):
        record.chroma, record.hash = round(chroma[i], 2), hashes[i]
        # Where the grid shows no colour, every pixel is checked.
        if strongest[i] <= GRAY and _is_gray(photographs[i]):
            record.status = "gray"


def _is_gray(rgb: np.ndarray) -> bool:
    """Whether no pixel of (S, S, 3) uint8 has |a*| or |b*| above GRAY; three equal channels have neither."""
    equal = (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all()
    return bool(equal or _ab(rgb[None]).abs().max() <= GRAY)


def _ab(rgb: np.ndarray) -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(rgb).permute(0, 3, 1, 2))[:, 1:]
