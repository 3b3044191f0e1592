"""A painter judged as its users see it: held-out photographs of a data set, coloured at their stored size, beside what needs no
network."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from koala import config as configs
from koala import data, lab, metrics
from koala.colorize.painter import Painter, colour
from koala.data.dataset import prepared
from koala.experiment import baselines, evaluate, load_inputs, starting
from koala.system.errors import KoalaError
from koala.training.batches import make_batches

METHODS = {"model": "the network", **metrics.BASELINES, "linear": baselines.METHODS["linear"]}
FEWEST = 100  # photographs from which a set is judged and its photographs are drawn; fewer are only shown
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """photos; rows: of train, validation and test. Test and validation hold no file that the network was trained on; dropped:
    how many of them it was."""

    photos: data.Photos
    rows: dict[str, np.ndarray]
    dropped: int

    @property
    def judged(self) -> bool:
        return len(self.rows["test"]) >= FEWEST


def held_out(painter: Painter, name: str, most: int, fit: int) -> HeldOut:
    """The data set NAME or NAME:SIZE (pixels, by default as prepared) for judging `painter` on.

    most: test photographs at most. fit: photographs from which the baselines are made, at most. The rows of a data set
    stand in a random order, so that the first ones are a draw. A file is known by its sha256. Raises KoalaError where the
    set has no test photograph that the network has not seen."""
    name, _, size = name.partition(":")
    as_prepared = not size and name in prepared()
    photos = data.load(name) if as_prepared else data.find(name, int(size or painter.config.image_size))
    known = starting.seen(dataclasses.asdict(painter.config), painter.env)
    new = ~photos.files["sha256"].isin(known).to_numpy()
    rows = {split: photos.rows(split, fit or None) for split in data.SPLITS}
    kept = {split: rows[split][new[rows[split]]] for split in ("validation", "test")}
    dropped = sum(len(rows[split]) - len(kept[split]) for split in kept)
    rows |= kept | {"test": kept["test"][:most]}
    if not all(len(members) for members in rows.values()):
        raise KoalaError(f"'{name}' has no held-out photograph that the network has not been trained on.")
    return HeldOut(photos, rows, dropped)


def colour_rows(painter: Painter, photos: data.Photos, rows: np.ndarray) -> np.ndarray:
    """The photographs coloured, (n,S,S,3) uint8."""
    return np.stack([colour(painter, photos.images[row]) for row in rows])


def measure(painter: Painter, photos: data.Photos, rows: np.ndarray, size: int = 0) -> pd.DataFrame:
    """One line per photograph: row, method ("model"), and what koala.metrics.measure returns."""
    parts = []
    for row in rows:
        rgb, coloured = (
            torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
            for picture in (photos.images[row], colour(painter, photos.images[row], size))
        )
        ab = lab.rgb_to_lab(coloured)[:, 1:]
        parts.append(evaluate.measured([row], rgb, {"model": ab}))
    return pd.concat(parts, ignore_index=True)


def beside_baselines(painter: Painter, held: HeldOut) -> pd.DataFrame:
    """The lines of `measure` on the test rows for every one of METHODS: the network and what needs none.

    The baselines are fitted on the data set's own training split, which the network may never have seen: a strict
    comparison. Linear colour comes from the features of the network's extractor."""
    config = configs.from_dict(
        configs.RunConfig,
        {"backbone": painter.config.backbone, "weights": painter.config.weights, "layer": "features"}
        if painter.config.backbone != "none"
        else {"backbone": "none"},
    )
    inputs = load_inputs(config, held.photos, held.rows, CPU)
    batches = make_batches(held.photos.images, inputs.features, CPU)
    table = baselines.table(batches, held.rows, held.photos.files, held.photos.fingerprint, inputs.features)
    own = measure(painter, held.photos, held.rows["test"])
    lines = pd.concat([own, table[table["method"].isin(list(METHODS))]], ignore_index=True)
    return lines.drop(columns=["path", "category"])


def difference(lines: pd.DataFrame, method: str) -> tuple[float, float]:
    """The network minus `method` in CIEDE2000: mean over photographs, and half of its 95 % interval (paired, normal)."""
    wide = lines.pivot(index="row", columns="method", values="ciede2000")
    apart = wide["model"] - wide[method]
    return float(apart.mean()), float(1.96 * apart.std() / np.sqrt(len(apart)))


def best_size(painter: Painter, held: HeldOut, sizes: list[int], most: int) -> pd.DataFrame:
    """CIEDE2000, chroma and colourfulness of the validation photographs at several working sizes: a line each, best first."""
    lines = []
    for size in sizes:
        table = measure(painter, held.photos, held.rows["validation"][:most], size)
        names = ["ciede2000", "colourfulness", "colourfulness_true"]
        lines.append({"size": size, **table[names].mean(), "photographs": len(table)})
    return pd.DataFrame(lines).sort_values("ciede2000", ignore_index=True)
