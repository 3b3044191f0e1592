"""Where photographs come from, and what category each belongs to.

A *source* is a folder, an archive (zip, tar, tar.gz), a name in koala.data.catalog, `photos` (photographs inside installed
packages), or several of them separated by commas, with globs. Listing gives an Entry for every file, good or bad, in a fixed
order.
"""

import glob
import hashlib
import itertools
import os
from pathlib import Path

from koala.data import catalog, list_files
from koala.data.archives import list_archive
from koala.data.folders import is_debris, list_folder, walk
from koala.data.reasons import printable
from koala.data.samples import list_photos
from koala.system.errors import KoalaError
from koala.system.paths import ROOT, exists, looked_in, matches, resolve

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
IMAGES = tuple(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .avif .jp2".split()
)  # suffixes that tell which folders hold photographs; what a file is, its content tells
PARTS = {"train", "val", "valid", "validation", "test"}  # folders that divide a data set, not categories


def expand(source: str, progress=None) -> list:
    """The folders and archives that `source` names ('photos' stays as it is), sorted by path. KoalaError if none.

    A name in koala.data.catalog is fetched where it is not there yet; progress(done, total, what) is called meanwhile."""
    places = []
    for part in names(str(source)):
        if part == "photos":
            places.append(part)
        elif part in catalog.SOURCES and not Path(part).exists():
            places.append(catalog.fetch(part, progress))
        elif glob.has_magic(part) and not exists(part):
            hits = matches(part)
            if not hits:
                raise KoalaError(f"no file or folder matches '{part}' (looked in {looked_in()}).")
            places += [hit.resolve() for hit in hits]
        else:
            places.append(resolve(part))
    if not places:
        raise KoalaError("the source is empty: name a folder, an archive or 'photos'.")
    for place in places:
        if place != "photos" and not place.is_dir() and not str(place).lower().endswith(ARCHIVES):
            raise KoalaError(f"'{place}' is neither a folder nor an archive ({', '.join(ARCHIVES)}).")
    return sorted(set(places), key=str)  # the order in which sources are named changes nothing


def names(source: str) -> list[str]:
    """The parts of `source` between commas; a comma in the name of an existing file or folder belongs to the name."""
    pieces, out = source.split(","), []
    while pieces:
        longer = (",".join(pieces[:count]).strip() for count in range(min(len(pieces), 10), 1, -1))
        name = next((name for name in longer if exists(name) or exists(ROOT / name)), pieces[0].strip())
        out.append(name)
        del pieces[: name.count(",") + 1]
    return [name for name in out if name]


def signature(source: str) -> str:
    """Hash of what is known without reading: names, sizes and times. Equal means unchanged."""
    digest = hashlib.sha256()
    for place in expand(source):
        if place == "photos":
            digest.update("".join(f"{e.path} {e.size}\n" for e in list_photos(0)).encode())
            continue
        files = walk(place) if place.is_dir() else [(place.name, place)]
        for name, path in itertools.chain(list_files.beside(place), files):
            status = os.lstat(path)
            digest.update(
                f"{place}\0{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape")
            )
    return digest.hexdigest()


def entries(source: str, seed: int = 0):
    """Yield an Entry for every file, in a fixed order. `seed` places the crops of the embedded photographs."""
    places = expand(source)
    for place in places:
        if place == "photos":
            yield from list_photos(seed)
            continue
        prefix = _prefix(place, places)
        for entry in _with_categories(place):
            yield entry.but(path=prefix + entry.path) if prefix else entry


def _prefix(place: Path, places: list) -> str:
    """What distinguishes the paths of one of several sources: its name, and of equal names as many folders as needed."""
    if len(places) == 1:
        return ""
    others = [other.parts[1:] for other in places if other not in (place, "photos")]
    parts = place.parts[1:]  # without the root
    count = next(
        (i for i in range(1, len(parts)) if all(other[-i:] != parts[-i:] for other in others)), len(parts)
    )
    return "/".join(parts[-count:]) + "/" if parts else ""


def _with_categories(place: Path):
    """Entries of one folder or archive, with their categories."""
    if place.is_dir():
        listing = list_folder(place)  # not kept: a folder is walked twice instead
        names = (printable(name) for name, _ in walk(place) if not is_debris(name))
        stem = place.name
    else:
        listing = list_archive(place)
        names = (entry.path for entry in listing)
        stem = place.name.split(".")[0]
    folders, with_photographs, lists = set(), set(), set()
    for name in names:
        folders.add(name.rpartition("/")[0])
        if name.lower().endswith(IMAGES):
            with_photographs.add(name.rpartition("/")[0])
        elif list_files.is_list(name):
            lists.add(name)
    categories = _categories(folders, with_photographs or folders, printable(stem))
    listing = (entry.but(category=categories.get(entry.path.rpartition("/")[0], "")) for entry in listing)
    if not lists and not list_files.beside(place):
        return listing
    listing = list(listing)
    inside = [entry for entry in listing if entry.path in lists and not entry.problem]
    return list_files.apply(listing, list_files.texts(place, inside))


def _shared(paths: list) -> int:
    """The number of leading parts that all paths (lists of names) share."""
    low, high = min(paths), max(paths)
    return next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )


def _categories(folders: set, with_photographs: set, stem: str) -> dict:
    """{folder: category}: its path below what all folders with photographs share, without train, val, test and a last
    'images' (as in tiny-imagenet); where nothing is left, the folder's own name or that of the source."""
    split = {folder: folder.split("/") if folder else [] for folder in folders}
    if not split:
        return {}
    common = _shared([split[folder] for folder in with_photographs])
    # Photographs in a folder that holds all others are strays: they must not make a category of train/cat and one of val/cat.
    inner = [split[folder] for folder in with_photographs if len(split[folder]) > common]
    level = _shared(inner) if inner else 0
    if inner and all(parts[level : level + 1] and parts[level] in PARTS for parts in inner):
        common = level + 1
    out = {}
    for folder, parts in split.items():
        own = parts[common:-1] if parts[common:] and parts[-1] == "images" else parts[common:]
        out[folder] = "/".join(own) or (parts[-1] if parts else stem)
    return out
