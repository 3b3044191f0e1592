"""The record of one file: where its bytes are (Entry), then what is known of it, one line of files.csv (Record)."""

import dataclasses
import json

from koala.data.reasons import Reason


@dataclasses.dataclass(frozen=True)
class Member:
    """Where a file is inside an archive: its first byte; for a zip also the bytes stored, how they are compressed,
    and the CRC-32 of its content and of its name."""

    offset: int
    stored: int = 0
    method: int = 0
    crc: int = 0
    name_crc: int = 0


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file that a source holds, before it is read.

    path: as shown, inside the source; place: the file or archive on disk; kind: file, zip or tar; size: bytes;
    group: of photographs that stay in one split ("": none); problem: why it is refused unread; member: where it
    is in an archive; box: (left, top, side) of a crop in pixels."""

    path: str
    place: str
    kind: str
    size: int
    category: str = ""
    group: str = ""
    problem: Reason | None = None
    member: Member | None = None
    box: tuple[int, int, int] | None = None

    def but(self, **changes) -> "Entry":
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass
class Record:
    """What is known of one file: the columns of files.csv, and a perceptual hash. status: used, gray, duplicate or
    refused; chroma: mean sqrt(a*^2 + b*^2); row: in images.npy, "" where it is not used."""

    path: str
    category: str
    group: str
    status: str = "refused"
    reasons: list[Reason] = dataclasses.field(default_factory=list)
    sha256: str = ""
    width: int = 0
    height: int = 0
    chroma: float | None = None
    hash: int = 0
    split: str = ""
    row: int | str = ""


def dump(records: list) -> bytes:
    """Entries or Records as one line of JSON."""
    return json.dumps(records, default=lambda record: list(vars(record).values())).encode()


def load_entries(line: bytes) -> list[Entry]:
    def entry(path, place, kind, size, category, group, problem, member, box):
        problem, member = problem and Reason(*problem), member and Member(*member)
        return Entry(path, place, kind, size, category, group, problem, member, box and tuple(box))

    return [entry(*values) for values in json.loads(line)]


def load_records(line: bytes) -> list[Record]:
    records = [Record(*values) for values in json.loads(line)]
    for record in records:
        record.reasons = [Reason(*reason) for reason in record.reasons]
    return records
