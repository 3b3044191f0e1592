"""Data sets that bring list files along, which say what belongs to them and under which category.

- Places-Extra69 (and Places365): extra69_train.txt and extra69_test.txt with lines "path label", categories_extra69.txt
  with lines "/t/toll_plaza 0" or "/h/hot_tub/outdoor 4"; the photographs lie in data_256_extra/ or data_large_extra/.
- tiny-imagenet-200: val/val_annotations.txt with lines "val_0.JPEG<tab>n03444034<tab>...".

A photograph that no list names is left out by name, and so is a line without its photograph.
"""

import re
from pathlib import Path, PurePosixPath

from koala.data.archives import read
from koala.system.errors import KoalaError

PLACES = re.compile(r"(extra69|places365)(_[a-z]+)*_(train|test|val)(_[a-z0-9]+)*\.txt$", re.IGNORECASE)
CATEGORIES = re.compile(r"categories_(extra69|places365)\.txt$", re.IGNORECASE)
ANNOTATIONS = "val_annotations.txt"


def is_list(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last == ANNOTATIONS or bool(PLACES.match(last) or CATEGORIES.match(last))


def beside(place: Path) -> list[tuple[str, Path]]:
    """(name, path) of Places list files that lie not in the source but beside it, as the distribution has them."""
    found = sorted(place.parent.glob("*.txt"))
    return [
        (f"../{path.name}", path) for path in found if PLACES.match(path.name) or CATEGORIES.match(path.name)
    ]


def texts(place: Path, inside: list[dict]) -> dict[str, list[list[str]]]:
    """{name: its lines, each split into words} of the list files inside the source, else beside it."""
    raw = {entry["path"]: read(entry) for entry in inside}
    if not any(PLACES.match(PurePosixPath(name).name) for name in raw):
        raw |= {name: path.read_bytes() for name, path in beside(place)}
    return {
        name: [line.split() for line in data.decode(errors="replace").splitlines() if line.strip()]
        for name, data in raw.items()
    }


def apply(listing: list[dict], found: dict) -> list[dict]:
    """The entries with the categories that the list files give them, problems added, and missing files appended."""
    for name, lines in found.items():
        if name.endswith(ANNOTATIONS):
            _annotate(listing, name, lines)
    ends = {end for entry in listing for end in _ends(entry["path"])}
    categories, listed = (
        _place_categories(found),
        {},
    )  # listed: path without leading slash -> (category, list file)
    for name, lines in found.items():
        last = PurePosixPath(name).name
        if PLACES.match(last) and any(words[0].lstrip("/") in ends for words in lines):
            labels = ((words[0].lstrip("/"), words[1] if len(words) > 1 else "") for words in lines)
            listed |= {path: (categories.get(label, ""), last) for path, label in labels}
    return _match(listing, listed) if listed else listing


def _annotate(listing, name, lines):
    folder = name.rpartition("/")[0]
    labels = {f"{folder}/images/{words[0]}".lstrip("/"): words[1] for words in lines if len(words) > 1}
    for entry in listing:
        entry["category"] = labels.get(entry["path"], entry["category"])


def _place_categories(found: dict) -> dict[str, str]:
    """{label: category}: "/h/hot_tub/outdoor 4" becomes {"4": "hot_tub/outdoor"}."""
    for name, lines in found.items():
        if CATEGORIES.match(PurePosixPath(name).name):
            try:
                return {label: path.strip("/").partition("/")[2] or path.strip("/") for path, label in lines}
            except ValueError:
                raise KoalaError(f"'{name}' should have lines like '/t/toll_plaza 0'.") from None
    return {}


def _match(listing, listed):
    seen = set()
    for entry in listing:
        key = next((end for end in _ends(entry["path"]) if end in listed), None)
        if key is None:
            entry["problem"] = entry["problem"] or "in none of the list files"
            continue
        seen.add(key)
        entry["category"] = listed[key][0] or entry["category"]
    missing = ((key, *listed[key]) for key in sorted(listed) if key not in seen)
    return listing + [
        {
            "path": path,
            "category": category,
            "group": "",
            "place": "",
            "kind": "file",
            "size": 0,
            "where": [],
            "problem": f"named in {name} but not there",
        }
        for path, category, name in missing
    ]


def _ends(path: str):
    """The path and its ends: lists name files from the folder data_256_extra on, or from inside it."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
