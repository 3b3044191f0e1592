"""One file's bytes -> one square uint8 picture, or the reason why not.

Ordinary JPEG files, nearly all photographs, are decoded by simplejpeg where it is installed, and everything is
resized by torch: both do what Pillow does (pixel for pixel in decoding, within 1 of 255 in resizing) much faster.
"""

import contextlib
import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps

from koala.system.errors import KoalaError

try:
    import simplejpeg
except ImportError:  # no wheel for this machine: Pillow gives the same pixels
    simplejpeg = None

SMALLEST = 16  # pixels of the shorter side
NARROWEST = 8  # times longer than wide
LARGEST = 100_000_000  # pixels: more is a decompression bomb or a gigapixel panorama
# What Pillow decodes inside this process. Everything else is refused unopened: EPS, for one, Pillow hands to
# Ghostscript, and a file that calls itself .jpg would then run as a program.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "ICO")  # JPEG: MPO, too
FITS = ("crop", "fit")  # crop: the largest centred square; fit: the whole picture, squeezed into the square

Image.init()


def square(data: bytes, image_size: int, fit: str = "crop", box=()):
    """Decode `data` -> picture (image_size, image_size, 3) uint8 sRGB, notes (list of words), (width, height).

    `box` (left, top, side) cuts a square first. Raises KoalaError with the reason where the file is refused."""
    if not data:
        raise KoalaError("zero bytes")
    size, pixels = plain_jpeg(data), None
    with _refusing():
        if (
            simplejpeg and size and min(size) < 4 * image_size
        ):  # larger ones are cheaper to decode at half their size, by Pillow
            check_size(*size)
            pixels, notes = _decode_jpeg(data), []
        if pixels is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pixels, notes, size = _decode_any(data, image_size, fit, box)
    return resize(_cut(pixels, fit, box), image_size), notes, size


def open_image(source) -> Image.Image:
    """The picture in `source` (a path or a binary file), its pixels not yet decoded: the only place that opens one.

    Raises KoalaError that names the format where it is none of FORMATS, UnidentifiedImageError where it is none at all."""
    try:
        return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.UnidentifiedImageError:
        if name := _foreign_format(source):
            raise KoalaError(f"{name} files are not read (formats that are: {', '.join(FORMATS)})") from None
        raise


def _foreign_format(source) -> str:
    """The format that the first bytes announce and that is not read, or ""."""
    if not isinstance(source, io.BytesIO):
        return ""
    prefix = source.getvalue()[:16]
    for name, (_, accept) in Image.OPEN.items():
        if name not in FORMATS and accept and accept(prefix):
            return name
    return ""


@contextlib.contextmanager
def _refusing():
    """Turns whatever a decoder raises into a KoalaError with the reason why a file is refused."""
    try:
        yield
    except KoalaError:
        raise
    except Image.UnidentifiedImageError as error:
        raise KoalaError("not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise KoalaError("too large (a decompression bomb?)") from error
    except (
        Exception
    ) as error:  # hostile bytes make decoders raise errors of many kinds: any one refuses the file
        text = str(error).split("<")[0].split("\n")[0].strip() or type(error).__name__
        raise KoalaError(
            f"truncated ({text})" if "truncated" in text.lower() else f"damaged ({text})"
        ) from error


def plain_jpeg(data: bytes):
    """(width, height) of a complete JPEG file in gray or YCbCr without EXIF, colour profile or Adobe's mark; or None."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        return None
    at = 2
    while at + 10 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xC0, 0xC1, 0xC2):  # start of a baseline or progressive frame
            height, width = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
            return (
                (width, height) if data[at + 4] == 8 and data[at + 9] in (1, 3) and width and height else None
            )
        if marker in (0xE1, 0xE2, 0xEE):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def check_size(width: int, height: int) -> None:
    """Raises KoalaError for what is too large, too small or too narrow to be a photograph."""
    check_area(width, height)
    if min(width, height) < SMALLEST:
        raise KoalaError(f"{width}x{height} pixels: too small")
    if max(width, height) > NARROWEST * min(width, height):
        raise KoalaError(f"{width}x{height} pixels: extreme aspect")


def check_area(width: int, height: int) -> None:
    """Raises KoalaError for what is too large."""
    if width * height > LARGEST:
        raise KoalaError(f"{width}x{height} pixels: too large (a decompression bomb?)")


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8, bicubic with antialias."""
    if pixels.shape[:2] == (size, size):
        return pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[
        None
    ]  # (1, 3, H, W), colours last in memory: the fast case
    planes = torch.nn.functional.interpolate(planes, size=(size, size), mode="bicubic", antialias=True)
    return planes[0].permute(1, 2, 0).numpy()


def _decode_jpeg(data: bytes):
    """(H, W, 3) uint8, or None where the decoder has something to complain about."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
    except ValueError:
        return None


def _cut(pixels: np.ndarray, fit: str, box) -> np.ndarray:
    height, width = pixels.shape[:2]
    if box:
        left, top, side = box
    elif fit == "crop" and height != width:
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
    else:
        return pixels
    return pixels[top : top + side, left : left + side]


def _decode_any(data, image_size, fit, box):
    with open_image(io.BytesIO(data)) as image:
        width, height = image.size
        check_size(width, height)
        if not box:  # JPEG is decoded at 1/2, 1/4 or 1/8 where twice the size that is asked for remains
            times = 2 * image_size / min(width, height)
            image.draft(None, (round(width * times), round(height * times)))
        image.load()
        image, notes = _to_rgb(image)
        pixels = np.array(image)  # (H, W, 3)
    if notes and notes[0].startswith("turned"):
        width, height = (
            (width, height) if (width > height) == (pixels.shape[1] > pixels.shape[0]) else (height, width)
        )
    return pixels, notes, (width, height)


def _to_rgb(image):
    """(sRGB image, upright; what was done to it, in words)."""
    notes = []
    if image.mode == "CMYK":
        raise KoalaError("CMYK: its colours depend on a printer")
    if image.getexif().get(0x0112, 1) in range(2, 9):
        notes.append("turned upright by EXIF")
        image = ImageOps.exif_transpose(image)
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first frame of several")
    if image.mode.startswith(("I", "F")):
        scale = 1 / 257 if image.mode.startswith("I") else 255
        image = Image.fromarray(
            np.clip(np.asarray(image, np.float64) * scale, 0, 255).round().astype(np.uint8)
        )
        notes.append("16-bit or float gray scaled to 8 bits")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        notes.append(f"alpha channel ({image.mode}) laid on white")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("RGB", "L"):
        notes.append({"P": "palette", "1": "bilevel"}.get(image.mode, image.mode) + " converted to RGB")
    profile = image.info.get("icc_profile")
    image = image if image.mode == "RGB" else image.convert("RGB")
    return _to_srgb(image, profile, notes), notes


def _to_srgb(image, profile, notes):
    """The picture in sRGB where it brings another RGB colour profile along (Adobe RGB, Display P3 ...)."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "sRGB" in name or source.profile.xcolor_space.strip() != "RGB":
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("colour profile that cannot be read: taken as sRGB")
        return image
    notes.append(f"colour profile {name} converted to sRGB")
    return converted


def whole(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of a picture file's bytes, upright and at its own size, however small or narrow.

    CMYK is taken without its printer's colours: enough where lightness alone is used. Raises KoalaError with the reason."""
    if not data:
        raise KoalaError("zero bytes")
    with _refusing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_image(io.BytesIO(data)) as image:
            check_area(*image.size)
            image.load()
            return np.array(_to_rgb(image.convert("RGB") if image.mode == "CMYK" else image)[0])
