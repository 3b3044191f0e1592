"""Photographs side by side, as JPEG inside the page, without chroma subsampling.

A grid reaches a notebook as one JPEG with its captions, and a page (koala.report.render) as its single photographs,
so that the page can lay them out, name each one and slide one over another.
"""

import base64
import io
import math

import numpy as np
import torch
from IPython.display import Image
from matplotlib.figure import Figure
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from koala import lab
from koala.report.style import alt_text, style, wrapped
from koala.system.errors import KoalaError

MIME = "application/vnd.koala.photographs+json"
WIDE, GAP, LETTERS = 900, 4, 12  # pixels: of the mosaic, between photographs, of its captions


class Photographs:
    """tiles (R,C,H,W,3) uint8 with a caption for each row and a heading for each column. show: the column that a page's
    slider begins with; the second by default."""

    def __init__(
        self, tiles: np.ndarray, rows: list[str], columns: list[str], title: str = "", show: str = ""
    ):
        self.tiles, self.rows, self.columns, self.title, self.show = tiles, rows, columns, title, show

    def as_json(self) -> dict:
        R, C, H, W, _ = self.tiles.shape
        coded = [[base64.b64encode(_jpeg(self.tiles[r, c])).decode() for c in range(C)] for r in range(R)]
        size = {"width": W, "height": H, "show": self.show}
        return {"title": self.title, "rows": self.rows, "columns": self.columns, "tiles": coded, **size}

    def mosaic(self) -> Picture.Image:
        """All of them as one image, with captions at its top and left."""
        R, C, H, W, _ = self.tiles.shape
        font = ImageFont.load_default(LETTERS)
        left = max(
            (round(font.getlength(line)) for text in self.rows for line in _lines(text, 16)), default=0
        )
        wide = int(min((WIDE - left) / C, max(160, W)) - GAP)
        high = max(1, wide * H // W)
        heads = _headings(self.columns, wide, font)
        top = max((head.height for head in heads), default=0)
        size = (left + GAP + C * (wide + GAP), top + GAP + R * (high + GAP))
        canvas = Picture.new("RGB", size, "white")
        draw = ImageDraw.Draw(canvas)
        for c, head in enumerate(heads):
            canvas.paste(head, (left + GAP + c * (wide + GAP) + (wide - head.width) // 2, top - head.height))
        for r in range(R):
            y = top + GAP + r * (high + GAP)
            caption = "\n".join(_lines(self.rows[r], 16))
            draw.multiline_text((0, y + high / 2), caption, "black", font, anchor="lm", spacing=2)
            for c in range(C):
                tile = Picture.fromarray(self.tiles[r, c]).resize((wide, high), Picture.Resampling.BICUBIC)
                canvas.paste(tile, (left + GAP + c * (wide + GAP), y))
        return canvas

    def _repr_mimebundle_(self, include=None, exclude=None):
        words = self.title or f"photographs: {', '.join(filter(None, self.columns))}"
        jpeg = base64.b64encode(_jpeg(np.asarray(self.mosaic()))).decode()
        data = {"image/jpeg": jpeg, MIME: self.as_json(), "text/plain": words}
        return data, {"image/jpeg": {"alt": words}}


def _headings(texts: list[str], wide: int, font) -> list[Picture.Image]:
    """Each text as an image, in lines no wider than `wide` pixels; all turned by a quarter where one has a longer word."""
    lines = [_lines(text, int(wide / LETTERS / 0.55)) for text in texts]
    turned = any(font.getlength(line) > wide + GAP for each in lines for line in each)
    if turned:
        lines = [[text] for text in texts]
    heads = []
    for each in lines:
        across = math.ceil(max(map(font.getlength, each), default=1))
        head = Picture.new("RGB", (across, (LETTERS + 3) * max(1, len(each))), "white")
        middle = (across / 2, head.height)
        ImageDraw.Draw(head).multiline_text(
            middle, "\n".join(each), "black", font, anchor="md", align="center", spacing=2
        )
        heads.append(head.transpose(Picture.Transpose.ROTATE_90) if turned else head)
    return heads


def batch(rgb) -> Photographs:
    """(N,3,H,W) uint8: the photographs, and what the networks get of them: L* (encoder) and luma (extractor)."""
    rgb = torch.as_tensor(np.ascontiguousarray(rgb))
    L_norm, gray = lab.network_inputs(rgb)
    lightness = lab.to_rgb(L_norm, torch.zeros_like(L_norm).expand(-1, 2, -1, -1))
    luma = (gray * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    tiles = torch.stack([rgb, lightness, luma]).permute(0, 1, 3, 4, 2).numpy()  # (3, N, H, W, 3)
    names = ["photograph", "L*, for the encoder", "luma, for the extractor"]
    return Photographs(tiles, names, [""] * len(rgb))


def grid(columns: dict, rows: list[str], title: str = "", show: str = "") -> Photographs:
    """Photographs side by side (figure 6 of the report): columns label -> (N,H,W,3) uint8, a caption for each row."""
    pictures = [np.asarray(column) for column in columns.values()]
    if not pictures or any(
        p.shape != pictures[0].shape or p.dtype != np.uint8 or len(p) != len(rows) for p in pictures
    ):
        shapes = ", ".join(f"{label} {p.shape} {p.dtype}" for label, p in zip(columns, pictures, strict=True))
        raise KoalaError(
            f"grid: every column must be ({len(rows)},H,W,3) uint8, as many as captions; got {shapes or 'none'}."
        )
    return Photographs(np.stack(pictures, 1), list(rows), list(columns), title, show)


def jpeg(shown: dict, columns: list[str]) -> bytes:
    """Some columns of `Photographs.as_json`, by their headings, as one image."""
    chosen = [shown["columns"].index(name) for name in columns]
    tiles = [
        [np.asarray(Picture.open(io.BytesIO(base64.b64decode(row[c]))).convert("RGB")) for c in chosen]
        for row in shown["tiles"]
    ]
    return _jpeg(np.asarray(Photographs(np.array(tiles), shown["rows"], columns).mosaic()))


def show_jpeg(shown) -> Image:
    """A Figure, or one photograph (H,W,3) uint8, for a notebook or a report."""
    if isinstance(shown, Figure):
        with style():
            shown.savefig(drawn := io.BytesIO(), format="png", dpi=110)
        image, alt = Picture.open(drawn).convert("RGB"), alt_text(shown)
        width = round(shown.get_figwidth() * 100)
    else:
        image, alt = Picture.fromarray(np.asarray(shown)), "photographs"
        width = min(max(image.width, 256), WIDE)
    return Image(data=_jpeg(np.asarray(image)), format="jpeg", width=width, alt=alt)


def _jpeg(rgb: np.ndarray) -> bytes:
    """JPEG with every pixel's own colour (4:4:4): the usual halving of the colour planes would blur just what is
    compared here. A gray photograph has no such planes at all."""
    buffer = io.BytesIO()
    is_gray = rgb.ndim == 3 and (rgb == rgb[..., :1]).all()
    Picture.fromarray(rgb[..., 0] if is_gray else rgb).save(
        buffer, "JPEG", quality=85, subsampling=0, optimize=True
    )
    return buffer.getvalue()


def _lines(text: str, letters: int) -> list[str]:
    return wrapped(text, letters).split("\n") if text.strip() else []
