"""Decoding in parallel: every 256 files become one file of photographs and records, written atomically.

After a kill, the finished ones are reused. What they hold depends on the source and the parameters alone, so the result
is the same to the bit.
"""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from koala.data.examine import examine, measure
from koala.data.records import Entry, Record, dump, load_entries, load_records
from koala.system.errors import KoalaError
from koala.system.processes import cores, die_with_parent

FILES = 256  # in a shard
MANY = 2000  # files: fewer are not worth the start of other processes


class Spoiled(Exception):
    """A shard failed its checksum and was deleted."""


class Shards:
    """The shards of one preparation, as a map-style data set: item i makes shard i and returns its number of files.

    listing: a file with one line per shard (records.dump of its entries); starts: the byte where each line begins;
    files: how many files there are in all."""

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

    def entries(self, i: int) -> list[Entry]:
        with open(self.listing, "rb") as file:
            file.seek(self.starts[i])
            return load_entries(file.readline())

    def __getitem__(self, i: int) -> int:
        examined = [examine(entry, self.image_size, self.fit) for entry in self.entries(i)]
        records = [record for _, record in examined]
        photographs = [pixels for pixels, _ in examined if pixels is not None]
        if photographs:
            photographs = np.stack(photographs)  # (n, S, S, 3)
            decoded = [record for record in records if record.status == "used"]
            measure(photographs, decoded)
            if not self.keep_gray:
                photographs = photographs[[record.status == "used" for record in decoded]]
        photographs = np.asarray(photographs, np.uint8).reshape(-1, self.image_size, self.image_size, 3)
        new = self.path(i).with_suffix(f".{os.getpid()}")
        with open(new, "wb") as file:
            np.savez(file, records=np.frombuffer(dump(records), np.uint8), photographs=photographs)
        os.replace(new, self.path(i))  # not flushed to disk: the CRC-32 shows what a power failure spoils
        return len(records)

    def records(self, i: int) -> list[Record]:
        """The records of the files of shard i, as far as they do not depend on other files."""
        return load_records(self._load(i, "records").tobytes())

    def record(self, n: int) -> Record:
        """The record of the n-th file of the listing."""
        return self.records(n // FILES)[n % FILES]

    def photographs(self, i: int) -> np.ndarray:
        """(n, S, S, 3) uint8: what shard i can contribute to images.npy."""
        return self._load(i, "photographs")

    def _load(self, i: int, what: str):
        try:
            with np.load(self.path(i), allow_pickle=False) as shard:
                return shard[what]  # checked against the CRC-32 that the zip inside keeps
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            self.path(i).unlink(missing_ok=True)
            raise Spoiled(f"{self.path(i)} was damaged") from error

    def complete(self, progress=None, workers=None):
        """Make every shard that is missing. workers: processes, None or 0 for one per core; few files are read without any."""
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
