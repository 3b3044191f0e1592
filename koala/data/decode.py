"""One file's bytes -> one square photograph, uint8, or the reason why not.

JPEG files, nearly all photographs, are decoded by koala.data.jpeg, everything else by Pillow, PNG once koala.data.png has
checked it. torch resizes: it does what Pillow does (within 1 of 255) much faster.
"""

import contextlib
import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageCms

from koala.data import jpeg, png
from koala.data.reasons import FORMATS, Reason, Refused
from koala.system.errors import KoalaError

SMALLEST = 16  # pixels of the shorter side
NARROWEST = 8  # times longer than wide
LARGEST = 100_000_000  # pixels: more is a decompression bomb or a gigapixel panorama
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {  # EXIF's orientation: what turns the photograph upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")  # Pillow's modes
FITS = (
    "crop",
    "fit",
)  # crop: the largest centred square; fit: the whole photograph, squeezed into the square

Image.init()


def square(data: bytes, image_size: int, fit: str = "crop", box=None):
    """Decode `data` -> pixels (image_size, image_size, 3) uint8 sRGB, [Reason] of what was done, (width, height).

    `box` (left, top, side) cuts a square first. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where twice the size
    asked for remains. Raises Refused with the reason."""
    pixels, reasons, size = _decode(data, check_size, None if box else 2 * image_size)
    return resize(_cut(pixels, fit, box), image_size), reasons, size


def whole(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of an image file's bytes, upright and at its own size, however small or narrow.

    CMYK is decoded without its printer's profile, which is enough where only lightness is used. Raises Refused."""
    return _decode(data, check_area, None, cmyk=True)[0]


def open_image(source) -> Image.Image:
    """The image in `source` (a path or a binary file), its pixels not yet decoded: the only place that opens one.

    Raises Refused, naming the format, where it is none of FORMATS, and where it is none at all."""
    try:
        return Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.UnidentifiedImageError as error:
        name = _foreign_format(source)
        raise (Refused("format", name) if name else Refused("no-image")) from error


def _foreign_format(source) -> str:
    """The format that the first bytes announce, where it is none of FORMATS; else ""."""
    if not isinstance(source, io.BytesIO):
        return ""
    prefix = source.getvalue()[:16]
    for name, (_, accept) in Image.OPEN.items():
        if name not in FORMATS and accept and accept(prefix):
            return name
    return ""


def _decode(data: bytes, check, shortest, cmyk: bool = False):
    """Pixels (H, W, 3) uint8 sRGB, [Reason], (width, height) upright. check(width, height) refuses sizes."""
    if not data:
        raise Refused("empty")
    frame = jpeg.frame(data)
    with _refusing():
        if frame and frame.plain:  # without Pillow, whose start costs more than decoding a small file
            size = (frame.width, frame.height)
            check(*size)
            return jpeg.decode(data, jpeg.scale(*size, shortest), size), [], size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode_any(data, check, shortest, cmyk)


@contextlib.contextmanager
def _refusing():
    """Turns whatever a decoder raises into Refused: hostile bytes make decoders raise errors of many kinds."""
    try:
        yield
    except KoalaError:
        raise
    except Image.DecompressionBombError as error:
        raise Refused("large", f"more than {2 * Image.MAX_IMAGE_PIXELS:,}") from error
    except Exception as error:
        text = str(error).split("<")[0].split("\n")[0].strip() or type(error).__name__
        raise Refused("truncated" if "truncated" in text.lower() else "damaged", text) from error


def _decode_any(data, check, shortest, cmyk):
    with open_image(io.BytesIO(data)) as image:
        size = image.size
        check(*size)
        if image.mode == "CMYK" and not cmyk:
            raise Refused("cmyk")
        opened = _load(data, image, shortest)
        turn = image.getexif().get(ORIENTATION, 1)  # after loading: Pillow turns a TIFF itself
        profile = image.info.get("icc_profile")
        reasons = []
        if turn in TURNS:
            reasons.append(Reason("upright"))
            opened = opened.transpose(TURNS[turn])
        if getattr(image, "n_frames", 1) > 1:
            reasons.append(Reason("first-frame"))
        pixels = np.array(_to_srgb(_to_rgb(opened, reasons), profile, reasons))
    return pixels, reasons, size[::-1] if turn in range(5, 9) else size


def _load(data, image, shortest) -> Image.Image:
    """The image with its pixels, as strictly as its format can be read."""
    if image.format in ("JPEG", "MPO"):
        if image.mode != "CMYK":
            return Image.fromarray(jpeg.decode(data, jpeg.scale(*image.size, shortest), image.size))
        jpeg.decode(data, 8, image.size, "CMYK")  # for its complaints
    if image.format == "PNG":
        png.check(data)
    image.load()
    return image.convert("RGB") if image.mode == "CMYK" else image


def _to_rgb(image, reasons: list) -> Image.Image:
    """The image in mode RGB, whatever its mode; what was done is added to `reasons`."""
    if image.mode.startswith(("I", "F")):
        scale = 1 / 257 if image.mode.startswith("I") else 255
        values = np.clip(np.asarray(image, np.float64) * scale, 0, 255)
        image = Image.fromarray(values.round().astype(np.uint8))
        reasons.append(Reason("deep-gray"))
    if has_alpha(image):
        reasons.append(Reason("alpha", image.mode))
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("RGB", "L"):
        reasons.append(Reason("mode", {"P": "palette", "1": "bilevel"}.get(image.mode, image.mode)))
    return image if image.mode == "RGB" else image.convert("RGB")


def has_alpha(image: Image.Image) -> bool:
    """Whether it has an alpha channel, or a colour that stands for transparent."""
    return image.mode in ALPHA or "transparency" in image.info


def _to_srgb(image, profile, reasons: list) -> Image.Image:
    """The image in sRGB where it brings another RGB colour profile along (Adobe RGB, Display P3 ...)."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "sRGB" in name or source.profile.xcolor_space.strip() != "RGB":
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):
        reasons.append(Reason("bad-profile"))
        return image
    reasons.append(Reason("profile", name))
    return converted


def check_size(width: int, height: int) -> None:
    """Raises Refused for what is too large, too small or too narrow to be a photograph."""
    check_area(width, height)
    if min(width, height) < SMALLEST:
        raise Refused("small", f"{width}x{height}")
    if max(width, height) > NARROWEST * min(width, height):
        raise Refused("narrow", f"{width}x{height}")


def check_area(width: int, height: int) -> None:
    """Raises Refused for what is too large."""
    if width * height > LARGEST:
        raise Refused("large", f"{width}x{height}")


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8, bicubic with antialias."""
    if pixels.shape[:2] == (size, size):
        return pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last: the fast case
    planes = torch.nn.functional.interpolate(planes, size=(size, size), mode="bicubic", antialias=True)
    return planes[0].permute(1, 2, 0).numpy()


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
