"""Folders and archives as lists of files that are read in place: nothing is unpacked, nothing is followed outside.

A Mac's own files beside a user's (__MACOSX/, ._NAME) are left out. An entry is a dict: path (for people, inside the
source), place (file on disk), kind (file, zip, tar, or planes: see koala.data.stl10), size (bytes), where (numbers that
`read` needs) and problem (why it is refused unread, or "").
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

from koala.system.errors import KoalaError

BIGGEST = 512 * 2**20  # bytes; no photograph is larger, but a bomb may be


def walk(folder: Path):
    """Yield (name relative to the folder, path) of every file and link below it, sorted, links not followed."""
    stack = [(folder, "")]
    while stack:
        here, prefix = stack.pop()
        try:
            found = sorted(os.scandir(here), key=lambda e: os.fsencode(e.name), reverse=True)
        except OSError:
            yield prefix.rstrip("/"), here  # an unreadable folder is reported as one bad file
            continue
        for item in (f for f in reversed(found) if not f.is_dir(follow_symlinks=False)):
            yield prefix + item.name, Path(item.path)
        stack += [(Path(f.path), f"{prefix}{f.name}/") for f in found if f.is_dir(follow_symlinks=False)]


def is_debris(name: str) -> bool:
    """Whether a file is what a Mac puts beside each of one's own, under its name: no photograph, whatever the suffix."""
    return "/__MACOSX/" in f"/{name}" or name.rpartition("/")[2].startswith("._")


def list_folder(folder: Path):
    for name, path in walk(folder):
        if is_debris(name):
            continue
        status = os.lstat(path)
        yield {
            "path": _printable(name),
            "place": str(path),
            "kind": "file",
            "size": status.st_size,
            "where": [],
            "problem": _file_problem(folder, path, status),
        }


def _printable(name: str) -> str:
    """A name with bytes that are no UTF-8 can be opened but not written into a table: show them escaped."""
    return name if name.isascii() else name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _file_problem(folder: Path, path: Path, status) -> str:
    if stat.S_ISLNK(status.st_mode):
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(folder):
            return "symbolic link out of the folder"
        return "" if target.is_file() else "symbolic link to a folder, or to nothing"
    if stat.S_ISDIR(status.st_mode):
        return "unreadable folder"
    return "" if stat.S_ISREG(status.st_mode) else "not a regular file"


def _name_problem(name: str) -> str:
    if ".." not in name and name[:1] not in ("/", "\\") and name[1:2] != ":":
        return ""
    if name.startswith(("/", "\\")) or name[1:3] in (":/", ":\\"):
        return "absolute path in the archive"
    return "path that climbs out of the archive" if ".." in name.replace("\\", "/").split("/") else ""


def list_archive(place: Path):
    try:
        yield from (_list_zip if zipfile.is_zipfile(place) else _list_tar)(place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise KoalaError(
            f"'{place}' is no archive that can be read ({error}): fetch or pack it again."
        ) from error


def _list_zip(place: Path):
    with zipfile.ZipFile(place) as archive:
        members = sorted(archive.infolist(), key=lambda i: i.filename)
        # Old Windows tools write folders with backslashes; beside a '/' a backslash is part of a name.
        old = not any("/" in info.filename for info in members)
        for info in members:
            name = info.filename.replace("\\", "/") if old else info.filename
            if name.endswith("/") or is_debris(name):
                continue
            problem = _name_problem(name)
            if info.flag_bits & 1:
                problem = "encrypted in the zip"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                problem = f"zip compression {info.compress_type} is not read"
            elif stat.S_ISLNK(info.external_attr >> 16):
                problem = "symbolic link in the archive"
            yield {
                "path": _printable(name),
                "place": str(place),
                "kind": "zip",
                "size": info.file_size,
                "where": [info.header_offset, info.compress_size, info.compress_type, info.CRC],
                "problem": problem,
            }


def _list_tar(place: Path):
    with tarfile.open(place) as archive:
        for info in archive:
            archive.members = []  # tarfile keeps every header otherwise
            if info.isdir() or is_debris(info.name):
                continue
            problem = _name_problem(info.name) or (
                "" if info.isreg() else "not a regular file in the archive"
            )
            yield {
                "path": _printable(info.name),
                "place": str(place),
                "kind": "tar",
                "size": info.size,
                "where": [info.offset_data],
                "problem": problem,
            }


@functools.lru_cache(maxsize=4)
def _open(place: str, process: int):
    """An archive opened as one stream of bytes. Seeking in a compressed tar reads on (or starts again)."""
    with open(place, "rb") as file:
        magic = file.read(6)
    openers = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
    return openers.get(magic[:2], open)(place, "rb")


def read(entry: dict) -> bytes:
    """The bytes of one file. Raises OSError, EOFError or zlib.error where they cannot be had."""
    if entry["size"] > BIGGEST:
        raise OSError(f"larger than {BIGGEST // 2**20} MiB")
    if entry["kind"] == "file":
        return Path(entry["place"]).read_bytes()
    file = _open(entry["place"], os.getpid())  # a forked process must not share its parent's file position
    if entry["kind"] in ("tar", "planes"):
        file.seek(entry["where"][0])
        return file.read(entry["size"])
    return _read_zip(file, entry)


def _read_zip(file, entry: dict) -> bytes:
    """One zip member by its offset: zipfile itself would hold the whole directory in every process."""
    offset, stored, method, crc = entry["where"]
    file.seek(offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise OSError("the zip's local header is damaged")
    name, extra = struct.unpack("<HH", header[26:30])
    file.seek(name + extra, os.SEEK_CUR)
    data = file.read(stored)
    if method == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-15).decompress(
            data, entry["size"] + 1
        )  # no more than was declared: no bomb
    if len(data) != entry["size"] or zlib.crc32(data) != crc:
        raise OSError("the zip member is damaged")
    return data
