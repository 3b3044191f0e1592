"""What goes into the fusion: which dimensions of the features, and whose. Pure functions of arrays and row numbers.

The controls share everything else with the real thing: the network, its number of weights and its budget. `zero`
takes the content away and leaves the weights; `shuffled` leaves the features' distribution, too, and only gives every
picture those of another picture of its split. `category` gives every picture the mean features of its true category's
training pictures: all that a perfect classifier of the categories at hand could tell, and nothing beside it.
"""

import base64

import numpy as np

from koala.system.errors import KoalaError

SOURCES = ("image", "shuffled", "zero", "category")
REDUCTIONS = ("random", "pca")


def apply(
    array: np.ndarray,
    rows_by_split: dict[str, np.ndarray],
    source: str = "image",
    dims: int = 0,
    reduction: str = "random",
    seed: int = 0,
    categories=None,
) -> tuple[np.ndarray, dict]:
    """Features (n,D) float16 in row order -> (matrix (n,D') in row order, what was done, for JSON).

    categories: (n,) the pictures' categories, which the source "category" needs.

    dims 0 keeps all; else D' = dims, by `reduction`: a seeded random sample (of which the indices are returned), or
    PCA fitted on the rows of "train" alone (float32). `project` repeats it for other pictures.
    KoalaError: dims over the width, an unknown name, a split of one picture to shuffle, a single category."""
    for name, value, known in (
        ("feature_source", source, SOURCES),
        ("feature_reduction", reduction, REDUCTIONS),
    ):
        if value not in known:
            raise KoalaError(f"{name} must be one of {', '.join(known)}, got '{value}'.")
    meta = dict(feature_source=source, feature_dims=int(dims) or array.shape[1], feature_reduction="none")
    if dims and reduction == "pca":
        meta |= dict(feature_reduction="pca", **pca(array[rows_by_split["train"]], dims))
    elif dims:
        meta |= dict(feature_reduction="random", indices=select_dims(array.shape[1], dims, seed).tolist())
    return repeat(array, rows_by_split, meta, seed, categories), meta


def repeat(
    array: np.ndarray, rows_by_split: dict[str, np.ndarray], meta: dict, seed: int, categories=None
) -> np.ndarray:
    """What `apply` did, as `meta` tells, to other features (n,D) of the same pictures: those of their mirror images."""
    matrix = project(array, meta)
    if meta["feature_source"] == "shuffled":
        return matrix[shuffled_rows(len(array), rows_by_split, seed)]
    if meta["feature_source"] == "category":
        return category_means(matrix, rows_by_split["train"], categories)
    return matrix


def category_means(matrix: np.ndarray, train: np.ndarray, categories) -> np.ndarray:
    """(n,D) -> (n,D): each row the mean over the training rows of its category, over all training rows where its
    category has none. KoalaError where there are not two categories."""
    names, numbers = np.unique(np.asarray(categories, str), return_inverse=True)
    if len(names) < 2:
        raise KoalaError(
            "feature_source=category needs photographs of at least two categories: name a folder or an "
            "archive of category folders as dataset."
        )
    known = matrix[train].astype(np.float32)
    means = np.tile(known.mean(0), (len(names), 1))  # (categories, D)
    for number in np.unique(numbers[train]):
        means[number] = known[numbers[train] == number].mean(0)
    return means.astype(matrix.dtype)[numbers]


def project(array: np.ndarray, meta: dict) -> np.ndarray:
    """Features (n,D) of any pictures -> (n,D') as `apply` reduced them. Where a run saw zeros, zeros; shuffling is for
    splits and a new picture has no category, so runs with either get a picture's own."""
    if meta["feature_source"] == "zero":
        return np.zeros((len(array), meta["feature_dims"]), np.float16)
    if "indices" in meta:
        return array[:, np.asarray(meta["indices"])]
    if "pca_components" in meta:
        mean, components = _decode(meta["pca_mean"]), _decode(meta["pca_components"])
        return (array.astype(np.float32) - mean) @ components.reshape(-1, len(mean)).T  # (n, dims)
    return array


def select_dims(width: int, dims: int, seed: int) -> np.ndarray:
    """`dims` of `width` columns, drawn by the seed without repetition, sorted."""
    if not 1 <= dims <= width:
        raise KoalaError(
            f"feature_dims {dims} must be between 1 and the features' width {width} (0 takes all)."
        )
    return np.sort(np.random.default_rng([seed, 1]).permutation(width)[:dims])


def pca(train: np.ndarray, dims: int) -> dict:
    """Features (n,D) of the training rows -> their mean and first `dims` principal axes (base64 of float32), and the
    share of the variance that these keep. The projection is centred and rotated, not whitened."""
    if not 1 <= dims <= min(train.shape):
        raise KoalaError(
            f"feature_dims {dims} must be between 1 and {min(train.shape)} for PCA on "
            f"{train.shape[0]} training pictures of {train.shape[1]} features."
        )
    from sklearn.decomposition import PCA

    fitted = PCA(dims, svd_solver="covariance_eigh").fit(train.astype(np.float32))
    return dict(
        pca_mean=_encode(fitted.mean_),
        pca_components=_encode(fitted.components_),
        pca_variance=round(float(fitted.explained_variance_ratio_.sum()), 6),
    )


def shuffled_rows(n: int, rows_by_split: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """(n,) row numbers: for each row that of another picture of its split, fixed by the seed, each used once.

    One random cycle through the split (Sattolo 1986): no picture keeps its own. Rows of no split stay."""
    taken = np.arange(n)
    for k, (split, rows) in enumerate(sorted(rows_by_split.items())):
        if len(rows) == 1:
            raise KoalaError(
                f"the {split} split has one picture, so its features cannot be shuffled: use more pictures."
            )
        cycle = np.random.default_rng([seed, 2, k]).permutation(rows)
        taken[cycle] = np.roll(cycle, 1)
    return taken


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _decode(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")
