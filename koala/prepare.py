"""Prepare a data set: list the files, decode them into shards, order, split and write data/NAME/ at once."""

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from koala.errors import KoalaError
from koala.paths import data_dir, read_json, sha256_file, write_json
from koala.shards import FILES, Shards
from koala.sources import entries, expand, signature
from koala.split import SPLITS, ranks, split

FORMAT = 1  # raise it when the same source and parameters would give other arrays
COLUMNS = ("path", "category", "split", "status", "reason", "sha256", "row", "group", "width", "height", "chroma")


@contextlib.contextmanager
def only_one(name: str):
    """Let one process at a time prepare `name`; the lock goes with the process, however it ends."""
    data_dir().mkdir(parents=True, exist_ok=True)
    with open(data_dir() / f".{name}.lock", "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def build(parameters: dict, name: str, progress=None, workers=None) -> Path:
    """Write data/NAME/ for `parameters` (source, image_size, fit, seed, keep_gray) and give its folder.

    What an interrupted run with the same parameters and an unchanged source had finished is kept."""
    places = [str(place) for place in expand(parameters["source"])]
    plan = parameters | {"source": ", ".join(places), "signature": signature(parameters["source"]), "format": FORMAT}
    part = data_dir() / f".{name}.part"
    if not (part / "plan.json").exists() or _read_plan(part) != plan:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_json(part / "plan.json", plan)
    starts = _write_listing(part / "listing", entries(parameters["source"], parameters["seed"]))
    shards = Shards(part, part / "listing", starts, parameters["image_size"], parameters["fit"], parameters["keep_gray"])
    shards.complete(progress, workers)
    shards.check(progress, workers)
    new = part / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    meta = plan | {"name": name} | _write(new, shards, parameters)
    write_json(new / "meta.json", meta)
    _put_in_place(new, data_dir() / name)
    shutil.rmtree(part, ignore_errors=True)
    return data_dir() / name


def _read_plan(part: Path):
    try:
        return read_json(part / "plan.json")
    except ValueError:
        return None


def _write_listing(path: Path, listing) -> list[int]:
    starts, count = [], 0
    with open(path, "wb") as file:
        for count, entry in enumerate(listing, 1):
            if count % FILES == 1:
                starts.append(file.tell())
            file.write(json.dumps(entry).encode() + b"\n")
    if not count:
        raise KoalaError("the source holds no file.")
    return starts


def _put_in_place(new: Path, folder: Path):
    """Swap a finished folder in. A kill between the two renames leaves the shards, and the next run ends it."""
    old = new.with_name("old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)


def _write(new: Path, shards: Shards, parameters: dict) -> dict:
    """Write images.npy and files.csv; what belongs into meta.json."""
    table = collect(shards)
    copies = mark_copies(table)
    used = np.flatnonzero(table["used"])
    if not len(used):
        raise KoalaError(f"nothing usable in '{parameters['source']}': of {len(table['used'])} files none is a colour "
                         f"photograph; the first was {_first_refusal(shards)}.")
    key = ranks(table["sha"][used], parameters["seed"], "row")
    row_of = np.full(len(table["used"]), -1)
    row_of[used[np.argsort(key, kind="stable")]] = np.arange(len(used))
    part_of = np.full(len(row_of), -1, np.int8)
    part_of[used] = split(table["category"][used], table["group"][used],
                          ranks(table["sha"][used], parameters["seed"], "split"))
    _write_images(new / "images.npy", shards, row_of, table["stored"], parameters["image_size"])
    counts = _write_table(new / "files.csv", shards, row_of, part_of, copies)
    order = used[np.argsort(row_of[used])]
    digest = hashlib.sha256(f"{parameters['image_size']} {parameters['fit']} ".encode())
    digest.update(table["sha"][order].tobytes() + part_of[order].tobytes())
    return {"counts": counts, "images": len(used), "fingerprint": digest.hexdigest(),
            "splits": {name: int((part_of == i).sum()) for i, name in enumerate(SPLITS)},
            "categories": len(np.unique(table["category"][used])),
            "sha256": {name: sha256_file(new / name) for name in ("images.npy", "files.csv")}}


def collect(shards: Shards) -> dict:
    """What ordering and splitting need of every file, as arrays in listing order (about 60 bytes a file)."""
    columns = {"used": [], "stored": [], "sha": [], "category": [], "group": []}
    ids, groups = {}, {}
    for i in range(len(shards)):
        for entry, fact in zip(shards.entries(i), shards.facts(i), strict=True):
            used = fact["status"] == "used" or (fact["status"] == "gray" and shards.keep_gray)
            columns["used"].append(used)
            columns["sha"].append(bytes.fromhex(fact["sha256"] or "00" * 32))
            columns["category"].append(ids.setdefault(entry["category"], len(ids)))
            group = entry["group"]
            columns["group"].append(groups.setdefault(group, len(groups)) if group else -1)
    table = {"used": np.array(columns["used"]), "sha": np.array(columns["sha"], "V32"),
             "category": np.array(columns["category"]), "group": np.array(columns["group"])}
    table["stored"] = table["used"].copy()
    by_name = np.argsort(np.argsort(np.array(list(ids))))  # ids in the order of names, whatever came first
    table["category"] = by_name[table["category"]]
    alone = table["group"] < 0
    table["group"][alone] = len(groups) + np.flatnonzero(alone)
    return table


def mark_copies(table: dict) -> dict:
    """Of files with the same bytes only the first is used. {index of a copy: index of the first}."""
    used = np.flatnonzero(table["used"])
    _, first, inverse = np.unique(table["sha"][used], return_index=True, return_inverse=True)
    original = used[first[inverse]]
    copies = used != original
    table["used"][used[copies]] = False
    return dict(zip(used[copies].tolist(), original[copies].tolist(), strict=True))


def _first_refusal(shards: Shards) -> str:
    for i in range(len(shards)):
        for entry, fact in zip(shards.entries(i), shards.facts(i), strict=True):
            return f"'{entry['path']}': {fact['reason'] or fact['status']}"


def _write_images(path: Path, shards: Shards, row_of, stored, size: int):
    """images.npy in row order, written picture by picture at its place: memory does not grow with their number."""
    count = int((row_of >= 0).sum())
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False,
                                                    "shape": (count, size, size, 3)})
        start = file.tell()
        for i in range(len(shards)):
            here = slice(i * FILES, (i + 1) * FILES)
            for row, picture in zip(row_of[here][stored[here]], shards.pictures(i), strict=True):
                if row >= 0:
                    file.seek(start + int(row) * size * size * 3)
                    file.write(picture)  # (S, S, 3)
        file.flush()
        os.fsync(file.fileno())


def _write_table(path: Path, shards: Shards, row_of, part_of, copies: dict) -> dict:
    """files.csv, one line a file found, in listing order. Counts by status."""
    counts, n = {}, 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for i in range(len(shards)):
            for entry, fact in zip(shards.entries(i), shards.facts(i), strict=True):
                line = entry | fact
                if n in copies:
                    line |= {"status": "duplicate", "reason": f"same bytes as {_path_of(shards, copies[n])}"}
                elif row_of[n] >= 0:
                    line |= {"row": row_of[n], "split": SPLITS[part_of[n]], "status": "used"}
                line["group"] = entry["group"] or line["sha256"][:16]
                counts[line["status"]] = counts.get(line["status"], 0) + 1
                writer.writerow(line)
                n += 1
        file.flush()
        os.fsync(file.fileno())
    return counts


def _path_of(shards: Shards, n: int) -> str:
    return shards.entries(n // FILES)[n % FILES]["path"]
