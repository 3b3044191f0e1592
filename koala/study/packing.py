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
    **dict.fromkeys(("ciede2000", "ab_rmse"), 100),
    **dict.fromkeys(("ssim", "auc"), 1000),
    **dict.fromkeys(("psnr", "colourfulness", "chroma"), 10),
    **{f"{hue}_painted": 1000 for hue in metrics.HUES},
    **{f"{hue}_ciede2000": 10 for hue in metrics.HUES},
    **{f"{hue}_recall": 100 for hue in metrics.HUES},
}
TRUE = {"colourfulness_true": 10, "chroma_true": 10, **{f"{hue}_share": 10_000 for hue in metrics.HUES}}
MISSING = np.iinfo(np.int16).min


def rounded(per_image: pd.DataFrame) -> pd.DataFrame:
    """A run's table as it would be read back: chroma_ratio, which is made of means, is left out."""
    steps = {name: step for name, step in (STEPS | TRUE).items() if name in per_image}
    values = {
        name: _decode(_encode(per_image[name].to_numpy(float), step), step) for name, step in steps.items()
    }
    return per_image.drop(columns="chroma_ratio", errors="ignore").assign(**values)


def packed(lines: pd.DataFrame, steps: dict[str, int]) -> bytes:
    """Columns of metrics as int16 (columns, photographs), low and high bytes apart: so they compress best."""
    names = [name for name in steps if name in lines]
    codes = np.stack([_encode(lines[name].to_numpy(float), steps[name]) for name in names])
    known = np.array([name in lines for name in steps], np.uint8)
    planes = codes.astype("<i2").view(np.uint8).reshape(len(names), -1, 2).transpose(0, 2, 1)
    return lzma.compress(npy(known) + npy(np.ascontiguousarray(planes)), preset=9)


def unpacked(path: Path, steps: dict[str, int]) -> pd.DataFrame:
    """What `packed` made, from a file."""
    stream = io.BytesIO(lzma.decompress(path.read_bytes()))
    known, planes = np.load(stream), np.load(stream)
    codes = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i2")[..., 0]
    names = [name for name, there in zip(steps, known, strict=True) if there]
    return pd.DataFrame({name: _decode(code, steps[name]) for name, code in zip(names, codes, strict=True)})


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
