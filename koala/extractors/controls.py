"""What enters the fusion: which dimensions of the features, and of which photograph. Pure functions of arrays.

Everything else is the same for a control and for the real features: the network, its number of weights and its budget.
`zero` removes the content and keeps the weights; `shuffled` also keeps the features' distribution, and gives every
photograph those of another one of its split; `category` gives every photograph the mean features of its true category's
training photographs: all that a perfect classifier of these categories could know, and nothing else.
"""

import numpy as np

from koala.system.errors import KoalaError

SOURCES = ("image", "shuffled", "zero", "category")


def apply(
    features: np.ndarray,
    rows_by_split: dict[str, np.ndarray],
    source: str = "image",
    dims: int = 0,
    seed: int = 0,
    categories=None,
    centre: bool = False,
) -> tuple[np.ndarray, dict]:
    """Features (n,D) float16 in row order -> (features (n,D') in row order, what was done, for JSON).

    dims 0 keeps all; else D' = dims, a seeded random sample whose indices are returned. `project` repeats it for other
    photographs. categories: (n,) the photographs' categories, which the source "category" needs. centre: take off each
    dimension's mean over the training rows, which is returned, too.
    KoalaError: dims over the width, an unknown source, a split of one photograph to shuffle, a single category."""
    if source not in SOURCES:
        raise KoalaError(f"feature_source must be one of {', '.join(SOURCES)}, not '{source}'.")
    applied = dict(feature_source=source, feature_dims=int(dims) or features.shape[1])
    if centre:
        applied["mean"] = features[rows_by_split["train"]].mean(0, dtype=np.float64).round(4).tolist()
    if dims:
        applied["indices"] = select_dims(features.shape[1], dims, seed).tolist()
    reduced = project(features, applied)
    if source == "shuffled":
        reduced = reduced[shuffled_rows(len(features), rows_by_split, seed)]
    elif source == "category":
        reduced = category_means(reduced, rows_by_split["train"], categories)
    return reduced, applied


def category_means(features: np.ndarray, train: np.ndarray, categories) -> np.ndarray:
    """(n,D) -> (n,D): each row the mean over the training rows of its category, over all training rows where its
    category has none. KoalaError where there are not two categories."""
    names, numbers = np.unique(np.asarray(categories, str), return_inverse=True)
    if len(names) < 2:
        raise KoalaError(
            "feature_source=category needs photographs of at least two categories: name a folder or an "
            "archive of category folders as dataset."
        )
    known = features[train].astype(np.float32)
    means = np.tile(known.mean(0), (len(names), 1))  # (categories, D)
    for number in np.unique(numbers[train]):
        means[number] = known[numbers[train] == number].mean(0)
    return means.astype(features.dtype)[numbers]


def project(features: np.ndarray, applied: dict) -> np.ndarray:
    """Features (n,D) of any photographs -> (n,D') as `apply` reduced them.

    Zero runs get zeros. Shuffled and category runs get the photograph's own features, as both controls are defined on
    the data set only."""
    if applied["feature_source"] == "zero":
        return np.zeros((len(features), applied["feature_dims"]), np.float16)
    if "mean" in applied:
        features = (features - np.asarray(applied["mean"], np.float32)).astype(features.dtype)
    return features[:, np.asarray(applied["indices"])] if "indices" in applied else features


def select_dims(width: int, dims: int, seed: int) -> np.ndarray:
    """`dims` of `width` columns, a seeded sample without repetition, sorted."""
    if not 1 <= dims <= width:
        raise KoalaError(
            f"feature_dims {dims} must be between 1 and the features' width {width} (0 takes all)."
        )
    return np.sort(np.random.default_rng([seed, 1]).permutation(width)[:dims])


def shuffled_rows(n: int, rows_by_split: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """(n,) row numbers: for each row that of another photograph of its split, by the seed, each used once.

    One random cycle through the split (Sattolo 1986): no photograph keeps its own. Rows of no split stay."""
    taken = np.arange(n)
    for k, (split, rows) in enumerate(sorted(rows_by_split.items())):
        if len(rows) == 1:
            raise KoalaError(
                f"the {split} split has one photograph, so its features cannot be shuffled: use more photographs."
            )
        cycle = np.random.default_rng([seed, 2, k]).permutation(rows)
        taken[cycle] = np.roll(cycle, 1)
    return taken
