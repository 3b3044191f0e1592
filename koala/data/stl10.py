"""STL-10's archive: photographs of 96x96 as bare bytes, one after the other, in three large files."""

import numpy as np

from koala.data.archives import read

SIDE = 96
BYTES = 3 * SIDE * SIDE


def pieces(listing: list[dict]) -> list[dict]:
    """An entry for every photograph inside *_X.bin, with its class of *_y.bin as category."""
    by_name = {entry["path"].rpartition("/")[2]: entry for entry in listing}
    names = read(by_name["class_names.txt"]).decode().split() if "class_names.txt" in by_name else []
    out = []
    for name, entry in sorted(by_name.items()):
        if not name.endswith("_X.bin"):
            out.append(entry | {"problem": "part of STL-10 that is no photograph"})
            continue
        labels = by_name.get(name.replace("_X", "_y"))
        labels = np.frombuffer(read(labels), np.uint8) - 1 if labels else None
        for i in range(entry["size"] // BYTES):
            category = names[labels[i]] if labels is not None and names else "unlabeled"
            out.append(
                entry
                | {
                    "path": f"{name}#{i:06d}",
                    "category": category,
                    "kind": "planes",
                    "size": BYTES,
                    "where": [entry["where"][0] + i * BYTES],
                }
            )
    return out


def pixels(data: bytes) -> np.ndarray:
    """(96, 96, 3) uint8: the bytes are column by column, colour after colour."""
    return np.frombuffer(data, np.uint8).reshape(3, SIDE, SIDE).transpose(2, 1, 0)
