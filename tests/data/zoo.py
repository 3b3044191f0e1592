"""The zoo: odd files of every kind, made by code, each with its fate in preparation. {name: Case}.

koala/data/reasons.py lists the codes. Every case of kinds_of_files.py is in it, too.
"""

import struct
import typing
import zlib

import kinds_of_files as kinds
import numpy as np
from kinds_of_files import coded, picture
from PIL import Image, ImageCms, PngImagePlugin

JPEG = {
    "baseline": coded(picture(700), quality=85),
    "subsampled": coded(picture(701), quality=85, subsampling=2),
    "progressive": coded(picture(702), quality=85, progressive=True),
    "restarts": coded(picture(703, (160, 120)), quality=85, restart_marker_rows=1),
    "large": coded(picture(704, (320, 240)), quality=85),  # decoded at a part of its size
}
SOS, END = b"\xff\xda", b"\xff\xd9"


class Case(typing.NamedTuple):
    """content; status: used, gray or refused; code: that its reasons hold, "" for none at all, None for any."""

    content: bytes
    status: str
    code: str | None


def refused(content: bytes, code=None) -> Case:
    return Case(content, "refused", code)


def used(content: bytes, code="") -> Case:
    return Case(content, "used", code)


def coded_data(jpeg: bytes) -> tuple[int, int]:
    """Where the first scan's coded data begins, and the file's end mark."""
    at = jpeg.index(SOS)
    return at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big"), len(jpeg) - 2


def damaged_jpegs(jpeg: bytes) -> dict[str, bytes]:
    """The kinds of damage that libjpeg paints over, each with the file closed as if it were whole."""
    start, end = coded_data(jpeg)
    middle, length = (start + end) // 2, end - start
    noise = bytes(np.random.default_rng(1).integers(0, 255, 60, dtype=np.uint8))  # no 0xff: not a marker
    height = jpeg.index(b"\xff\xc2" if b"\xff\xc2" in jpeg else b"\xff\xc0") + 5
    rows = int.from_bytes(jpeg[height : height + 2], "big") * 2
    return {
        "cut": jpeg[:middle],
        "cut and closed": jpeg[:middle] + END,
        "cut at a quarter and closed": jpeg[: start + length // 4] + END,
        "zeros inside": jpeg[:middle] + bytes(200) + jpeg[middle + 200 :],
        "garbage inside": jpeg[:middle] + noise * 3 + jpeg[middle + 180 :],
        "a marker inside": jpeg[:middle] + b"\xff\xd9" + jpeg[middle:],
        "a foreign marker inside": jpeg[:middle] + b"\xff\xe3\x00\x20" + jpeg[middle:],
        "a hole": jpeg[:middle] + jpeg[middle + length // 4 :],
        "more rows than there are": jpeg[:height] + rows.to_bytes(2, "big") + jpeg[height + 2 :],
        "no scan": jpeg[: jpeg.index(SOS)] + END,
        "no quantization": jpeg.replace(b"\xff\xdb", b"\xff\xeb"),
    }


def all_damaged_jpegs() -> dict[str, Case]:
    out = {f"{kind}, {damage}.jpg": refused(content) for kind, jpeg in JPEG.items()
           for damage, content in damaged_jpegs(jpeg).items()}  # fmt: skip
    restarts, progressive = JPEG["restarts"], JPEG["progressive"]
    first = restarts.index(b"\xff\xd0", coded_data(restarts)[0])
    second = restarts.index(b"\xff\xd1", first)
    out["a lost restart marker.jpg"] = refused(restarts[:first] + restarts[first + 2 :], "damaged")
    out["a lost stretch between restarts.jpg"] = refused(restarts[:first] + restarts[second:], "damaged")
    scans = [i for i in range(len(progressive)) if progressive[i : i + 2] == SOS]
    for count in (1, 3, len(scans) - 1):
        out[f"the first {count} progressive scans.jpg"] = refused(
            progressive[: scans[count]] + END, "damaged"
        )
    return out


def segment(jpeg: bytes, marker: int, content: bytes, before: bytes = b"\xff\xc0") -> bytes:
    """A JPEG with one more segment before the first `before`; SOS: after the frame's header."""
    at = jpeg.index(before)
    return jpeg[:at] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[at:]


def exif(orientation: int) -> bytes:
    out = Image.Exif()
    out[0x0112] = orientation
    return out.tobytes()


def jpeg_headers() -> dict[str, Case]:
    plain = JPEG["baseline"]
    out = {f"exif {turn}.jpg": used(segment(plain, 0xE1, exif(turn)), "upright" if turn in range(2, 9) else "")
           for turn in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)}  # fmt: skip
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><a tiff:Orientation="6"/></x:xmpmeta>'
    adobe = b"Adobe\0\x64\0\0\0\0"
    frame = plain.index(b"\xff\xc0")
    as_marker = [plain[:frame] + bytes([0xFF, marker]) + plain[frame + 2 :] for marker in (0xC9, 0xC3, 0xC5)]
    ycck = bytearray(kinds.REFUSED["cmyk.jpg"][0])
    ycck[ycck.index(b"Adobe") + 11] = 2
    return out | {
        "exif after the frame's header.jpg": used(segment(plain, 0xE1, exif(6), SOS), "upright"),
        "xmp orientation.jpg": used(segment(plain, 0xE1, xmp), "upright"),
        "damaged exif.jpg": used(segment(plain, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"), None),
        "adobe ycc.jpg": used(segment(plain, 0xEE, adobe + b"\1")),
        "adobe rgb.jpg": used(coded(picture(710), keep_rgb=True)),
        "comment.jpg": used(coded(picture(711), comment=b"\r\n\0<b>no</b>" * 50)),
        "fill bytes.jpg": used(plain[:frame] + b"\xff\xff" + plain[frame:]),
        "garbage between segments.jpg": refused(plain[:frame] + b"xyz" + plain[frame:], "damaged"),
        "arithmetic.jpg": refused(as_marker[0]),
        "lossless.jpg": refused(as_marker[1]),
        "hierarchical.jpg": refused(as_marker[2]),
        "12 bits.jpg": refused(plain[: frame + 4] + b"\x0c" + plain[frame + 5 :]),
        "no height.jpg": refused(plain[: frame + 5] + b"\0\0" + plain[frame + 7 :]),
        "ycck.jpg": refused(bytes(ycck), "cmyk"),
        "two pictures.mpo": used(coded(picture(712), "MPO", save_all=True, append_images=[picture(713)]),
                                 "first-frame"),
        "two files in one.jpg": used(plain + JPEG["subsampled"]),
        "restarts.jpg": used(JPEG["restarts"]),
        "large.jpg": used(JPEG["large"]),
        "large and turned.jpg": used(segment(JPEG["large"], 0xE1, exif(8)), "upright"),
    }  # fmt: skip


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def interlaced() -> bytes:
    """A PNG in Adam7's seven passes, which Pillow reads and does not write."""
    pixels = np.asarray(picture(720))
    passes = (
        (0, 8, 0, 8),
        (0, 8, 4, 8),
        (4, 8, 0, 4),
        (0, 4, 2, 4),
        (2, 4, 0, 2),
        (0, 2, 1, 2),
        (1, 2, 0, 1),
    )
    parts = (pixels[top::down, left::right] for top, down, left, right in passes)
    raw = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def pngs() -> dict[str, Case]:
    plain = coded(picture(721), "PNG")
    data, end = plain.index(b"IDAT"), plain.index(b"IEND") - 4
    flipped = bytearray(plain)
    flipped[(data + end) // 2] ^= 8
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "many words " * 20, zip=True)
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(80 * 2**20)))
    transparent = picture(722).quantize(16)
    return {
        "interlaced.png": used(interlaced()),
        "a flipped bit.png": refused(bytes(flipped), "damaged"),
        "a wrong checksum.png": refused(plain[: end - 4] + b"\0\0\0\0" + plain[end:], "damaged"),
        "no end.png": refused(plain[:end]),
        "half.png": refused(plain[: (data + end) // 2]),
        "rows missing.png": refused(kinds.png(60, 48, rows=bytes(181 * 20)), "truncated"),
        "more rows than said.png": used(kinds.png(60, 48, rows=bytes([0, *[9, 99, 0] * 60] * 90))),
        "compressed text.png": used(coded(picture(723), "PNG", pnginfo=text)),
        "text that is a bomb.png": refused(plain[:33] + bomb + plain[33:]),
        "transparent palette.png": used(coded(transparent, "PNG", transparency=3), "alpha"),
        "animated.png": used(coded(picture(724), "PNG", save_all=True, append_images=[picture(725)]), "first-frame"),
        "trailing bytes.png": used(plain + b"\0" * 99),
        "exif 6.png": used(coded(picture(726), "PNG", exif=exif(6)), "upright"),
        "bytes of a profile.png": used(coded(picture(727), "PNG", icc_profile=b"no profile"), "bad-profile"),
        "srgb.png": used(coded(picture(728), "PNG",
                               icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
    }  # fmt: skip


def tiffs() -> dict[str, Case]:
    image = picture(730)
    lab = ImageCms.applyTransform(image, ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"))  # fmt: skip
    packed = {name: used(coded(image, "TIFF", compression=name))
              for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")}  # fmt: skip
    plain, deflated = coded(image, "TIFF"), packed["tiff_adobe_deflate"].content
    return {f"{name}.tif": case for name, case in packed.items()} | {
        "lab.tif": used(coded(lab, "TIFF"), "mode"),
        "rgba.tif": used(coded(kinds.alpha(731, "RGBA"), "TIFF"), "alpha"),
        "big endian.tif": used(coded(image, "TIFF", big_tiff=True)),
        "exif 3.tif": used(coded(image, "TIFF", exif=exif(3)), None),
        "half.tif": refused(plain[:3000]),
        "damaged deflate.tif": refused(deflated[:400] + bytes(200) + deflated[600:]),
        "no directory.tif": refused(plain[:4] + b"\xff\xff\xff\x7f" + plain[8:]),
    }


def others() -> dict[str, Case]:
    image, jp2, avif = picture(740), coded(picture(741), "JPEG2000"), coded(picture(742), "AVIF")
    webp, lossless = coded(picture(743), "WEBP"), coded(picture(744), "WEBP", lossless=True)
    gif, rows = coded(image.quantize(64), "GIF", interlace=True), np.asarray(image)
    plain_text = b"P3\n60 48\n255\n" + b" ".join(str(value).encode() for value in rows.ravel().tolist())
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
    return {
        "photo.jp2": used(jp2),
        "half.jp2": refused(jp2[: len(jp2) // 2]),
        "photo.avif": used(avif),
        "half.avif": refused(avif[: len(avif) // 2]),
        "photo.heic": refused(heic),
        "lossless.webp": used(lossless),
        "alpha.webp": used(coded(kinds.alpha(745, "RGBA"), "WEBP"), "alpha"),
        "half.webp": refused(webp[: len(webp) // 2]),
        "half lossless.webp": refused(lossless[: len(lossless) // 2]),
        "interlaced.gif": used(gif, "mode"),
        "half.gif": refused(gif[: len(gif) // 2]),
        "text.ppm": used(plain_text),
        "gray.pgm": Case(coded(image.convert("L"), "PPM"), "gray", ""),
        "float.pfm": Case(coded(Image.fromarray(np.asarray(image.convert("L"), np.float32) / 255), "PPM"),
                          "gray", "deep-gray"),
        "half.ppm": refused(coded(image, "PPM")[:3000]),
        "endless comment.ppm": refused(b"P6\n#" + b"x" * 100_000),
        "palette.bmp": used(coded(image.quantize(32), "BMP"), "mode"),
        "half.bmp": refused(coded(image, "BMP")[:3000]),
        "huge.bmp": refused(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
                            "large"),
        "icon.ico": used(coded(picture(746, (48, 48)), "ICO", sizes=[(48, 48)]), None),
        "photo.qoi": refused(b"qoif" + struct.pack(">II", 60, 48) + b"\3\0" + bytes(200), "format"),
        "photo.psd": refused(b"8BPS\0\1" + bytes(60), "format"),
        "film.mpg": refused(b"\0\0\1\xba" + bytes(500)),
        "field.hdf5": refused(b"\x89HDF\r\n\x1a\n" + bytes(500), "format"),
        "stars.fits": refused(b"SIMPLE  =" + b" " * 500),
        "page.pdf": refused(b"%PDF-1.4\n" + bytes(500), "no-image"),
        "archive.zip": refused(b"PK\3\4" + bytes(500), "no-image"),
        "object.pkl": refused(b"\x80\4\x95" + bytes(50), "no-image"),
        "object.npy": refused(b"\x93NUMPY\1\0" + bytes(100), "no-image"),
        "zeros.jpg": refused(bytes(5000), "no-image"),
        "one byte.jpg": refused(b"\xff"),
        "start and end.jpg": refused(b"\xff\xd8\xff\xd9"),
        "link.lnk": refused(b"L\0\0\0\1\x14\2\0" + bytes(100), "no-image"),
    }  # fmt: skip


NAMES = [b"Icon\r", b"new\nline.jpg", b"tab\t.jpg", b"bell\x07.jpg", b"caf\xe9.jpg", "日本.jpg".encode(), b"a,b.jpg",
         b"'quoted\".jpg", b"-rf.jpg", b" .jpg", b"$(reboot).jpg", b"\xe2\x80\xae3pj.jpg", b"nan", b"=1+1", b"%s%n",
         b"x" * 250, "n\u0303.jpg".encode(), b"\xc2\x85.jpg", "\u2028.jpg".encode()]  # fmt: skip


def files() -> dict[str, Case]:
    """Every odd file that has an ordinary name."""
    base = {name: refused(content) for name, (content, _) in kinds.REFUSED.items()}
    base |= {name: Case(content, "gray", None) for name, content in kinds.GRAY.items()}
    base |= {name: used(content, None) for name, (content, _) in kinds.CONVERTED.items()}
    base |= {name: used(content) for name, content in kinds.PLAIN.items()}
    return base | all_damaged_jpegs() | jpeg_headers() | pngs() | tiffs() | others()
