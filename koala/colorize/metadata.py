"""What a photograph's file says beside its pixels, kept in the coloured file: EXIF, ICC profile, dpi and alpha."""

import contextlib
import dataclasses
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from koala.data import decode
from koala.system import paths
from koala.system.errors import KoalaError

# Tags that describe the photograph: the others of a TIFF describe how its pixels lie in the file, or how they are turned.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 318, 319, 18246, 18249, 33432, *range(40091, 40096))
EXIF_IFD, GPS_IFD = 34665, 34853
SIDES = (40962, 40963)  # width and height as the camera's part of EXIF states them
WITH_ALPHA = ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000")
OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},  # every pixel's own colour
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
    "TIFF": {"compression": "tiff_deflate"},
}
MOST_EXIF = 65_000  # bytes, of JPEG


@dataclasses.dataclass(frozen=True)
class Metadata:
    """exif: without what describes the old pixels; icc: an RGB profile, or b""; dpi: (x, y) or None; alpha (H,W) uint8 or
    None where every pixel is opaque."""

    exif: Image.Exif
    icc: bytes
    dpi: tuple | None
    alpha: np.ndarray | None


def read(data: bytes) -> Metadata:
    """An image file's metadata; what cannot be read of it is left out."""
    with decode.open_image(io.BytesIO(data)) as image:
        alpha = _alpha(image)
        return Metadata(_exif(image), image.info.get("icc_profile") or b"", _dpi(image), alpha)


def write(path: Path, rgb: np.ndarray, metadata: Metadata | None = None) -> None:
    """(H,W,3) uint8 sRGB as an image file in the format of its suffix, with the metadata that the format can hold. KoalaError
    where the format cannot hold so many pixels."""
    kind = Image.registered_extensions()[path.suffix.lower()]
    options = dict(OPTIONS.get(kind, {}))
    image = Image.fromarray(rgb)
    if metadata:
        alpha = metadata.alpha if kind in WITH_ALPHA else None
        image, icc = _in_profile(
            Image.fromarray(rgb if alpha is None else off_white(rgb, alpha)), metadata.icc
        )
        if alpha is not None:
            image.putalpha(Image.fromarray(alpha))
        exif = metadata.exif.tobytes() if len(metadata.exif) else b""
        exif = b"" if kind == "JPEG" and len(exif) > MOST_EXIF else exif
        if kind == "TIFF" and any(ifd in metadata.exif for ifd in (EXIF_IFD, GPS_IFD)):
            del options["compression"]  # Pillow writes the parts of EXIF into uncompressed TIFF files only
        options |= {k: v for k, v in (("exif", exif), ("icc_profile", icc), ("dpi", metadata.dpi)) if v}
    with paths.atomic_path(path) as temporary:
        try:
            image.save(temporary, format=kind, **options)
        except (ValueError, RuntimeError) as error:  # WebP ends at 16,383 pixels, AVIF at 65,536
            raise KoalaError(
                f"{path}: {kind} cannot hold {image.width} x {image.height} pixels ({error}): use another format."
            ) from None


def off_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 that is `rgb` again when it is laid on white with alpha (H,W) uint8: the inverse of that."""
    share = np.maximum(alpha, 1)[..., None].astype(np.float32) / 255
    return (255 - (255 - rgb.astype(np.float32)) / share).clip(0, 255).round().astype(np.uint8)


def _exif(image: Image.Image) -> Image.Exif:
    kept = Image.Exif()
    with contextlib.suppress(Exception):  # hostile bytes make readers raise errors of many kinds
        source = image.getexif()
        values = {tag: source[tag] for tag in DESCRIPTIVE if tag in source}
        values |= {ifd: dict(source.get_ifd(ifd)) for ifd in (EXIF_IFD, GPS_IFD) if source.get_ifd(ifd)}
        camera = values.get(EXIF_IFD, {})
        if source.get(decode.ORIENTATION, 1) in range(5, 9) and all(
            tag in camera for tag in SIDES
        ):  # it lay on its side
            camera[SIDES[0]], camera[SIDES[1]] = camera[SIDES[1]], camera[SIDES[0]]
        kept.update(values)
        kept.tobytes()  # fails here where it would fail when it is written
        return kept
    return Image.Exif()


def _dpi(image: Image.Image) -> tuple | None:
    with contextlib.suppress(Exception):
        x, y = (float(value) for value in image.info["dpi"])
        if all(math.isfinite(value) and 1 <= value <= 65_535 for value in (x, y)):
            return (x, y)
    return None


def _alpha(image: Image.Image) -> np.ndarray | None:
    if not decode.has_alpha(image):
        return None
    alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))
    return None if (alpha == 255).all() else alpha


def _in_profile(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes]:
    """The sRGB image in the colours of an RGB profile, and that profile; unchanged, and without one, where it is not used."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else None
        if profile is None or profile.profile.xcolor_space.strip() != "RGB":
            return image, b""  # of gray or of a printer: a file of three colours cannot have it
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image, icc
        return ImageCms.profileToProfile(image, srgb, profile), icc
    except (ImageCms.PyCMSError, OSError, ValueError):  # a scanner's, which leads one way only
        return image, ImageCms.ImageCmsProfile(srgb).tobytes()
