"""Ways to colour photographs without any network, evaluated per photograph like a network's predictions.

Beside koala.metrics' gray, mean colour and colour by lightness there are three more. `category`: colour by lightness of the
photograph's true category. `category_told`: the same of the category that a linear classifier predicts from an
extractor's features. `linear`: colour by lightness plus, in each of four bands of lightness, what ridge regression
predicts from the features. A network with an extractor has earned its convolutions where it beats `linear`.

All of it is computed once and stored in data/baselines under a key that depends on the photographs, their size, split and
categories and on the features.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from koala import lab, metrics
from koala.experiment import ridge
from koala.experiment.evaluate import measured, quickest
from koala.experiment.inputs import used
from koala.experiment.memo import memoized
from koala.training.batches import at_a_time, chunks

METHODS = {
    **metrics.BASELINES,
    "category": "colour by lightness of the true category",
    "category_told": "colour by lightness of the category told from the features",
    "linear": "linear colour from the features",
}
OF_FEATURES = ("category_told", "linear")
EDGES = (25, 50, 75)  # of the bands of lightness
MOST = 112  # pixels a side that the fits use: of larger photographs every second one, third one ...
FORMAT = 1  # raise it where the same inputs would give other numbers
LEVELS = torch.bucketize(torch.arange(101.0), torch.tensor(EDGES).float(), right=True)  # band of each L*


@dataclass(frozen=True)
class Colours:
    """Colours by lightness of the training split: of all photographs (everyone) and of each category. residuals (N,4,3), of
    training and validation photographs in row order: pixels in each band of lightness, and the sums of their a* and b*
    minus colour by lightness."""

    everyone: metrics.Baselines
    categories: dict[str, metrics.Baselines]
    residuals: np.ndarray


def table(
    batches, rows: dict, files: pd.DataFrame, fingerprint: str, features=None, progress=None
) -> pd.DataFrame:
    """One line per method and photograph of rows["test"]: row, path, category, method, and what
    koala.metrics.measure returns.

    batches(rows) -> (rgb (n,3,S,S) uint8, ...), with .images (N,...); files: the data set's table; fingerprint: the data set's;
    features (N,D) in row order; without them, or with D = 0, the methods OF_FEATURES are left out, and with a single
    category those that need categories."""
    names = _names(rows, files)
    key = _key(batches, rows, names, fingerprint)
    colours = fit(batches, rows, files, fingerprint, progress)
    tables = [_judged(f"plain-{key}", batches, rows["test"], _plain(colours, names), progress)]
    if features is not None and features.shape[1]:
        own = _hash(key, features)

        def predictor():
            return _from_features(colours, rows, names, features)

        tables.append(_judged(f"features-{own}", batches, rows["test"], predictor, progress))
    lines = files[["row", "path", "category"]].merge(pd.concat(tables), on="row")
    return lines.sort_values(["method", "row"], kind="stable").reset_index(drop=True)


def fit(batches, rows: dict, files: pd.DataFrame, fingerprint: str, progress=None) -> Colours:
    """Colours by lightness of the training split, or read back. Arguments as in `table`."""
    names = _names(rows, files)
    key = _key(batches, rows, names, fingerprint)
    arrays = memoized(f"colours-{key}", lambda: _sums(batches, rows, names, progress))
    fitted = [metrics.baselines_of(torch.from_numpy(total)) for total in arrays["totals"]]
    categories = dict(zip(arrays["names"].tolist(), fitted, strict=True))
    return Colours(
        metrics.baselines_of(torch.from_numpy(arrays["totals"].sum(0))), categories, arrays["residuals"]
    )


def _names(rows, files) -> np.ndarray:
    """(N,) the categories up to the last photograph of any split."""
    return files["category"].to_numpy(str)[: used(rows)]


def _key(batches, rows, names, fingerprint) -> str:
    size = batches(rows["test"][:1])[0].shape[-1]
    return _hash(
        FORMAT,
        fingerprint,
        size,
        *(rows[split] for split in sorted(rows)),
        *np.unique(names, return_inverse=True),
    )


def _sums(batches, rows, names, progress) -> dict[str, np.ndarray]:
    """names (C,) of the training split's categories, totals (C,101,3) of koala.metrics.colour_sums, residuals (N,4,3)."""
    members = np.concatenate([rows["train"], rows["validation"]])
    sums, size = np.zeros((len(members), 101, 3), np.float32), at_a_time(batches.images)
    for start, part in zip(range(0, len(members), size), chunks(members, size), strict=True):
        sums[start : start + len(part)] = metrics.colour_sums(thinned(batches(part)[0])).cpu()
        if progress:
            progress(start + len(part), len(members), "baselines")
    known, place = np.unique(names[rows["train"]], return_inverse=True)
    of_train = sums[: len(rows["train"])]
    totals = np.stack([of_train[place == i].sum(0, dtype=np.float64) for i in range(len(known))])
    by_lightness = metrics.baselines_of(torch.from_numpy(totals.sum(0))).ab_by_lightness.numpy()
    sums[..., 1:] -= sums[..., :1] * by_lightness
    residuals = np.zeros((len(names), len(EDGES) + 1, 3), np.float32)
    residuals[members] = np.stack([sums[:, LEVELS == band].sum(1) for band in range(len(EDGES) + 1)], 1)
    return {"names": known, "totals": totals, "residuals": residuals}


def thinned(rgb: torch.Tensor) -> torch.Tensor:
    """Every k-th pixel of every k-th line, so that a side has at most MOST: 10^8 pixels have the mean colour of 10^9."""
    step = -(-rgb.shape[-1] // MOST)
    return rgb[..., ::step, ::step]


def _plain(colours: Colours, names: np.ndarray):
    """-> a function that makes a function (row numbers (n,), L (n,1,S,S)) -> {method: a*b* (n,2,S,S)}."""

    def predict(rows, L):
        predictions = {name: colours.everyone.predict(name, L) for name in metrics.BASELINES}
        if len(colours.categories) > 1:
            predictions["category"] = by_category(colours, names[rows], L)
        return predictions

    return lambda: predict


def by_category(colours: Colours, names, L: torch.Tensor) -> torch.Tensor:
    """Colour by lightness of each photograph's category; of all photographs where the training split does not have it."""
    fitted = [colours.categories.get(name, colours.everyone).ab_by_lightness for name in names]
    return metrics.by_lightness(torch.stack(fitted), L)


def _from_features(colours: Colours, rows: dict, names: np.ndarray, features: np.ndarray):
    """As `_plain`, from the features."""
    told = tell(features, names, rows) if len(colours.categories) > 1 else None
    moved = linear_colour(colours, rows, features)

    def predict(members, L):
        predictions = {"linear": shifted(colours, L, moved(members))}
        if told is not None:
            predictions["category_told"] = by_category(colours, told(members), L)
        return predictions

    return predict


def shifted(colours: Colours, L: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Colour by lightness of L (n,1,S,S), moved by shift (n,4,2), a*b* for each band of lightness: a*b* (n,2,S,S)."""
    tables = colours.everyone.ab_by_lightness + shift.cpu()[:, LEVELS]  # (n, 101, 2)
    return metrics.by_lightness(tables, L)


def linear_colour(colours: Colours, rows: dict, features: np.ndarray, others: np.ndarray | None = None):
    """Ridge regression from the features to the mean of a*b* minus colour by lightness in each band, weighted by a
    photograph's pixels there: a function of row numbers -> (n,4,2). The penalty is the best on the validation split.

    others: features of other photographs, to which the row numbers then refer."""
    counts, sums = colours.residuals[..., :1], colours.residuals[..., 1:]
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    share = counts[..., 0] / np.maximum(counts[..., 0].sum(1, keepdims=True), 1)  # (N, 4)
    fitted = [ridge.fit(features, means[:, band], rows, share[:, band]) for band in range(counts.shape[1])]
    told = features if others is None else others
    return lambda members: torch.stack([model(told[members]) for model in fitted], 1)


def tell(features: np.ndarray, names: np.ndarray, rows: dict):
    """A ridge classifier of categories, fitted on the training split: a function of row numbers -> names (n,)."""
    known = np.unique(names[rows["train"]])
    targets = np.where(names[:, None] == known, 1, -1).astype(np.int8)  # (N, C)
    model = ridge.fit(features, targets, rows)
    return lambda members: known[model(features[members]).argmax(1).numpy()]


def _judged(key, batches, rows, make_predictor, progress) -> pd.DataFrame:
    """Metrics of the predictor's methods on `rows`, computed or read back: row, method, and the metrics."""

    def compute():
        return judged(batches, rows, make_predictor(), progress)

    return pd.DataFrame(memoized(key, compute))


def judged(batches, rows: np.ndarray, predict, progress=None) -> dict[str, np.ndarray]:
    """Columns row, method and the metrics, of predict(row numbers (n,), L (n,1,S,S)) -> {method: a*b* (n,2,S,S)} on `rows`."""
    parts, done, quick = [], 0, quickest(batches, rows)
    for part in chunks(rows, at_a_time(batches.images)):
        done += len(part)
        rgb = batches(part)[0]
        parts.append(measured(part, rgb, predict(part, lab.rgb_to_lab(rgb)[:, :1]), quick))
        if progress:
            progress(done, len(rows), "judging baselines")
    lines = pd.concat(parts)
    return {name: lines[name].to_numpy(str if name == "method" else None) for name in lines}


def _hash(*parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype.kind in "fiu":
            digest.update(f"{part.dtype}{part.shape}".encode())
            for rows in np.array_split(part, max(1, part.nbytes // 2**24)):
                digest.update(np.ascontiguousarray(rows))
        else:
            digest.update(repr(part.tolist() if isinstance(part, np.ndarray) else part).encode())
        digest.update(b"|")
    return digest.hexdigest()[:16]
