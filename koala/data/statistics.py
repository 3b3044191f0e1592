"""The colours of a data set, and what is not used of its source: the numbers behind data.ipynb's figures."""

import contextlib
import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import torch
from PIL import ImageOps

from koala.data.dataset import Photos, files
from koala.data.decode import LARGEST, open_image
from koala.data.examine import examine
from koala.data.reasons import label
from koala.data.sources import entries, read
from koala.lab import rgb_to_lab
from koala.metrics import HUES, MIN_CHROMA
from koala.system.errors import KoalaError


@dataclasses.dataclass(frozen=True)
class Sample:
    """Pixels of some photographs. lab: (M, P, 3) float32, P pixels of each; rows: (M,) their rows; categories: (M,)."""

    lab: np.ndarray
    rows: np.ndarray
    categories: np.ndarray


def sample(
    photos: Photos, split: str = "train", most: int = 4000, pixels: int = 256, seed: int = 0
) -> Sample:
    """`pixels` random pixels of each of the first `most` photographs of a split (rows are in random order)."""
    rows = photos.rows(split)[:most]
    size = photos.images.shape[1]
    place = np.random.default_rng(seed).integers(0, size * size, (len(rows), pixels))
    lab = np.empty((len(rows), pixels, 3), np.float32)
    for i in range(0, len(rows), 256):
        here = slice(i, i + 256)
        flat = photos.images[rows[here]].reshape(len(rows[here]), -1, 3)
        chosen = np.take_along_axis(flat, place[here, :, None], 1)  # (n, P, 3)
        lab[here] = rgb_to_lab(torch.from_numpy(chosen).permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1)
    return Sample(lab, rows, photos.files["category"].to_numpy()[rows].astype(object))


def by_lightness(sample: Sample, step: int = 5) -> pd.DataFrame:
    """Mean a*, mean b*, mean chroma and share of pixels for each `step` of L*: what lightness alone says of colour."""
    lab = sample.lab.reshape(-1, 3)
    table = pd.DataFrame(lab, columns=["L", "a", "b"])
    table["chroma"] = np.hypot(lab[:, 1], lab[:, 2])
    groups = table.groupby((table["L"] // step * step).clip(0, 100 - step) + step / 2)
    means = groups[["a", "b", "chroma"]].mean()
    return means.assign(share=groups.size() / len(table)).rename_axis("L").reset_index()


def by_category(photos: Photos) -> pd.DataFrame:
    """For each category: its photographs, their mean chroma, and the row of the one nearest to that; most colourful first."""
    table = photos.files[["category", "row", "chroma"]]
    groups = table.groupby("category", observed=True)["chroma"]
    distance = (table["chroma"] - groups.transform("mean")).abs()
    typical = table.loc[distance.groupby(table["category"], observed=True).idxmin()].set_index("category")[
        "row"
    ]
    out = pd.DataFrame({"photographs": groups.size(), "chroma": groups.mean(), "typical_row": typical})
    return out.sort_values("chroma", ascending=False).reset_index()


def hue_shares(sample: Sample) -> pd.DataFrame:
    """Share of the pixels of each category (rows) in each hue sector of koala.metrics, and `gray` (chroma up to 10);
    the last row is the whole sample."""
    a, b = sample.lab[..., 1], sample.lab[..., 2]
    sector = np.searchsorted(list(HUES.values()), np.degrees(np.arctan2(b, a)) % 360, side="right") - 1
    sector[np.hypot(a, b) <= MIN_CHROMA] = len(HUES)
    counts = np.stack([(sector == i).mean(1) for i in range(len(HUES) + 1)], 1)  # (M, hues + 1)
    table = pd.DataFrame(counts, columns=[*HUES, "gray"])
    out = table.groupby(sample.categories).mean()
    return pd.concat([out, table.mean().rename("all").to_frame().T])


def reasons(photos: Photos) -> pd.DataFrame:
    """How many files there are of each status and kind of reason, with one of them by name."""
    groups = _remarks(photos).groupby(["status", "reason"])
    return groups.agg(files=("path", "size"), example=("path", "first")).reset_index()


def left_out(photos: Photos, size: int = 96, most: int = 5) -> dict[str, list[np.ndarray]]:
    """{status and kind of reason: up to `most` photographs (size, size, 3) uint8, whole, on a gray ground} of files that
    are not used, or were converted, where there is anything to see."""
    table = _remarks(photos).groupby(["status", "reason"]).head(most)
    kinds = {line.path: f"{line.status}: {line.reason}".strip(": ") for line in table.itertuples()}
    shown = {}
    for entry in entries(photos.meta["source"], photos.meta["seed"]):
        if entry.path in kinds and not entry.problem:
            with contextlib.suppress(Exception):  # whatever a decoder says: there is nothing to show
                image = open_image(io.BytesIO(read(entry)))
                if image.width * image.height <= LARGEST:
                    image = ImageOps.pad(image.convert("RGB"), (size, size), color="#808080")
                    shown.setdefault(kinds[entry.path], []).append(np.asarray(image))
    return shown


def compare_with_source(photos: Photos, count: int = 20) -> int:
    """Decode `count` files (evenly spaced over the source) again and compare each with its row. Gives how many
    were compared; raises KoalaError where one differs."""
    row_of = dict(zip(photos.files["path"], photos.files["row"], strict=True))
    step, compared = max(1, len(row_of) // count), 0
    listing = entries(photos.meta["source"], photos.meta["seed"])
    used = (entry for entry in listing if entry.path in row_of and not entry.problem)
    for entry in itertools.islice(used, 0, step * count, step):
        row = row_of[entry.path]
        picture, _ = examine(entry, photos.meta["image_size"], photos.meta["fit"])
        if not np.array_equal(picture, photos.images[row]):
            raise KoalaError(f"row {row} of '{photos.name}' is not {entry.path} as it is now.")
        compared += 1
    return compared


def _remarks(photos: Photos) -> pd.DataFrame:
    """The lines of files.csv that say anything but "used", their reasons without details."""
    table = files(photos.name).astype({"code": str, "status": str})
    table = table[(table["code"] != "") | (table["status"] != "used")]
    return table.assign(reason=[label(codes) for codes in table["code"]])
