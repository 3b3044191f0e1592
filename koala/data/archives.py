"""Archives as lists of files that are read in place: nothing is unpacked, and an archive that was cut short is refused.

A tar is read to its end marker, a compressed one to its checksum, and a zip's directory has to hold as many members as
it says; a member's own bytes are checked when they are read (the zip's CRC-32, the photograph's decoder).
"""

import bz2
import functools
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from koala.data.folders import is_debris
from koala.data.reasons import Reason, printable
from koala.data.records import Entry, Member
from koala.system.errors import KoalaError

BIGGEST = 512 * 2**20  # bytes; no photograph is larger, but a bomb may be
BLOCK = 512  # bytes of a tar's header, and of what its files are padded to
END_OF_ZIP = b"PK\x05\x06"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def list_archive(place: Path) -> list[Entry]:
    """An Entry for every file in the archive. KoalaError where it cannot be listed to its end."""
    entries = []
    try:
        for entry in (_list_zip if _is_zip(place) else _list_tar)(place):
            entries.append(entry)  # one by one: an error says how many were listed before it
    except Exception as error:  # hostile bytes make the readers raise errors of many kinds
        raise KoalaError(
            f"'{place}' is no archive that can be read to its end ({printable(str(error))}; {len(entries):,} files "
            "were listed before that): fetch or pack it again."
        ) from error
    last = {entry.path: i for i, entry in enumerate(entries)}
    return [
        entry if last[entry.path] == i else entry.but(problem=entry.problem or Reason("replaced"))
        for i, entry in enumerate(entries)
    ]  # as if the archive had been unpacked into a folder


def _is_zip(place: Path) -> bool:
    """By its content; a tar whose last file is a zip ends like one."""
    with open(place, "rb") as file:
        return zipfile.is_zipfile(file) and file.seek(257) and file.read(5) != b"ustar"


def _list_zip(place: Path):
    with zipfile.ZipFile(place) as archive:
        members = sorted(archive.infolist(), key=lambda info: info.filename)
        _check_count(place, len(members))
        # Old Windows tools write folders with backslashes; beside a '/' a backslash is part of a name.
        old = not any("/" in info.filename for info in members)
        for info in members:
            name = info.filename.replace("\\", "/") if old else info.filename
            if (info.file_size or not name.endswith("/")) and not is_debris(name):
                problem = _zip_problem(info, name) or _name_problem(name)
                raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
                member = Member(
                    info.header_offset, info.compress_size, info.compress_type, info.CRC, zlib.crc32(raw)
                )
                yield Entry(
                    printable(name), str(place), "zip", info.file_size, problem=problem, member=member
                )


def _check_count(place: Path, count: int) -> None:
    """The directory's end states how many members there are (in 16 bits; all ones: a zip64 record does)."""
    with open(place, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16 - 22))
        tail = file.read()
    for stated in struct.unpack_from("<HH", tail, tail.rindex(END_OF_ZIP) + 8):  # of this volume, and of all
        if stated not in (0xFFFF, count & 0xFFFF):
            raise zipfile.BadZipFile(f"its directory lists {count:,} members and says {stated:,}")
    if not count and tail.rindex(END_OF_ZIP):
        raise zipfile.BadZipFile("its directory is empty, and something stands before it")


def _zip_problem(info, name: str) -> Reason | None:
    if name.endswith("/"):
        return Reason("irregular-member")  # a folder has no bytes
    if info.flag_bits & 1:
        return Reason("encrypted")
    if info.compress_type not in METHODS:
        return Reason("compression", str(info.compress_type))
    return Reason("link-member") if stat.S_ISLNK(info.external_attr >> 16) else None


def _name_problem(name: str) -> Reason | None:
    if name.startswith(("/", "\\")) or name[1:3] in (":/", ":\\"):
        return Reason("absolute")
    return Reason("climbing") if ".." in name.replace("\\", "/").split("/") else None


def _list_tar(place: Path):
    with tarfile.open(place) as archive:
        for info in archive:
            archive.members = []  # tarfile keeps every header otherwise
            if info.size < 0:
                raise tarfile.ReadError(f"'{info.name}' has a negative size")
            if not info.isdir() and not is_debris(info.name):
                regular = info.isreg() and not info.issparse()
                problem = _name_problem(info.name) or (None if regular else Reason("irregular-member"))
                member = Member(info.offset_data)
                yield Entry(
                    printable(info.name), str(place), "tar", info.size, problem=problem, member=member
                )
        _check_end(archive)


def _check_end(archive: tarfile.TarFile) -> None:
    """tarfile itself takes a damaged header for the end, and reads neither what follows the end nor a checksum."""
    archive.fileobj.seek(archive.offset)
    block = archive.fileobj.read(BLOCK)
    if len(block) < BLOCK or any(block):
        raise tarfile.ReadError("a damaged header, or no end marker")
    while block := archive.fileobj.read(2**20):
        if block.count(0) != len(block):
            raise tarfile.ReadError("more data after its end marker")


def _stream(place: str):
    """An archive opened as one stream of bytes, kept open while it is the same file and this is the same process: a forked
    one must not share its parent's file position."""
    status = os.stat(place)
    return _open(place, os.getpid(), status.st_ino, status.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _open(place: str, process: int, inode: int, changed: int):
    """Seeking in a compressed tar reads on (or starts again)."""
    with open(place, "rb") as file:
        magic = file.read(6)
    openers = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
    return openers.get(magic[:2], open)(place, "rb")


def read(entry: Entry) -> bytes:
    """The bytes of one file. Raises Unreadable with the reason."""
    try:
        if entry.size > BIGGEST:
            raise Unreadable(f"larger than {BIGGEST // 2**20} MiB")
        if entry.kind == "file":
            return Path(entry.place).read_bytes()
        file = _stream(entry.place)
        if entry.kind == "zip":
            return _read_zip(file, entry)
        file.seek(entry.member.offset)
        return file.read(entry.size)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError) as error:
        raise Unreadable(str(getattr(error, "strerror", None) or error)) from error


class Unreadable(OSError):
    """A listed file whose bytes cannot be read."""


def _read_zip(file, entry: Entry) -> bytes:
    """One zip member by its offset: zipfile itself would hold the whole directory in every process."""
    member = entry.member
    file.seek(member.offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise Unreadable("the zip's local header is damaged")
    name, extra = struct.unpack("<HH", header[26:30])
    if zlib.crc32(file.read(name)) != member.name_crc:
        raise Unreadable("the zip's two headers of the member name different files")
    if member.stored > 2 * BIGGEST:
        raise Unreadable(f"larger than {2 * BIGGEST // 2**20} MiB in the zip")
    file.seek(extra, os.SEEK_CUR)
    data = file.read(member.stored)
    if member.method == zipfile.ZIP_DEFLATED:  # no more than the size that is declared: no bomb
        data = zlib.decompressobj(-15).decompress(data, entry.size + 1)
    if len(data) != entry.size or zlib.crc32(data) != member.crc:
        raise Unreadable("the zip member is damaged")
    return data
