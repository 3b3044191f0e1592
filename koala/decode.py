"""One file's bytes -> one square uint8 picture, or the reason why not."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from koala.errors import KoalaError

SMALLEST = 16  # pixels of the shorter side
NARROWEST = 8  # times longer than wide
LARGEST = 100_000_000  # pixels: more is a decompression bomb or a gigapixel panorama
FITS = ("crop", "fit")  # crop: the largest centred square; fit: the whole picture, squeezed into the square

Image.init()


def square(data: bytes, image_size: int, fit: str = "crop", box=()):
    """Decode `data` -> ((image_size, image_size, 3) uint8 sRGB, notes), (width, height).

    `box` (left, top, side) cuts a square first. Raises KoalaError with the reason where the file is refused."""
    if not data:
        raise KoalaError("zero bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _square(data, image_size, fit, box)
    except KoalaError:
        raise
    except Image.UnidentifiedImageError as error:
        raise KoalaError("not an image that can be read") from error
    except Exception as error:  # decoders meet hostile bytes with many kinds of errors: any one refuses the file
        text = str(error).split("<")[0].strip() or type(error).__name__
        raise KoalaError(f"truncated ({text})" if "truncated" in text.lower() else f"damaged ({text})") from error


def _square(data, image_size, fit, box):
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        _check_size(width, height)
        side = image_size if fit == "fit" else image_size * max(width, height) // min(width, height)
        if not box:
            image.draft("RGB", (side, side))  # JPEG: decode at 1/2, 1/4 or 1/8 where that is still large enough
        image.load()
        image, notes = _to_rgb(image)
    if box:
        left, top, cut = box
        image = image.crop((left, top, left + cut, top + cut))
    if fit == "crop" and image.width != image.height:
        cut = min(image.size)
        left, top = (image.width - cut) // 2, (image.height - cut) // 2
        image = image.crop((left, top, left + cut, top + cut))
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BICUBIC)  # with antialias
    return np.asarray(image), notes, (width, height)  # (S, S, 3) uint8


def _check_size(width: int, height: int):
    if width * height > LARGEST:
        raise KoalaError(f"{width}x{height} pixels: too large (a decompression bomb?)")
    if min(width, height) < SMALLEST:
        raise KoalaError(f"{width}x{height} pixels: too small")
    if max(width, height) > NARROWEST * min(width, height):
        raise KoalaError(f"{width}x{height} pixels: extreme aspect")


def _to_rgb(image):
    """(RGB image, upright; what was done to it, in words)."""
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first frame of an animation")
    if image.mode == "CMYK":
        raise KoalaError("CMYK: its colours depend on a printer")
    if image.getexif().get(0x0112, 1) not in (0, 1):
        notes.append("turned upright by EXIF")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        scale = 1 / 257 if image.mode.startswith("I") else 255
        image = Image.fromarray(np.clip(np.asarray(image, np.float64) * scale, 0, 255).astype(np.uint8))
        notes.append("16-bit or float gray scaled to 8 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notes.append("transparency laid on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "P":
        notes.append("palette")
    return (image if image.mode == "RGB" else image.convert("RGB")), notes
