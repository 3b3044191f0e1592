"""Why a file is not used, or what was done to it: a code with a detail. The sentences are made here and nowhere else."""

import dataclasses
import re

from koala.system.errors import KoalaError

# What Pillow decodes inside this process. Everything else is refused unopened: EPS, for one, Pillow hands to
# Ghostscript, and a file that calls itself .jpg would then run as a program.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "ICO")  # JPEG: MPO, too
# code: (its name in tables, without details; its sentence in files.csv, with the detail for {}), or one text for both
CODES = {
    # the file or the archive's member
    "unreadable": ("unreadable", "unreadable ({})"),
    "unreadable-folder": ("unreadable folder",),
    "irregular": ("not a regular file",),
    "irregular-member": ("not a regular file in the archive",),
    "link": ("symbolic link to a folder, or to nothing",),
    "link-out": ("symbolic link out of the folder",),
    "link-member": ("symbolic link in the archive",),
    "absolute": ("absolute path in the archive",),
    "climbing": ("path that climbs out of the archive",),
    "encrypted": ("encrypted in the zip",),
    "compression": ("zip compression that is not read", "zip compression {} is not read"),
    "replaced": (
        "replaced by a later member of the same name",
        "replaced by a later member of the same name in the archive",
    ),
    # list files
    "not-listed": ("in none of the list files",),
    "not-there": ("named in a list file but not there", "named in {} but not there"),
    "not-training": ("outside tiny-imagenet's training part",),
    # the content
    "empty": ("zero bytes",),
    "no-image": ("not an image that can be read",),
    "format": (
        "of a format that is not read",
        f"{{}} files are not read (formats that are: {', '.join(FORMATS)})",
    ),
    "truncated": ("truncated", "truncated ({})"),
    "damaged": ("damaged", "damaged ({})"),
    "cmyk": ("CMYK", "CMYK: its colours depend on a printer"),
    "small": ("too small", "{} pixels: too small"),
    "narrow": ("extreme aspect", "{} pixels: extreme aspect"),
    "large": ("too large (a decompression bomb?)", "{} pixels: too large (a decompression bomb?)"),
    # other files
    "same-bytes": ("same bytes as another", "same bytes as {}"),
    "near-copy": ("near copy of another", "near copy of {}"),
    "case": ("category that differs from another by case only", "category differs from '{}' by case only"),
    # what was done to a photograph that is used
    "upright": ("turned upright by EXIF",),
    "first-frame": ("first frame of several",),
    "deep-gray": ("16-bit or float gray scaled to 8 bits",),
    "alpha": ("alpha channel laid on white", "alpha channel ({}) laid on white"),
    "mode": ("converted to RGB", "{} converted to RGB"),
    "profile": ("colour profile converted to sRGB", "colour profile {} converted to sRGB"),
    "bad-profile": (
        "colour profile that cannot be read",
        "colour profile that cannot be read: taken as sRGB",
    ),
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclasses.dataclass(frozen=True)
class Reason:
    """One remark on a file: a key of CODES, and the detail that its sentence names."""

    code: str
    detail: str = ""

    def __str__(self):
        return printable(CODES[self.code][-1].format(self.detail))


class Refused(KoalaError):
    """A file that is not used; `reason` says why."""

    def __init__(self, code: str, detail: str = ""):
        self.reason = Reason(code, detail)
        super().__init__(str(self.reason))


def printable(text: str) -> str:
    """Text that can stand in a table: bytes that are no UTF-8 and control characters are shown escaped (\\xe9, \\r)."""
    if text.isascii() and text.isprintable():
        return text
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def label(codes: str) -> str:
    """The names in tables, without details, of the codes of a line of files.csv (separated by spaces)."""
    return "; ".join(CODES[code][0] for code in codes.split())
