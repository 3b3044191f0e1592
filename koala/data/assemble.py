"""The last step of preparation: copies, order, split; images.npy in row order and files.csv with every file."""

import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np

from koala.data.duplicates import mark_exact, near_groups
from koala.data.shards import FILES, Shards
from koala.data.splits import SPLITS, ranks, split
from koala.system.errors import KoalaError
from koala.system.paths import sha256_file

COLUMNS = (
    "path",
    "category",
    "split",
    "status",
    "reason",
    "sha256",
    "row",
    "group",
    "width",
    "height",
    "chroma",
)
PAGE = 4096  # bytes
KINDS = {
    "same bytes as": "same bytes as another",
    "near copy of": "near copy of another",
    "category '": "category that differs from another by case only",
}


def write(new: Path, shards: Shards, parameters: dict) -> dict:
    """Write new/images.npy and new/files.csv; what belongs into meta.json. Raises koala.shards.Spoiled."""
    table = collect(shards)
    copies = mark_exact(table["sha"], table["used"])
    used = np.flatnonzero(table["used"])
    if not len(used):
        raise KoalaError(
            f"nothing usable in '{parameters['source']}': of {len(table['used']):,} files none is a colour "
            f"photograph that can be read ({_first_refusals(shards)})."
        )
    used = used[
        np.argsort(ranks(table["sha"][used], parameters["seed"], "row"), kind="stable")
    ]  # in row order
    row_of = np.full(len(table["used"]), -1)
    row_of[used] = np.arange(len(used))
    start = _write_images(new / "images.npy", shards, row_of, table["stored"])
    with open(
        new / "images.npy", "rb"
    ) as file:  # not mapped: what is touched of a mapped file counts as memory
        group = near_groups(
            table["hash"][used],
            lambda row: _picture(file, start, row, shards.image_size),
            table["group"][used],
        )
    parts = split(table["category"][used], group, ranks(table["sha"][used], parameters["seed"], "split"))
    leader = np.arange(len(used))  # the first row of each row's group
    np.minimum.at(first := np.full(group.max() + 1, len(used)), group, leader)
    leader = used[first[group]]  # as an index into the listing
    counts, notes = _write_table(new / "files.csv", shards, row_of, parts, copies, leader, twins(table))
    digest = hashlib.sha256(f"{parameters['image_size']} {parameters['fit']} ".encode())
    digest.update(table["sha"][used].tobytes() + parts.tobytes())
    return {
        "counts": counts,
        "reasons": notes,
        "images": len(used),
        "fingerprint": digest.hexdigest(),
        "splits": {name: int((parts == i).sum()) for i, name in enumerate(SPLITS)},
        "categories": len(np.unique(table["category"][used])),
        "sha256": {name: sha256_file(new / name) for name in ("images.npy", "files.csv")},
    }


def collect(shards: Shards) -> dict:
    """What ordering and splitting need of every file, as arrays in listing order (under 100 bytes a file)."""
    parts, ids, groups = [], {}, {}
    for i in range(len(shards)):
        facts = shards.facts(i)
        status = [fact["status"] for fact in facts]
        parts.append(
            {
                "used": np.array([s == "used" or (s == "gray" and shards.keep_gray) for s in status]),
                "sha": np.array([bytes.fromhex(f["sha256"] or "00" * 32) for f in facts], "V32"),
                "hash": np.array([f.get("hash", 0) for f in facts], np.uint64),
                "category": np.array([ids.setdefault(f["category"], len(ids)) for f in facts], np.int32),
                "group": np.array(
                    [groups.setdefault(f["group"], len(groups)) if f["group"] else -1 for f in facts]
                ),
            }
        )
    table = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    table["stored"] = table["used"].copy()  # has a picture in its shard
    by_name = np.argsort(np.argsort(np.array(list(ids))))  # ids in the order of names, whatever came first
    table["category"] = by_name[table["category"]]
    table["categories"] = sorted(ids)
    alone = table["group"] < 0
    table["group"][alone] = len(groups) + np.flatnonzero(alone)
    return table


def twins(table: dict) -> dict:
    """{category: the one with more photographs that differs from it by case only}."""
    counts = np.bincount(table["category"][table["used"]], minlength=len(table["categories"]))
    largest = {}
    for name, _ in sorted(zip(table["categories"], counts, strict=True), key=lambda pair: pair[1]):
        largest[name.casefold()] = name
    return {
        name: largest[name.casefold()] for name in table["categories"] if largest[name.casefold()] != name
    }


def _first_refusals(shards: Shards, most: int = 3) -> str:
    return "; ".join(
        f"'{fact['path']}': {fact['reason'] or fact['status']}" for fact in shards.facts(0)[:most]
    )


def _write_images(path: Path, shards: Shards, row_of, stored) -> int:
    """images.npy in row order, written picture by picture at its place: memory does not grow with their number.
    Gives the byte where the first begins."""
    size = shards.image_size
    shape = (int((row_of >= 0).sum()), size, size, 3)
    with open(path, "wb") as file:
        start = _write_header(file, shape)
        if hasattr(os, "posix_fallocate"):  # scattered writes into space that is there already are cheaper
            os.posix_fallocate(file.fileno(), 0, start + int(np.prod(shape)))
        for i in range(len(shards)):
            here = slice(i * FILES, (i + 1) * FILES)
            for row, picture in zip(row_of[here][stored[here]].tolist(), shards.pictures(i), strict=True):
                if row >= 0:
                    os.pwrite(file.fileno(), picture, start + row * size * size * 3)  # (S, S, 3)
        os.fsync(file.fileno())
    return start


def _write_header(file, shape) -> int:
    """The .npy header of an array of uint8, padded to whole pages: scattered writes of pictures that fill whole
    pages, too, leave no page half written. Gives its length in bytes."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape})
    magic = np.lib.format.magic(1, 0)
    length = PAGE - len(magic) - 2
    file.write(magic + length.to_bytes(2, "little") + text.ljust(length - 1).encode("latin1") + b"\n")
    file.flush()
    return PAGE


def _picture(file, start: int, row: int, size: int) -> np.ndarray:
    """Row `row` of images.npy, (size, size, 3) uint8."""
    return np.frombuffer(
        os.pread(file.fileno(), size * size * 3, start + row * size * size * 3), np.uint8
    ).reshape(size, size, 3)


def _write_table(path: Path, shards: Shards, row_of, parts, copies: dict, leader, twin: dict):
    """files.csv, one line a file found, in listing order. Counts by status, and by status and reason."""
    counts, notes, n = Counter(), Counter(), 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i in range(len(shards)):
            for line in shards.facts(i):
                line |= {"row": "", "split": "", "group": line["group"] or line["sha256"][:16]}
                row = row_of[n]
                if n in copies:
                    line |= {
                        "status": "duplicate",
                        "reason": f"same bytes as {_fact(shards, copies[n])['path']}",
                    }
                elif row >= 0:
                    line |= {"row": int(row), "split": SPLITS[parts[row]], "status": "used"}
                    if leader[row] != n:
                        _note_near_copy(line, _fact(shards, leader[row]))
                    if line["category"] in twin:
                        _note(
                            line,
                            f"category '{line['category']}' differs from '{twin[line['category']]}' by case only",
                        )
                counts[line["status"]] += 1
                if line["reason"]:
                    notes.update(_kinds(line))
                writer.writerow([line[column] for column in COLUMNS])
                n += 1
        file.flush()
        os.fsync(file.fileno())
    return dict(counts), dict(notes)


def _note_near_copy(line: dict, first: dict):
    """Give a photograph the group of its first near copy, and say so. Crops of one photograph need no word."""
    group = first["group"] or first["sha256"][:16]
    if group != line["group"]:
        _note(line, f"near copy of {first['path']}")
        line["group"] = group


def _note(line: dict, text: str):
    line["reason"] = "; ".join(filter(None, [line["reason"], text]))


def _kinds(line: dict):
    """What a line's reason counts under: without sizes, paths and other details."""
    for reason in filter(None, line["reason"].split("; ")):
        for start, kind in KINDS.items():
            reason = kind if reason.startswith(start) else reason
        words = reason.split(" (")[0]
        yield f"{line['status']}: {words.split('pixels: ')[-1]}"


def _fact(shards: Shards, n: int) -> dict:
    return shards.facts(n // FILES)[n % FILES]
