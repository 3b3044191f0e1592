"""The last step of preparation: copies, order, split; images.npy in row order and files.csv with every file."""

import collections
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from koala.data.duplicates import mark_exact, near_groups
from koala.data.images import read_image, write_images
from koala.data.reasons import CODES, Reason
from koala.data.records import Record
from koala.data.shards import FILES, Shards
from koala.data.splits import SPLITS, ranks, split
from koala.data.table import write_table
from koala.system.errors import KoalaError
from koala.system.paths import sha256_file


@dataclasses.dataclass
class Listing:
    """What ordering and splitting need of every file, as arrays (N,) in listing order (under 100 bytes per file).

    used: becomes a row, as far as is known; stored: its shard holds its pixels; sha: hash of its bytes; hash: perceptual;
    category: index into `categories`, which are sorted; group: id of what stays in one split."""

    used: np.ndarray
    stored: np.ndarray
    sha: np.ndarray
    hash: np.ndarray
    category: np.ndarray
    group: np.ndarray
    categories: list[str]


def write(new: Path, shards: Shards, parameters: dict) -> dict:
    """Write new/images.npy and new/files.csv; returns the rest of meta.json. Raises shards.Spoiled."""
    listing = collect(shards)
    copies = mark_exact(listing.sha, listing.used, listing.category, listing.categories)
    _check_any(listing, shards, parameters["source"])
    seed = parameters["seed"]
    rows = np.flatnonzero(listing.used)  # index into the listing of each row of images.npy
    rows = rows[np.argsort(ranks(listing.sha[rows], seed, "row"), kind="stable")]
    row_of = np.full(len(listing.used), -1)
    row_of[rows] = np.arange(len(rows))
    write_images(new / "images.npy", shards, row_of, listing.stored)
    with open(new / "images.npy", "rb") as file:
        group = near_groups(
            listing.hash[rows], lambda row: read_image(file, row, shards.image_size), listing.group[rows]
        )
    parts = split(listing.category[rows], group, ranks(listing.sha[rows], seed, "split"))
    others = Others(shards, row_of, parts, copies, rows[first_of_group(group)], twins(listing))
    counts, labels = _write_table(new / "files.csv", shards, others)
    digest = hashlib.sha256(f"{parameters['image_size']} {parameters['fit']} ".encode())
    digest.update(listing.sha[rows].tobytes() + parts.tobytes())
    return {
        "counts": counts,
        "reasons": labels,
        "images": len(rows),
        "fingerprint": digest.hexdigest(),
        "splits": {name: int((parts == i).sum()) for i, name in enumerate(SPLITS)},
        "categories": len(np.unique(listing.category[rows])),
        "sha256": {name: sha256_file(new / name) for name in ("images.npy", "files.csv")},
    }


def collect(shards: Shards) -> Listing:
    """The listing of all shards."""
    parts, categories, groups = [], {}, {}
    for i in range(len(shards)):
        records = shards.records(i)
        used = [r.status == "used" or (r.status == "gray" and shards.keep_gray) for r in records]
        parts.append(
            (
                np.array(used, bool),
                np.array([bytes.fromhex(r.sha256 or "00" * 32) for r in records], "V32"),
                np.array([r.hash for r in records], np.uint64),
                np.array([categories.setdefault(r.category, len(categories)) for r in records], np.int32),
                np.array([groups.setdefault(r.group, len(groups)) if r.group else -1 for r in records]),
            )
        )
    used, sha, hashes, category, group = map(np.concatenate, zip(*parts, strict=True))
    by_name = np.argsort(np.argsort(np.array(list(categories))))  # ids in the order of names
    alone = group < 0
    group[alone] = len(groups) + np.flatnonzero(alone)
    return Listing(used, used.copy(), sha, hashes, by_name[category], group, sorted(categories))


def _check_any(listing: Listing, shards: Shards, source: str) -> None:
    if not listing.used.any():
        first = [f"'{r.path}': {'; '.join(map(str, r.reasons)) or r.status}" for r in shards.records(0)[:3]]
        raise KoalaError(
            f"nothing usable in '{source}': of {len(listing.used):,} files none is a colour photograph that can "
            f"be read ({'; '.join(first)})."
        )


def first_of_group(group: np.ndarray) -> np.ndarray:
    """(N,) ids -> (N,) index of the first with the same id."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return first[inverse]


def twins(listing: Listing) -> dict[str, str]:
    """{category: the one with more photographs that differs from it by case only}."""
    counts = np.bincount(listing.category[listing.used], minlength=len(listing.categories))
    largest = {}
    for name, _ in sorted(zip(listing.categories, counts, strict=True), key=lambda pair: pair[1]):
        largest[name.casefold()] = name
    pairs = ((name, largest[name.casefold()]) for name in listing.categories)
    return {name: other for name, other in pairs if other != name}


@dataclasses.dataclass
class Others:
    """What a file's record takes from the other files.

    row_of: (N,) row of each listed file, -1 for none; parts: (R,) split of each row; copies: {listed file: the first
    with the same bytes}; leader: (R,) listed file that is the first of the row's near copies; twins: see `twins`."""

    shards: Shards
    row_of: np.ndarray
    parts: np.ndarray
    copies: dict[int, int]
    leader: np.ndarray
    twins: dict[str, str]

    def complete(self, record: Record, n: int) -> Record:
        """The n-th record with its row, split, final status and group."""
        record.group = record.group or record.sha256[:16]
        row = int(self.row_of[n])
        if n in self.copies:
            record.status = "duplicate"
            record.reasons = [Reason("same-bytes", self.shards.record(self.copies[n]).path)]
        elif row >= 0:
            record.status, record.row, record.split = "used", row, SPLITS[self.parts[row]]
            if self.leader[row] != n:
                self._join(record, self.shards.record(self.leader[row]))
            if record.category in self.twins:
                record.reasons.append(Reason("case", self.twins[record.category]))
        return record

    @staticmethod
    def _join(record: Record, first: Record) -> None:
        """Give a photograph the group of its first near copy, with a remark unless they are crops of one photograph."""
        group = first.group or first.sha256[:16]
        if group != record.group:
            record.reasons.append(Reason("near-copy", first.path))
            record.group = group


def _write_table(path: Path, shards: Shards, others: Others) -> tuple[dict, dict]:
    """files.csv, one line per file in listing order. Returns the counts by status, and by status and kind of reason."""
    counts, labels = collections.Counter(), collections.Counter()

    def records():
        for i in range(len(shards)):
            for n, record in enumerate(shards.records(i), i * FILES):
                yield others.complete(record, n)
                counts[record.status] += 1
                labels.update(f"{record.status}: {CODES[reason.code][0]}" for reason in record.reasons)

    write_table(path, records())
    return dict(counts), dict(labels)
