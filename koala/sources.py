"""Where photographs come from: folders and archives, listed in a fixed order and read in place.

A *source* is a folder, an archive (zip, tar, tar.gz), `photos` (photographs inside installed packages), or several
of them separated by commas, with globs. Listing gives one entry a file found, good or bad, as a plain dict:
path (unique, for people), category, group, place (file on disk), kind (file, zip or tar), size (bytes),
where (numbers that `read` needs) and problem (why it is refused unread, or "").
"""

import bz2
import functools
import glob
import gzip
import hashlib
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from koala.embedded import list_photos
from koala.errors import KoalaError
from koala.paths import ROOT, resolve

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BIGGEST = 512 * 2**20  # bytes; no photograph is larger, but a bomb may be


def expand(source: str) -> list:
    """The folders and archives that `source` names ('photos' stays as it is), sorted by path. KoalaError if none."""
    found = []
    for part in filter(None, (part.strip() for part in str(source).split(","))):
        if part == "photos":
            found.append("photos")
        elif glob.has_magic(part) and not Path(part).exists():
            hits = sorted(glob.glob(os.path.expanduser(part))) or sorted(glob.glob(str(ROOT / part)))
            if not hits:
                raise KoalaError(f"no file or folder matches '{part}' (looked in {Path.cwd()} and {ROOT}).")
            found += [Path(hit).resolve() for hit in hits]
        else:
            found.append(resolve(part))
    if not found:
        raise KoalaError("the source is empty: name a folder, an archive or 'photos'.")
    for place in found:
        if place != "photos" and not place.is_dir() and not str(place).lower().endswith(ARCHIVES):
            raise KoalaError(f"'{place}' is neither a folder nor an archive ({', '.join(ARCHIVES)}).")
    return sorted(set(found), key=str)  # the order in which sources are named changes nothing


def signature(source: str) -> str:
    """Hash of what can be seen without reading: names, sizes and times. Equal means that nothing was changed."""
    digest = hashlib.sha256()
    for place in expand(source):
        if place == "photos":
            digest.update("".join(f"{e['path']} {e['size']}\n" for e in list_photos(0)).encode())
            continue
        walk = _walk(place) if place.is_dir() else [(place.name, place)]
        for name, path in walk:
            status = os.lstat(path)
            digest.update(f"{place}\0{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def entries(source: str, seed: int = 0):
    """Yield one dict a file found, in a fixed order (see the module's text). `seed` cuts the embedded crops."""
    places = expand(source)
    for place in places:
        if place == "photos":
            yield from list_photos(seed)
            continue
        listing = _list_folder(place) if place.is_dir() else _list_archive(place)
        prefix = f"{place.name}/" if len(places) > 1 else ""
        listing = list(listing) if not place.is_dir() else listing
        names = ((e["path"] for e in listing) if isinstance(listing, list) else (n for n, _ in _walk(place)))
        common = _common_folders(names)
        for entry in listing:
            entry["category"] = category_of(entry["path"], common, place)
            entry["path"] = prefix + entry["path"]
            entry["group"] = ""
            yield entry


def category_of(name: str, common: int, place: Path) -> str:
    """Category of a file: its folders below those that all files share, without a last 'images' (tiny-imagenet)."""
    folders = name.split("/")[:-1]
    own = folders[common:]
    if own and own[-1] == "images":
        own.pop()
    stem = place.name.split(".")[0] if place.is_file() else place.name
    return "/".join(own) or (folders[-1] if folders else stem)


def _common_folders(names) -> int:
    """How many leading folders all photographs share. Files that are no photographs have no say."""
    shared = None
    for name in names:
        if not looks_like_image(name):
            continue
        folders = name.split("/")[:-1]
        if shared is None:
            shared = folders
        else:
            same = (i for i, (a, b) in enumerate(zip(shared, folders, strict=False)) if a != b)
            shared = shared[: next(same, min(len(shared), len(folders)))]
        if shared == []:
            break
    return len(shared or ())


IMAGES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"}


def looks_like_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGES


def _walk(folder: Path):
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


def _list_folder(folder: Path):
    for name, path in _walk(folder):
        status = os.lstat(path)
        yield {"path": _printable(name), "place": str(path), "kind": "file", "size": status.st_size,
               "where": [], "problem": _file_problem(folder, path, status)}


def _printable(name: str) -> str:
    """A name with bytes that are no UTF-8 can be opened but not written into a table: show them escaped."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _file_problem(folder: Path, path: Path, status) -> str:
    if stat.S_ISLNK(status.st_mode):
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(folder):
            return "symbolic link out of the folder"
        return "" if target.is_file() else "symbolic link to nothing that can be read"
    if stat.S_ISDIR(status.st_mode):
        return "unreadable folder"
    return "" if stat.S_ISREG(status.st_mode) else "not a regular file"


def _name_problem(name: str) -> str:
    if name.startswith(("/", "\\")) or name[1:3] in (":/", ":\\"):
        return "absolute path in the archive"
    return "path that climbs out of the archive" if ".." in name.replace("\\", "/").split("/") else ""


def _list_archive(place: Path):
    try:
        yield from (_list_zip if zipfile.is_zipfile(place) else _list_tar)(place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise KoalaError(f"'{place}' is no archive that can be read ({error}): fetch or pack it again.") from error


def _list_zip(place: Path):
    with zipfile.ZipFile(place) as archive:
        for info in sorted(archive.infolist(), key=lambda i: i.filename):
            if info.is_dir():
                continue
            problem = _name_problem(info.filename)
            if info.flag_bits & 1:
                problem = "encrypted in the zip"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                problem = f"zip compression {info.compress_type} is not read"
            elif stat.S_ISLNK(info.external_attr >> 16):
                problem = "symbolic link in the archive"
            yield {"path": _printable(info.filename), "place": str(place), "kind": "zip", "size": info.file_size,
                   "where": [info.header_offset, info.compress_size, info.compress_type, info.CRC], "problem": problem}


def _list_tar(place: Path):
    with tarfile.open(place) as archive:
        for info in archive:
            archive.members = []  # tarfile keeps every header otherwise
            if info.isdir():
                continue
            problem = _name_problem(info.name) or ("" if info.isreg() else "not a regular file in the archive")
            yield {"path": _printable(info.name), "place": str(place), "kind": "tar", "size": info.size,
                   "where": [info.offset_data], "problem": problem}


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
    if entry["kind"] == "tar":
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
        data = zlib.decompressobj(-15).decompress(data, entry["size"] + 1)  # no more than was declared: no bomb
    if len(data) != entry["size"] or zlib.crc32(data) != crc:
        raise OSError("the zip member is damaged")
    return data
