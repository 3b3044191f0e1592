"""Data sets that come with list files, which name their photographs and the category of each.

- Places-Extra69 (and Places365): extra69_train.txt and extra69_test.txt with lines "path label", categories_extra69.txt
  with lines "/t/toll_plaza 0" or "/h/hot_tub/outdoor 4"; the photographs lie in data_256_extra/ or data_large_extra/.
- tiny-imagenet-200: its training photographs (train/n01443537/images/) are used, those of val/ and test/ are not. words.txt
  with lines "n01443537<tab>goldfish, Carassius auratus" makes n01443537 the category goldfish-n01443537.

A photograph that no list names is refused with that reason, and so is a line without its photograph.
"""

import re
from pathlib import Path, PurePosixPath

from koala.data.archives import Unreadable, read
from koala.data.reasons import Reason, printable
from koala.data.records import Entry
from koala.system.errors import KoalaError

PLACES = re.compile(r"(extra69|places365)(_[a-z]+)*_(train|test|val)(_[a-z0-9]+)*\.txt$", re.IGNORECASE)
CATEGORIES = re.compile(r"categories_(extra69|places365)\.txt$", re.IGNORECASE)
ANNOTATIONS = "val/val_annotations.txt"  # by which tiny-imagenet-200 is recognized
WORDS = "words.txt"


def is_list(name: str) -> bool:
    last = name.rpartition("/")[2]
    return (
        f"/{name}".endswith(f"/{ANNOTATIONS}")
        or last == WORDS
        or bool(PLACES.match(last) or CATEGORIES.match(last))
    )


def beside(place: Path) -> list[tuple[str, Path]]:
    """(name, path) of Places list files beside the source rather than inside it, as in the distribution."""
    files = sorted(place.parent.glob("*.txt"))
    return [(f"../{path.name}", path) for path in files if is_list(path.name) and path.name != WORDS]


def texts(place: Path, inside: list[Entry]) -> dict[str, list[str]]:
    """{name: its lines} of the list files inside the source, else beside it. KoalaError where one cannot be read."""
    try:
        raw = {entry.path: read(entry) for entry in inside}
    except Unreadable as error:
        raise KoalaError(
            f"a list file in {place} cannot be read ({error}): mend it, or take it away."
        ) from error
    if not any(PLACES.match(PurePosixPath(name).name) for name in raw):
        raw |= {name: path.read_bytes() for name, path in beside(place)}
    return {
        name: [line for line in data.decode(errors="replace").splitlines() if line.strip()]
        for name, data in raw.items()
    }


def apply(listing: list[Entry], lists: dict[str, list[str]]) -> list[Entry]:
    """The entries with the categories that the list files give them, problems added, and missing files appended."""
    for name in lists:
        if f"/{name}".endswith(f"/{ANNOTATIONS}"):
            root = name.removesuffix(ANNOTATIONS)
            listing = _tiny_imagenet(listing, root, lists.get(root + WORDS, []))
    ends = {end for entry in listing for end in _ends(entry.path)}
    categories = _place_categories(lists)
    listed = {}  # path without leading slash: (category, list file)
    for name, lines in lists.items():
        last = PurePosixPath(name).name
        words = [line.split() for line in lines]
        if PLACES.match(last) and any(first.lstrip("/") in ends for first, *_ in words):
            for first, *rest in words:
                listed[first.lstrip("/")] = (categories.get(rest[0], "") if rest else "", last)
    return _match(listing, listed) if listed else listing


def _tiny_imagenet(listing: list[Entry], root: str, words: list[str]) -> list[Entry]:
    lemmas = (line.partition("\t") for line in words)
    names = {wnid: f"{_slug(lemma)}-{wnid}" for wnid, _, lemma in lemmas}
    out = []
    for entry in listing:
        if entry.path.startswith((f"{root}val/images/", f"{root}test/images/")):
            entry = entry.but(problem=entry.problem or Reason("not-training"))
        out.append(entry.but(category=names.get(entry.category, entry.category)))
    return out


def _slug(lemma: str) -> str:
    """ "potter's wheel, wheel" -> potters_wheel"""
    return re.sub(r"[^a-z0-9_-]", "", lemma.partition(",")[0].strip().lower().replace(" ", "_"))


def _place_categories(lists: dict[str, list[str]]) -> dict[str, str]:
    """{label: category}: "/h/hot_tub/outdoor 4" becomes {"4": "hot_tub/outdoor"}."""
    for name, lines in lists.items():
        if CATEGORIES.match(PurePosixPath(name).name):
            try:
                pairs = [line.split() for line in lines]
                return {
                    label: printable(path.strip("/").partition("/")[2] or path.strip("/"))
                    for path, label in pairs
                }
            except ValueError:
                raise KoalaError(f"'{name}' should have lines like '/t/toll_plaza 0'.") from None
    return {}


def _match(listing: list[Entry], listed: dict) -> list[Entry]:
    out, seen = [], set()
    for entry in listing:
        key = next((end for end in _ends(entry.path) if end in listed), None)
        if key is None:
            out.append(entry.but(problem=entry.problem or Reason("not-listed")))
        else:
            seen.add(key)
            out.append(entry.but(category=listed[key][0] or entry.category))
    for path in sorted(set(listed) - seen):
        category, name = listed[path]
        problem = Reason("not-there", name)
        out.append(Entry(printable(path), "", "file", 0, category=category, problem=problem))
    return out


def _ends(path: str) -> list[str]:
    """All ends of the path (list files name files from the folder data_256_extra on, or from inside it)."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
