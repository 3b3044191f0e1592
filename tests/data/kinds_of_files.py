"""Files of every bad or unusual kind, made by code: {name: bytes}, and what koala should say of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms


def picture(seed: int, size=(60, 48), mode="RGB", detail=(4, 5)) -> Image.Image:
    """Random colours, `detail` of them, smoothly enlarged: what compresses and resizes as photographs do."""
    small = np.random.default_rng(seed).integers(0, 256, (*detail, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)


def coded(image, kind="JPEG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, depth=8, colour=2, rows=b"") -> bytes:
    """A PNG by hand, for headers that no library would write."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def with_exif(seed: int, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return coded(picture(seed), exif=exif)


def deep_png(seed: int) -> bytes:
    high = np.asarray(picture(seed)).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in high)
    return png(60, 48, 16, 2, rows)


def alpha(seed: int, mode: str) -> Image.Image:
    image = picture(seed, mode=mode[:-1])
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def profile(seed: int) -> bytes:
    """A JPEG with a colour profile that is not sRGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    return coded(picture(seed), icc_profile=lab)


JPEG = coded(picture(500))
REFUSED = {  # name: (content, a part of the reason)
    "truncated.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "truncated.png": (coded(picture(501), "PNG")[:900], "truncated"),
    "truncated.webp": (coded(picture(502), "WEBP")[:200], ""),
    "truncated.gif": (coded(picture(503), "GIF")[:500], ""),
    "header_only.jpg": (JPEG[:20], ""),
    "zero_bytes.jpg": (b"", "zero bytes"),
    "text.jpg": (b"this is a note, no photograph", "not an image"),
    "page.jpg": (b"<!DOCTYPE html><html>404 not found</html>", "not an image"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "noise.png": (np.random.default_rng(0).bytes(4000), "not an image"),
    "damaged.png": (coded(picture(504), "PNG")[:300] + b"\0" * 400 + coded(picture(504), "PNG")[700:], ""),
    "table.csv": (b"path,label\na,1\n", "not an image"),
    ".DS_Store": (b"\0\0\0\1Bud1", "not an image"),
    "one_pixel.png": (coded(Image.new("RGB", (1, 1), "red"), "PNG"), "too small"),
    "tiny.png": (coded(picture(505, (12, 12)), "PNG"), "too small"),
    "strip.png": (coded(picture(506, (900, 20)), "PNG"), "extreme aspect"),
    "pole.jpg": (coded(picture(507, (20, 900))), "extreme aspect"),
    "bomb.png": (png(60_000, 60_000, rows=bytes(1000)), "too large"),
    "large.png": (png(11_000, 10_000, rows=bytes(1000)), "too large"),
    "no_pixels.png": (png(0, 0), ""),
    "program.jpg": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 48\n%%EndComments\n{ } loop\n",
        "EPS files are not read",
    ),
    "program_in_dos.jpg": (
        b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, 40) + bytes(20) + b"%!PS-Adobe-3.0 EPSF-3.0\n{ } loop\n",
        "EPS",
    ),
    "script.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 48\n(w) (w) file closefile\n",
        "EPS files are not read",
    ),
    "drawing.wmf": (b"\xd7\xcd\xc6\x9a" + bytes(60), "WMF files are not read"),
    "photo.tga": (coded(picture(510), "TGA"), "files are not read"),
    "photo.pcx": (coded(picture(511), "PCX"), "PCX files are not read"),
    "cmyk.jpg": (coded(picture(508, mode="CMYK")), "CMYK"),
    "cmyk.tif": (coded(picture(509, mode="CMYK"), "TIFF"), "CMYK"),
}
GRAY = {
    "gray.jpg": coded(picture(520, mode="L")),
    "gray_as_rgb.jpg": coded(picture(521, mode="L").convert("RGB")),
    "gray_16_bit.png": coded(
        Image.fromarray(np.asarray(picture(522, mode="L")).astype(np.uint16) * 257), "PNG"
    ),
    "gray_float.tif": coded(Image.fromarray(np.asarray(picture(523, mode="L"), np.float32) / 255), "TIFF"),
    "gray_alpha.png": coded(alpha(524, "LA"), "PNG"),
    "bilevel.png": coded(picture(525, mode="1"), "PNG"),
    "nearly_gray.png": coded(
        Image.merge("RGB", [picture(526, mode="L").point(lambda v, k=k: v + k) for k in (0, 1, 2)]), "PNG"
    ),
}
CONVERTED = {  # name: (content, the note that it gets)
    "exif_90.jpg": (with_exif(540, 6), "EXIF"),
    "exif_mirror.jpg": (with_exif(541, 2), "EXIF"),
    "palette.png": (coded(picture(542).quantize(32), "PNG"), "palette"),
    "palette.gif": (coded(picture(543).quantize(64), "GIF"), "palette"),
    "rgba.png": (coded(alpha(544, "RGBA"), "PNG"), "alpha"),
    "transparent.gif": (coded(picture(545).quantize(16), "GIF", transparency=3), "alpha"),
    "animated.gif": (coded(picture(546), "GIF", save_all=True, append_images=[picture(547)]), "first frame"),
    "animated.webp": (
        coded(picture(548), "WEBP", save_all=True, append_images=[picture(549)]),
        "first frame",
    ),
    "pages.tif": (coded(picture(550), "TIFF", save_all=True, append_images=[picture(551)]), "first frame"),
    "profile.jpg": (profile(552), ""),
    "ycbcr.tif": (coded(picture(553, mode="YCbCr"), "TIFF"), "YCbCr"),
}
PLAIN = {  # unusual, but nothing had to be done
    "deep.png": deep_png(560),
    "progressive.jpg": coded(picture(561), progressive=True),
    "quality_100.jpg": coded(picture(562), quality=100, subsampling=0),
    "wrong_extension.png": coded(picture(563)),
    "no_extension": coded(picture(564)),
    "trailing_bytes.jpg": coded(picture(565)) + b"\0" * 100,
    "photo.webp": coded(picture(566), "WEBP"),
    "photo.bmp": coded(picture(567), "BMP"),
    "photo.tif": coded(picture(568), "TIFF"),
    "photo.ppm": coded(picture(569), "PPM"),
    "small.jpg": coded(picture(570, (20, 20))),
    "UPPER.JPG": coded(picture(571)),
}
