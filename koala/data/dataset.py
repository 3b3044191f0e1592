"""Prepared photographs: find or prepare a data set, load it, and check that it has not changed.

data/NAME/ holds images.npy (N, S, S, 3) uint8, files.csv (one line per file of the source) and meta.json. Rows are in
the order of a seeded hash of each file's bytes: any leading part of them is a random sample.
"""

import dataclasses
import functools
import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd

from koala.data.decode import FITS
from koala.data.preparation import FORMAT, build, only_one
from koala.data.sources import expand, signature
from koala.data.splits import SPLITS
from koala.data.table import read_table, used_rows
from koala.data.verify import holds, trust
from koala.system.errors import KoalaError
from koala.system.paths import NAME, Damaged, data_dir, read_json

RESERVED = ("features", "downloads", "colorized")  # folders in data/ that are no data sets


@dataclasses.dataclass(frozen=True)
class Photos:
    """A prepared data set. images: (N, S, S, 3) uint8, memory-mapped; files: the used rows, files.iloc[i] is
    images[i]; fingerprint: hash of the photographs, their order, split, size and fit."""

    name: str
    folder: Path
    images: np.memmap
    files: pd.DataFrame
    meta: dict
    fingerprint: str

    def __len__(self):
        return len(self.files)

    def rows(self, split: str, n: int | None = None) -> np.ndarray:
        """Rows of one split (train, validation or test) as int64, ascending; with n only those below n."""
        if split not in SPLITS:
            raise KoalaError(f"there is no split '{split}': choose from {', '.join(SPLITS)}.")
        rows = np.flatnonzero((self.files["split"] == split).to_numpy())
        return rows if n is None else rows[rows < n]


def prepare(
    source: str,
    name: str,
    image_size: int,
    fit: str = "crop",
    seed: int = 0,
    keep_gray: bool = False,
    progress=None,
    workers: int | None = None,
    verify: bool = True,
) -> Photos:
    """Prepare `source` (see koala.data.sources) as data/NAME/, or load it where nothing has changed since.

    progress(done, total, what) is called now and then; workers: processes (None or 0: one per core). verify: read
    every byte of what is prepared already, and not only what has changed since. Raises KoalaError for a value out of
    range, a source that cannot be used, and where data/NAME/ is no prepared data set."""
    _check_name(name, str(source))
    if fit not in FITS:
        raise KoalaError(f"fit must be one of {', '.join(FITS)}, not '{fit}'.")
    if not 8 <= int(image_size) <= 4096:
        raise KoalaError(f"image_size must lie between 8 and 4096 pixels, not {image_size}.")
    parameters = {
        "source": str(source),
        "image_size": int(image_size),
        "fit": fit,
        "seed": int(seed),
        "keep_gray": bool(keep_gray),
    }
    with only_one(name):
        expand(parameters["source"], progress)  # fetches what is known by name, which may take hours
        if not _is_current(name, parameters, verify):
            try:
                build(parameters, name, progress, workers)
            except OSError as error:  # a full disk, as a rule
                raise KoalaError(
                    f"preparing '{name}' stopped ({error}): run it again, what is finished is kept."
                ) from error
            _trust(name)
    return load(name)


def _check_name(name: str, source: str) -> None:
    """Raises KoalaError for a name that no data set may have, and for 'photos' with another source."""
    if not re.fullmatch(NAME, name) or name.lower() in RESERVED:
        raise KoalaError(
            f"'{name}' cannot name a data set: use letters, digits, dots, '-' and '_' "
            f"({', '.join(RESERVED)} are taken)."
        )
    parts = {part.strip() for part in source.split(",")} - {""}
    if name.lower() == "photos" and parts and parts != {"photos"}:
        raise KoalaError(
            f"'photos' names the photographs inside the installed packages: give those of '{source}' a name "
            "of their own (-p name NAME)."
        )
    if "photos" in parts:
        _warn_of_folder(Path("photos").absolute())


@functools.cache  # once a process
def _warn_of_folder(folder: Path) -> None:
    if folder.is_dir():
        print(
            f"'photos' means the photographs inside the installed packages; for the folder {folder} say './photos'."
        )


def _is_current(name: str, parameters: dict, anew: bool) -> bool:
    wanted = parameters | {"source": ", ".join(map(str, expand(parameters["source"]))), "format": FORMAT}
    try:
        meta = _meta(data_dir() / name)
        if any(meta.get(key) != value for key, value in wanted.items()):
            return False
        unchanged = meta.get("signature") == signature(parameters["source"])
        return unchanged and not _damage(data_dir() / name, meta, anew)
    except (OSError, ValueError):
        return False


def load(name: str) -> Photos:
    """A prepared data set by name. Raises KoalaError where there is none or where a stored byte has changed."""
    folder = data_dir() / name
    if not (folder / "meta.json").is_file():
        raise KoalaError(f"there is no prepared data set '{name}' in {data_dir()}; {_known()}.")
    meta = _meta(folder)
    damaged = _damage(folder, meta)
    if damaged:
        raise KoalaError(f"{folder / damaged} is not what was written: prepare '{name}' again.")
    images = np.load(folder / "images.npy", mmap_mode="r")
    table = used_rows(files(name, used_only=True), len(images))
    return Photos(name, folder, images, table, meta, meta["fingerprint"])


def _meta(folder: Path) -> dict:
    """meta.json, if every byte is as written. Raises KoalaError."""
    try:
        return read_json(folder / "meta.json")
    except Damaged:
        raise KoalaError(
            f"{folder / 'meta.json'} is not what was written: prepare '{folder.name}' again."
        ) from None


def files(name: str, used_only: bool = False) -> pd.DataFrame:
    """files.csv of a prepared data set: a line for every file of its source, or for the used ones only."""
    return read_table(data_dir() / name / "files.csv", used_only)


def _trust(name: str) -> None:
    """Note the hashes of what this process has just written, so that it is not read again."""
    folder = data_dir() / name
    for file, wanted in _meta(folder)["sha256"].items():
        trust(folder / file, wanted)


def _damage(folder: Path, meta: dict, anew: bool = False) -> str:
    """Name of a file whose bytes are not those that were written, or "" (see koala.data.verify)."""
    hashes = meta.get("sha256", {}).items()
    return next((name for name, wanted in hashes if not holds(folder / name, wanted, anew)), "")


def prepared() -> list[str]:
    """Names of the prepared data sets."""
    return sorted(
        path.parent.name for path in data_dir().glob("*/meta.json") if not path.parent.name.startswith(".")
    )


def _known() -> str:
    return "prepared are: " + ", ".join(prepared()) if prepared() else "nothing is prepared yet"


def find(dataset: str, image_size: int, progress=None) -> Photos:
    """The data set that a user means: a prepared name, `photos`, or folders and archives, which are prepared if need be.

    A prepared data set serves every size that divides its own: the network then sees means of whole blocks of pixels,
    and the extractor the stored photograph. For other sizes it is prepared again from the same source as NAME-SIZE."""
    if dataset == "photos":
        _warn_of_folder(Path("photos").absolute())
    if dataset in prepared():
        meta = _meta(data_dir() / dataset)
        if dataset == "photos" and meta["source"] != "photos":
            raise KoalaError(
                f"{data_dir() / dataset} was prepared from {meta['source']}, and 'photos' means the photographs "
                "inside the installed packages: give that folder another name."
            )
        if meta["image_size"] % image_size == 0:
            return load(dataset)
        return prepare(
            meta["source"],
            f"{dataset}-{image_size}",
            image_size,
            meta["fit"],
            meta["seed"],
            meta["keep_gray"],
            progress,
            verify=False,
        )
    try:
        places = expand(dataset, progress)
    except KoalaError as error:
        raise KoalaError(
            f"there is no data set '{dataset}': no prepared one of that name ({_known()}), it is not "
            f"'photos', and {error}"
        ) from error
    name = dataset if dataset == "photos" else slug(places)
    if name in prepared() and _meta(data_dir() / name)["image_size"] % image_size:
        name += f"-{image_size}"
    stored = _meta(data_dir() / name)["image_size"] if name in prepared() else image_size
    return prepare(dataset, name, stored, progress=progress, verify=False)


def slug(places) -> str:
    """A readable name for unnamed sources: the first one's, and a short hash of all their paths."""
    first = re.sub(r"[^A-Za-z0-9]+", "-", Path(places[0]).name.split(".")[0]).strip("-")[:40] or "data"
    return f"{first.lower()}-{hashlib.sha256('|'.join(map(str, places)).encode()).hexdigest()[:8]}"
