"""The colours of a data set, and what its source has that is not used: the numbers behind data.ipynb's figures."""

import contextlib
import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import torch
from PIL import ImageOps

from koala import metrics
from koala.data.archives import read
from koala.data.dataset import Photos, files
from koala.data.decode import LARGEST, open_image
from koala.data.examine import examine
from koala.data.reasons import label
from koala.data.sources import entries
from koala.lab import rgb_to_lab
from koala.system.errors import KoalaError

MOST, PIXELS = 4000, 256  # photographs of a sample, and pixels of each
STEP = 5  # of L*
SIDE, SHOWN = 96, 5  # pixels of a photograph that was left out, and how many are shown of each kind


@dataclasses.dataclass(frozen=True)
class Sample:
    """Pixels of some photographs. lab: (M, P, 3) float32, P = PIXELS of each; rows: (M,) their rows; categories: (M,)."""

    lab: np.ndarray
    rows: np.ndarray
    categories: np.ndarray


def sample(photos: Photos) -> Sample:
    """PIXELS random pixels of each of the first MOST photographs of the training split (rows are in random order)."""
    rows = photos.rows("train")[:MOST]
    size = photos.images.shape[1]
    place = np.random.default_rng(0).integers(0, size * size, (len(rows), PIXELS))
    lab = np.empty((len(rows), PIXELS, 3), np.float32)
    for i in range(0, len(rows), 256):
        here = slice(i, i + 256)
        flat = photos.images[rows[here]].reshape(len(rows[here]), -1, 3)
        chosen = np.take_along_axis(flat, place[here, :, None], 1)  # (n, P, 3)
        lab[here] = rgb_to_lab(torch.from_numpy(chosen).permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1)
    return Sample(lab, rows, photos.files["category"].to_numpy()[rows].astype(object))


def by_lightness(sample: Sample) -> pd.DataFrame:
    """Mean a*, mean b*, mean chroma and share of pixels for each STEP of L*: what lightness alone says of colour."""
    lab = sample.lab.reshape(-1, 3)
    table = pd.DataFrame(lab, columns=["L", "a", "b"])
    table["chroma"] = np.hypot(lab[:, 1], lab[:, 2])
    groups = table.groupby((table["L"] // STEP * STEP).clip(0, 100 - STEP) + STEP / 2)
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
    the last row is for the whole sample."""
    pixels = torch.from_numpy(sample.lab).movedim(-1, 1)[..., None]  # (M, 3, pixels, 1)
    table = pd.DataFrame(
        {hue: share.numpy() for hue, share in metrics.hue_shares(pixels).items()}, dtype=float
    )
    table["gray"] = 1 - table.sum(axis=1)
    out = table.groupby(sample.categories).mean()
    return pd.concat([out, table.mean().rename("all").to_frame().T])


def reasons(photos: Photos) -> pd.DataFrame:
    """The number of files of each status and kind of reason, with the name of one of them."""
    groups = _remarks(photos).groupby(["status", "reason"])
    return groups.agg(files=("path", "size"), example=("path", "first")).reset_index()


def left_out(photos: Photos) -> dict[str, list[np.ndarray]]:
    """{status and kind of reason: up to SHOWN photographs (SIDE, SIDE, 3) uint8, whole, on a gray ground} of files that
    are not used, or were converted, as far as they can be decoded."""
    table = _remarks(photos).groupby(["status", "reason"]).head(SHOWN)
    kinds = {line.path: f"{line.status}: {line.reason}".strip(": ") for line in table.itertuples()}
    shown = {}
    for entry in entries(photos.meta["source"], photos.meta["seed"]):
        if entry.path in kinds and not entry.problem:
            with contextlib.suppress(Exception):  # whatever a decoder says: there is nothing to show
                image = open_image(io.BytesIO(read(entry)))
                if image.width * image.height <= LARGEST:
                    image = ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="#808080")
                    shown.setdefault(kinds[entry.path], []).append(np.asarray(image))
    return shown


def compare_with_source(photos: Photos, count: int = 20) -> int:
    """Decode `count` files (evenly spaced over the source) again and compare each with its row. Returns the
    number compared; raises KoalaError where one differs."""
    row_of = dict(zip(photos.files["path"], photos.files["row"], strict=True))
    step, compared = max(1, len(row_of) // count), 0
    listing = entries(photos.meta["source"], photos.meta["seed"])
    used = (entry for entry in listing if entry.path in row_of and not entry.problem)
    for entry in itertools.islice(used, 0, step * count, step):
        row = row_of[entry.path]
        pixels, _ = examine(entry, photos.meta["image_size"], photos.meta["fit"])
        if not np.array_equal(pixels, photos.images[row]):
            raise KoalaError(f"row {row} of '{photos.name}' is not {entry.path} as it is now.")
        compared += 1
    return compared


def _remarks(photos: Photos) -> pd.DataFrame:
    """The lines of files.csv with a status other than "used" or with a reason, their reasons without details."""
    table = files(photos.name).astype({"code": str, "status": str})
    table = table[(table["code"] != "") | (table["status"] != "used")]
    return table.assign(reason=[label(codes) for codes in table["code"]])
