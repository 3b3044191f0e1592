"""Photographs side by side as one figure, and a picture as JPEG inside the page, without chroma subsampling."""

import io

import numpy as np
import torch
from IPython.display import Image
from matplotlib.figure import Figure
from PIL import Image as Picture

from koala import lab
from koala.report.style import WIDTH, alt_text, loose, style, wrapped
from koala.system.errors import KoalaError

JPEG_DPI = 110  # a little sharper than the 900 px at which it is shown


def batch(rgb, title: str = "") -> Figure:
    """(N,3,H,W) uint8: the photographs, and what the networks get of them: L* (encoder) and luma (extractor)."""
    rgb = torch.as_tensor(np.ascontiguousarray(rgb))
    L_norm, gray = lab.network_inputs(rgb)
    lightness = lab.to_rgb(L_norm, torch.zeros_like(L_norm).expand(-1, 2, -1, -1))
    luma = (gray * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    tiles = torch.stack([rgb, lightness, luma]).permute(0, 1, 3, 4, 2).numpy()  # (3, N, H, W, 3)
    names = ["photograph", "L*, for the encoder", "luma, for the extractor"]
    return _photographs(tiles, names, [""] * len(rgb), title)


def grid(columns: dict, rows: list[str], title: str = "") -> Figure:
    """Photographs side by side (figure 6 of the report): columns label -> (N,H,W,3) uint8, a caption for each row."""
    pictures = [np.asarray(column) for column in columns.values()]
    if not pictures or any(
        p.shape != pictures[0].shape or p.dtype != np.uint8 or len(p) != len(rows) for p in pictures
    ):
        shapes = ", ".join(f"{label} {p.shape} {p.dtype}" for label, p in zip(columns, pictures, strict=True))
        raise KoalaError(
            f"grid: every column must be ({len(rows)},H,W,3) uint8, as many as captions; got {shapes or 'none'}."
        )
    return _photographs(np.stack(pictures, 1), rows, list(columns), title)


def show_jpeg(picture, quality: int = 85) -> Image:
    """A Figure, or one photograph (H,W,3) uint8, for a notebook or a report: JPEG with every pixel's own colour
    (4:4:4), since the usual halving of the colour planes would blur just what is compared here."""
    if isinstance(picture, Figure):
        with style():
            picture.savefig(drawn := io.BytesIO(), format="png", dpi=JPEG_DPI)
        image, width, alt = (
            Picture.open(drawn).convert("RGB"),
            round(picture.get_figwidth() * 100),
            alt_text(picture),
        )
    else:
        image, alt = Picture.fromarray(np.asarray(picture)), "photograph"
        width = min(max(image.width, 256), 900)
    image.save(buffer := io.BytesIO(), "JPEG", quality=quality, subsampling=0, optimize=True)
    return Image(data=buffer.getvalue(), format="jpeg", width=width, alt=alt)


def _photographs(tiles, rows, columns, title) -> Figure:
    # One picture for all tiles: many small axes would be slow and never align to the pixel.
    R, C, H, W, _ = tiles.shape
    left = 1.25 if any(rows) else 0.05  # inches; tiles are in pixels, 4 apart
    wide = int(min((WIDTH - left - 0.05) / C, max(1.6, W / JPEG_DPI)) * JPEG_DPI - 4)
    size = (wide, max(1, wide * H // W))
    canvas = np.full((R * (size[1] + 4), C * (size[0] + 4), 3), 255, np.uint8)
    for r, c in np.ndindex(R, C):
        y, x = r * (size[1] + 4), c * (size[0] + 4)
        tile = Picture.fromarray(tiles[r, c]).resize(size, Picture.Resampling.BICUBIC)
        canvas[y : y + size[1], x : x + size[0]] = np.asarray(tile)
    inches = size[0] / JPEG_DPI
    longest = max((len(word) for text in columns for word in loose(text).split()), default=1)
    small = min(
        10, max(6.5, 72 * inches / (0.62 * longest))
    )  # points at which the longest word is as wide as a tile
    heads = [wrapped(text, int(inches * 11)) for text in columns]
    top = 0.12 + 0.17 * max(head.count("\n") + bool(head) for head in heads) + (0.3 if title else 0)
    width, height = left + canvas.shape[1] / JPEG_DPI, top + canvas.shape[0] / JPEG_DPI
    figure = Figure(figsize=(width, height), dpi=JPEG_DPI)
    with style():
        figure.text(0.04 / width, 1 - 0.08 / height, title, va="top", fontsize=13, weight="bold")
        figure.figimage(canvas, round(left * JPEG_DPI), 0, origin="upper")
        for c, head in enumerate(heads):
            x = left + (c * (size[0] + 4) + size[0] / 2) / JPEG_DPI
            figure.text(x / width, 1 - (top - 0.06) / height, head, ha="center", va="bottom", fontsize=small)
        for r, text in enumerate(rows):
            y = top + (r * (size[1] + 4) + size[1] / 2) / JPEG_DPI
            figure.text(0.04 / width, 1 - y / height, wrapped(text, 15), va="center", fontsize=10)
    return figure
