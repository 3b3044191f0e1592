"""PNG files, strictly: Pillow skips the checksum of the pixels, and paints missing rows black."""

import struct
import zlib

from koala.data.reasons import Refused

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
PASSES = {0: ((0, 1, 0, 1),), 1: ADAM7}  # first row, step, first column, step; by kind of interlacing
BLOCK = 2**20  # bytes inflated at once


def check(data: bytes) -> None:
    """Raises Refused where a chunk's checksum is wrong, or the end or pixels are missing."""
    chunks = list(_chunks(data))
    header = next((content for kind, content in chunks if kind == b"IHDR"), b"")
    if len(header) != 13:
        raise Refused("damaged", "no header")
    stream = zlib.decompressobj()
    length = wanted = _raw_length(*struct.unpack(">IIBBBBB", header))
    for kind, content in chunks:
        while kind == b"IDAT" and content and not stream.eof:
            length -= len(stream.decompress(content, BLOCK))
            content = stream.unconsumed_tail
            if length < -wanted - BLOCK:
                raise Refused("damaged", "far more pixels than the header says")
    if length > 0:
        raise Refused("truncated", "pixels are missing")


def _chunks(data: bytes):
    """(kind, content) of each chunk up to the end, checked by its CRC-32."""
    at = len(SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at) if len(data) >= at + 12 else (0, b"")
        content = memoryview(data)[at + 8 : at + 8 + length]
        stored = data[at + 8 + length : at + 12 + length]
        if len(stored) < 4:
            raise Refused("truncated", "no end")
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(stored, "big"):
            raise Refused("damaged", "a checksum is wrong")
        yield kind, content
        if kind == b"IEND":
            return
        at += 12 + length


def _raw_length(width, height, depth, colour, _compression, _filter, interlace) -> int:
    """Bytes of all rows before compression, each with its filter's byte."""
    bits, total = depth * CHANNELS.get(colour, 1), 0
    for top, down, left, right in PASSES.get(interlace, PASSES[0]):
        rows, columns = -(-(height - top) // down), -(-(width - left) // right)
        total += rows * (1 + (columns * bits + 7) // 8) if rows > 0 and columns > 0 else 0
    return total
