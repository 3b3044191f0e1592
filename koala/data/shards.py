"""Decoding in parallel: every 256 files become one file of pictures and facts, written atomically.

A run that was killed finds the finished ones and goes on; what they hold depends on the source and the parameters
alone, so the result is the same to the bit.
"""

import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from koala.data import stl10
from koala.data.archives import read
from koala.data.decode import resize, square
from koala.data.duplicates import perceptual_hash
from koala.lab import rgb_to_lab
from koala.system.errors import KoalaError
from koala.system.processes import cores, die_with_parent

FILES = 256  # in a shard
GRAY = 5.0  # a photograph with no |a*| or |b*| above this counts as achromatic (Zhang et al. 2016)
MANY = 2000  # files: fewer are not worth the start of other processes


class Spoiled(Exception):
    """A shard was not what had been written. It is removed; make it again."""


class Shards:
    """The shards of one preparation. `listing` is a file with one line a shard, a JSON list of entries; `starts`
    holds the byte where each line begins, `files` their number. A map-style data set: item i makes shard i and gives its number of files."""

    def __init__(
        self,
        folder: Path,
        listing: Path,
        starts: list,
        files: int,
        image_size: int,
        fit: str,
        keep_gray: bool,
    ):
        self.folder, self.listing, self.starts, self.files = folder, listing, starts, files
        self.image_size, self.fit, self.keep_gray = image_size, fit, keep_gray

    def __len__(self):
        return len(self.starts)

    def path(self, i: int) -> Path:
        return self.folder / f"{i:06d}.npz"

    def entries(self, i: int) -> list[dict]:
        with open(self.listing, "rb") as file:
            file.seek(self.starts[i])
            return json.loads(file.readline())

    def __getitem__(self, i: int) -> int:
        entries = self.entries(i)
        examined = [examine(entry, self.image_size, self.fit) for entry in entries]
        facts = [fact for _, fact in examined]
        pictures = [picture for picture, _ in examined if picture is not None]
        if pictures:
            pictures = np.stack(pictures)  # (n, S, S, 3)
            decoded = [fact for fact in facts if fact["status"] == "used"]
            measure(pictures, decoded)
            if not self.keep_gray:
                pictures = pictures[[fact["status"] == "used" for fact in decoded]]
        pictures = np.asarray(pictures, np.uint8).reshape(-1, self.image_size, self.image_size, 3)
        new = self.path(i).with_suffix(f".{os.getpid()}")
        with open(new, "wb") as file:
            np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), pictures=pictures)
        os.replace(
            new, self.path(i)
        )  # not flushed to the disk: what a power failure spoils, the CRC-32 shows
        return len(entries)

    def facts(self, i: int) -> list[dict]:
        """What is known of each file of shard i: the columns of files.csv that do not depend on other files."""
        return json.loads(self._load(i, "facts").tobytes().decode())

    def pictures(self, i: int) -> np.ndarray:
        return self._load(i, "pictures")

    def _load(self, i: int, what: str):
        try:
            with np.load(self.path(i), allow_pickle=False) as shard:
                return shard[what]  # checked against the CRC-32 that the zip inside keeps
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            self.path(i).unlink(missing_ok=True)
            raise Spoiled(f"{self.path(i)} was damaged") from error

    def complete(self, progress=None, workers=None):
        """Make every shard that is missing. workers: processes, None or 0 for one a core; few files use none."""
        missing = [i for i in range(len(self)) if not self.path(i).exists()]
        done = self.files - sum(self._count(i) for i in missing)
        workers = workers or cores()
        if workers == 1 or len(missing) * FILES < MANY:
            made = self._make(missing)
        else:
            made = torch.utils.data.DataLoader(
                self, batch_size=None, sampler=missing, num_workers=workers, worker_init_fn=die_with_parent
            )
        try:
            for count in made:
                done += count
                if progress:
                    progress(done, self.files, "reading photographs")
        except (OSError, RuntimeError) as error:  # the disk is full, or a decoding process was killed
            last = str(error).strip().splitlines()[-1]
            raise KoalaError(
                f"preparation stopped ({last}): run it again, what is finished is kept."
            ) from error

    def _count(self, i: int) -> int:
        return min(FILES, self.files - i * FILES)

    def _make(self, missing):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in other processes: the last bit of a sum may depend on it
        try:
            yield from (self[i] for i in missing)
        finally:
            torch.set_num_threads(threads)


def examine(entry: dict, image_size: int, fit: str):
    """(picture (S, S, 3) uint8 or None, facts) of one listed file. Never raises for a bad file."""
    fact = {key: entry[key] for key in ("path", "category", "group")} | {
        "status": "refused",
        "reason": entry["problem"],
        "sha256": "",
        "width": 0,
        "height": 0,
        "chroma": None,
    }
    if entry["problem"]:
        return None, fact
    try:
        data = read(entry)
    except (OSError, EOFError, zlib.error) as error:
        fact["reason"] = f"unreadable ({getattr(error, 'strerror', None) or error})"
        return None, fact
    box = entry["where"] if entry["kind"] == "file" else []
    digest = hashlib.sha256(data)
    if box:
        digest.update(repr(box).encode())  # crops of one file are different photographs
    fact["sha256"] = digest.hexdigest()
    try:
        if entry["kind"] == "planes":
            picture, notes, size = resize(stl10.pixels(data), image_size), [], (stl10.SIDE, stl10.SIDE)
        else:
            picture, notes, size = square(data, image_size, fit, box)
    except KoalaError as error:
        fact["reason"] = str(error)
        return None, fact
    fact["status"], fact["reason"] = "used", "; ".join(notes)
    fact["width"], fact["height"] = size
    return picture, fact


def measure(pictures: np.ndarray, facts: list[dict]) -> None:
    """Fill in perceptual hash and mean chroma sqrt(a*^2 + b*^2) (of a grid of about 16x16 pixels), and who is gray.

    pictures (n, S, S, 3) uint8; facts: one dict a picture, changed in place."""
    step = max(1, pictures.shape[1] // 16)
    ab = _ab(pictures[:, ::step, ::step])  # (n, 2, ~16, ~16)
    chroma = ab.square().sum(1).sqrt().mean((1, 2)).tolist()
    strongest = ab.abs().amax((1, 2, 3)).tolist()
    hashes = perceptual_hash(pictures).tolist()
    for i, fact in enumerate(facts):
        fact["chroma"], fact["hash"] = round(chroma[i], 2), hashes[i]
        # Where the grid shows no colour, every pixel is looked at.
        if strongest[i] <= GRAY and _is_gray(pictures[i]):
            fact["status"] = "gray"


def _is_gray(picture: np.ndarray) -> bool:
    """Whether no pixel of a picture (S, S, 3) uint8 has |a*| or |b*| above GRAY; three equal channels have neither."""
    equal = (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    return bool(equal or _ab(picture[None]).abs().max() <= GRAY)


def _ab(pictures: np.ndarray) -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(pictures).permute(0, 3, 1, 2))[:, 1:]
