"""JPEG files, strictly: pixels only where the decoder gives no warning.

libjpeg paints over damage (gray, or the last colours again) and goes on with a warning, which Pillow drops; simplejpeg,
the same library, raises it. At 1/2, 1/4 or 1/8 of the size every coefficient is still read, so large files are checked
as strictly, for the time that decoding them takes anyway.
"""

import re
import typing

import numpy as np
import simplejpeg

from koala.data.reasons import Refused

MARKER = re.compile(
    rb"\xff+([^\x00\xff\xd0-\xd7])"
)  # in coded data, too: neither a stuffed byte nor a restart
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
SCAN, END = 0xDA, 0xD9
WITHOUT_LENGTH = {0x01, 0xD8, END}
NOT_PLAIN = {0xE1, 0xE2, 0xEE}  # EXIF and XMP, colour profiles, Adobe's mark


class Frame(typing.NamedTuple):
    """What stands before the first scan. plain: 8 bits, gray or YCbCr, and nothing that changes colours or turns it."""

    width: int
    height: int
    plain: bool


def segments(data: bytes):
    """Yield (marker, first byte, end) of the content of each segment, up to the end of the image."""
    at = 2
    while match := MARKER.search(data, at):
        marker, at = match.group(1)[0], match.end()
        if marker == END:
            return
        if marker not in WITHOUT_LENGTH:
            end = at + int.from_bytes(data[at : at + 2], "big")
            yield marker, at + 2, end
            at = max(end, at + 2)


def frame(data: bytes) -> Frame | None:
    """The frame of a JPEG file; None where there is none."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    header, special = None, False
    for marker, at, end in segments(data):
        if marker == SCAN:
            break
        special |= marker in NOT_PLAIN
        if marker in FRAMES and len(data) > end and end - at >= 6:
            header = (marker, data[at:end])
    if not header:
        return None
    marker, content = header
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    usual = marker <= 0xC2 and content[0] == 8 and content[5] in (1, 3) and width and height
    return Frame(width, height, bool(usual and not special))


def check_scans(data: bytes) -> None:
    """Raises Refused where a scan is missing: libjpeg takes a file that lost its last ones for a complete one."""
    left = {}  # per component: of each of its 64 coefficients, the bits that are still to come
    for marker, at, end in segments(data):
        if marker in FRAMES:
            left |= {component: bytearray(b"\xff" * 64) for component in data[at:end][6::3]}
        if marker == SCAN and len(data) > at:
            end = at + 1 + 2 * data[at]
            first, last, bits = data[end : end + 3].ljust(3, b"\xff")
            for component in data[at + 1 : end : 2]:
                if component in left and first <= last < 64:
                    left[component][first : last + 1] = bytes([bits & 15]) * (last + 1 - first)
            if not any(map(any, left.values())):
                return
    raise Refused("damaged", "scans are missing")


def scale(width: int, height: int, shortest: int | None) -> int:
    """1, 2, 4 or 8: the part of its size to decode at, so that the shorter side keeps at least `shortest` pixels."""
    if shortest is None:
        return 1
    times = shortest / min(width, height)
    part = min(width // max(1, round(width * times)), height // max(1, round(height * times)))
    return next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(part, 1))


def decode(data: bytes, part: int, size: tuple[int, int], colours: str = "RGB") -> np.ndarray:
    """(H, W, 3) uint8 of a JPEG file of `size` (width, height) at 1/part of it (CMYK: 4 channels). Raises Refused."""
    width, height = (-(-side // part) for side in size)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, colours, fastdct=False, fastupsample=False, min_height=height, min_width=width
        )
    except ValueError as error:
        text = str(error)
        cut = "premature end of jpeg" in text.lower() or b"\xff\xd9" not in data
        raise Refused("truncated" if cut else "damaged", text) from error
    check_scans(data)
    return pixels
