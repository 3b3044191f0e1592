"""Arrays that take minutes and depend on their inputs alone: computed once, stored in data/baselines with their hash."""

from collections.abc import Callable

import numpy as np

from koala.system import paths
from koala.system.errors import KoalaError


def memoized(key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that are stored under `key`, else those that compute() returns, which are stored.

    One process computes and the others wait. A file that is cut short or damaged is computed again."""
    path = paths.data_dir() / "baselines" / f"{key}.npz"
    with paths.locked(path.with_suffix(".lock")):
        if _sealed(path):
            return _read(path)
        arrays = compute()
        with paths.atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        paths.write_json(path.with_suffix(".json"), {"sha256": paths.sha256_file(path)})
    return _read(path)


def _sealed(path) -> bool:
    try:
        return paths.read_json(path.with_suffix(".json"))["sha256"] == paths.sha256_file(path)
    except (OSError, KeyError, KoalaError):
        return False


def _read(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)
