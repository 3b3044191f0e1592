"""Prepare a data set: list the files, decode them into shards, order, split, and write data/NAME/ as a whole."""

import itertools
import os
import shutil
from pathlib import Path

import numpy as np

from koala.data.assemble import write
from koala.data.records import dump
from koala.data.shards import FILES, Shards, Spoiled
from koala.data.sources import entries, expand, signature
from koala.data.table import read_table, used_rows
from koala.system.errors import KoalaError
from koala.system.paths import data_dir, locked, read_json, write_json

OURS = {"images.npy", "files.csv", "meta.json"}  # all that a prepared data set's folder holds
FORMAT = 4  # raise it when the same source and parameters would give other arrays


def only_one(name: str):
    """Context: one process at a time prepares `name`."""
    return locked(data_dir() / f".{name}.lock")


def build(parameters: dict, name: str, progress=None, workers=None) -> Path:
    """Write data/NAME/ for `parameters` (source, image_size, fit, seed, keep_gray); returns its folder.

    What an interrupted call with the same parameters and an unchanged source has finished is reused. Raises KoalaError,
    and changes nothing, where data/NAME/ holds anything but a prepared data set."""
    places = [str(place) for place in expand(parameters["source"])]
    check_replaceable(data_dir() / name, places)
    plan = parameters | {
        "source": ", ".join(places),
        "signature": signature(parameters["source"]),
        "format": FORMAT,
    }
    part = data_dir() / f".{name}.part"
    if not (part / "plan.json").exists() or _read_plan(part) != plan:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_json(part / "plan.json", plan)
    starts, files = _write_listing(part / "listing", entries(parameters["source"], parameters["seed"]))
    shards = Shards(
        part,
        part / "listing",
        starts,
        files,
        parameters["image_size"],
        parameters["fit"],
        parameters["keep_gray"],
    )
    new = part / "new"
    facts = _finished(new, shards, parameters, progress, workers)
    write_json(new / "meta.json", plan | {"name": name} | facts)
    _check_new(new, facts)
    check_replaceable(data_dir() / name, places)  # somebody may have put files there in the meantime
    _put_in_place(new, data_dir() / name)
    shutil.rmtree(part, ignore_errors=True)
    return data_dir() / name


def check_replaceable(folder: Path, places: list[str]) -> None:
    """Raises KoalaError where `folder`, which a finished data set replaces, holds the source or other files of a user."""
    for place in places:
        if place != "photos" and Path(place).is_relative_to(folder.resolve()):
            raise KoalaError(
                f"the source {place} lies where the data set would be written ({folder}): choose another name."
            )
    if not os.path.lexists(folder):
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    foreign = sorted(names - OURS) or sorted(names if "meta.json" not in names else ())
    if foreign:
        raise KoalaError(
            f"{folder} holds what koala did not write ('{foreign[0]}'), and a data set of that name would "
            "replace it: choose another name, or move it away."
        )


def _finished(new: Path, shards: Shards, parameters: dict, progress, workers) -> dict:
    """Make the missing shards, then images.npy and files.csv in `new`; again if a shard is damaged."""
    for attempt in range(3):
        shards.complete(progress, workers)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            return write(new, shards, parameters)
        except Spoiled:
            if attempt == 2:
                raise KoalaError(
                    f"what is written to {new.parent} cannot be read back: is the disk in order?"
                ) from None


def _check_new(new: Path, facts: dict) -> None:
    """Read back what is about to replace an older data set, as `load` will. KoalaError where it cannot be loaded."""
    try:
        table = read_table(new / "files.csv")
        used_rows(table, facts["images"])
        rows = len(np.load(new / "images.npy", mmap_mode="r"))
        if rows != facts["images"] or len(table) != sum(facts["counts"].values()):
            raise KoalaError(f"{rows:,} rows and {len(table):,} lines are not what was written.")
    except ValueError as error:  # KoalaError, too
        raise KoalaError(f"the new data set cannot be read back ({error}): nothing was replaced.") from error


def _read_plan(part: Path):
    try:
        return read_json(part / "plan.json")
    except ValueError:
        return None


def _write_listing(path: Path, listing) -> tuple[list[int], int]:
    """Write the entries, FILES to a line. Returns where each line starts, and the number of entries."""
    starts, files, listing = [], 0, iter(listing)
    with open(path, "wb") as file:
        while lot := list(itertools.islice(listing, FILES)):
            starts.append(file.tell())
            files += len(lot)
            file.write(dump(lot) + b"\n")
    if not starts:
        raise KoalaError("the source holds no file.")
    return starts, files


def _put_in_place(new: Path, folder: Path):
    """Swap a finished folder in. A kill between the two renames leaves the shards, and the next run ends it."""
    old = new.with_name("old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
