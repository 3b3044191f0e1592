"""Metrics of photographs in a few bytes each, and photographs as one JPEG: how a study's numbers are kept in git."""

import io
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from koala import metrics
from koala.data import decode

# Steps per unit to which the metrics of a photograph are rounded; means over thousands lose nothing that is shown
STEPS = {
    "ciede2000": 100,
    "ab_rmse": 20,
    "ssim": 250,
    "auc": 1000,
    **dict.fromkeys(("psnr", "colourfulness", "chroma"), 10),
    **{f"{hue}_painted": 1000 for hue in metrics.HUES},
    **{f"{hue}_ciede2000": 2 for hue in metrics.HUES},
    **{f"{hue}_recall": 100 for hue in metrics.HUES},
}
TRUE = {"colourfulness_true": 10, "chroma_true": 10, **{f"{hue}_share": 10_000 for hue in metrics.HUES}}
MISSING = np.iinfo(np.int16).min
ABSENT = -1  # in place of a count: the table does not have the column


def rounded(per_image: pd.DataFrame) -> pd.DataFrame:
    """A run's table as it would be read back: chroma_ratio, which is made of means, is left out, and so is a hue's error in
    photographs whose share of the hue is rounded to none."""
    steps = {name: step for name, step in (TRUE | STEPS).items() if name in per_image}
    table = per_image.drop(columns="chroma_ratio", errors="ignore").assign(
        **{
            name: _decode(_encode(per_image[name].to_numpy(float), step), step)
            for name, step in steps.items()
        }
    )
    return table.assign(**{name: table[name].where(_has(name, table)) for name in steps})


def packed(lines: pd.DataFrame, steps: dict[str, int]) -> bytes:
    """Metrics of photographs as int16, low and high bytes apart: so they compress best.

    lines: as `rounded` made them, with the true shares of hues, where these are known: a hue's own metrics are kept of the
    photographs that have it."""
    columns = {name: lines[name].to_numpy(float)[_has(name, lines)] for name in steps if name in lines}
    counts = np.array([len(columns[name]) if name in columns else ABSENT for name in steps], np.int32)
    codes = np.concatenate([_encode(values, steps[name]) for name, values in columns.items()])
    planes = np.ascontiguousarray(codes.astype("<i2").view(np.uint8).reshape(-1, 2).T)
    return lzma.compress(npy(counts) + npy(planes), preset=9)


def unpacked(path: Path, steps: dict[str, int], true: pd.DataFrame | None = None) -> pd.DataFrame:
    """What `packed` made, from a file. true: the lines of the true colours, where they were known when it was written."""
    with lzma.open(path) as stream:
        counts, planes = np.load(stream), np.load(stream)
    codes = np.ascontiguousarray(planes.T).view("<i2")[:, 0]
    names = [name for name, count in zip(steps, counts, strict=True) if count != ABSENT]
    true = pd.DataFrame(index=range(counts.max())) if true is None else true
    table = {}
    for name, own in zip(names, np.split(codes, np.cumsum(counts[counts != ABSENT])[:-1]), strict=True):
        values = np.full(len(true), np.nan)
        values[_has(name, true)] = _decode(own, steps[name])
        table[name] = values
    return pd.DataFrame(table)


def photographs(path: Path) -> int:
    """How many photographs a file of `packed` holds metrics of."""
    with lzma.open(path) as stream:
        return int(np.load(stream).max())


def _has(name: str, lines: pd.DataFrame) -> np.ndarray:
    """Which photographs can have a value in this column: all of them, but for what is said of the pixels of one hue."""
    hue, _, kind = name.partition("_")
    share = f"{hue}_share"
    of_hue = kind in ("ciede2000", "recall") and share in lines
    return lines[share].to_numpy() > 0 if of_hue else np.full(len(lines), True)


def _encode(values: np.ndarray, step: int) -> np.ndarray:
    codes = np.nan_to_num(np.round(values * step), nan=MISSING)
    return np.clip(codes, MISSING, np.iinfo(np.int16).max).astype(np.int16)


def _decode(codes: np.ndarray, step: int) -> np.ndarray:
    return np.where(codes == MISSING, np.nan, codes / step)


def as_kept(pictures: np.ndarray) -> np.ndarray:
    """Photographs as they come back from a strip."""
    return _tiles(io.BytesIO(jpeg(pictures)))


def strip(path: Path) -> np.ndarray:
    """(n,S,S,3) uint8 of a file that `jpeg` made."""
    return _tiles(path)


def _tiles(source) -> np.ndarray:
    """A strip of square photographs, one above the other -> (n,S,S,3) uint8."""
    with decode.open_image(source) as picture:
        return np.asarray(picture).reshape(-1, picture.width, picture.width, 3)


def jpeg(pictures: np.ndarray) -> bytes:
    """(n,S,S,3) uint8 one above the other, with every pixel's own colour."""
    buffer = io.BytesIO()
    Image.fromarray(pictures.reshape(-1, *pictures.shape[2:])).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
