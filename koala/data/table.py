"""files.csv: one line for every file that a source holds, in listing order."""

import csv
import os
from pathlib import Path

import pandas as pd

from koala.data.records import Record
from koala.system.errors import KoalaError

COLUMNS = (
    "path",
    "category",
    "split",
    "status",
    "reason",  # sentences
    "sha256",
    "row",
    "group",
    "width",
    "height",
    "chroma",
    "code",  # what the reasons are called in koala.data.reasons, separated by spaces
)
CATEGORICAL = ("category", "split", "status", "code")
TEXT = ("path", "reason", "sha256", *CATEGORICAL)  # a file or a category may be called 1
TYPES = dict.fromkeys(TEXT, str) | {"group": "string", "width": "int32", "height": "int32"}


def write_table(path: Path, records) -> None:
    """Write the records (in any iterable) as files.csv, flushed to disk."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_line(record) for record in records)
        file.flush()
        os.fsync(file.fileno())


def _line(record: Record) -> list:
    derived = {
        "reason": "; ".join(map(str, record.reasons)),
        "code": " ".join(reason.code for reason in record.reasons),
    }
    return [derived[name] if name in derived else getattr(record, name) for name in COLUMNS]


def read_table(path: Path, used_only: bool = False) -> pd.DataFrame:
    """files.csv as a table: a line for every file, or for every used one."""
    empty = {"row": [""], "chroma": [""]}
    parts = pd.read_csv(path, dtype=TYPES, keep_default_na=False, chunksize=10_000, na_values=empty)
    table = pd.concat(
        [_compact(part[part["row"].notna()] if used_only else part) for part in parts], ignore_index=True
    )  # in parts: parsing takes twice the memory of the table
    return _compact(table)


def _compact(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "category" for name in CATEGORICAL if name in table})


def used_rows(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    """The lines of the used files in the order of their rows. KoalaError where they are not those of 0 to rows - 1."""
    table = table[table["row"].notna()].astype({"row": "int64"}).sort_values("row", ignore_index=True)
    if table["row"].tolist() != list(range(rows)) or set(table["status"]) - {"used"}:
        raise KoalaError(f"files.csv does not name a file for each of the {rows:,} rows of images.npy.")
    table["category"] = table["category"].cat.remove_unused_categories()
    return table
