"""The split into train, validation and test: 80:10:10, stratified by category, groups together, stable."""

import hashlib

import numpy as np

from koala.system.errors import KoalaError

SPLITS = ("train", "validation", "test")
SHARES = np.array([0.8, 0.1, 0.1])


def ranks(keys, seed: int, salt: str) -> np.ndarray:
    """(N,) uint64: a hash of each key (any text or bytes): a random order that never changes.

    `salt` makes the order of rows independent of the order that decides the split."""
    start = f"{salt} {seed} ".encode()
    codes = (key.encode() if isinstance(key, str) else bytes(key) for key in keys)
    return np.frombuffer(b"".join(hashlib.sha256(start + code).digest()[:8] for code in codes), ">u8").astype(
        np.uint64
    )


def apportion(quota) -> np.ndarray:
    """Round a quota (3 numbers with a whole sum) to whole numbers with the same sum, by largest remainder."""
    quota = np.asarray(quota, float)
    whole = np.floor(quota + 1e-9).astype(int)
    missing = round(quota.sum()) - whole.sum()
    order = np.argsort(-(quota - whole), kind="stable")
    whole[order[:missing]] += 1
    return whole


def split(category, group, rank) -> np.ndarray:
    """Split of each photograph as (N,) int8 into SPLITS.

    category, group: (N,) integer ids; rank: (N,) numbers that order photographs. A group (mostly a single
    photograph) goes to one split, under the category of its first member. The remainder of rounding in one category is
    carried to the next, so that the totals are those of 80:10:10 rounded once (105,321 -> 84,257 / 10,532 / 10,532) as
    long as there are enough single photographs. Raises KoalaError where a split would stay empty."""
    category, group, rank = map(np.asarray, (category, group, rank))
    order = np.lexsort((rank, group))
    _, first, size = np.unique(group[order], return_index=True, return_counts=True)
    unit_category, unit_rank = category[order][first], rank[order][first]
    if len(first) < 3:
        raise KoalaError(
            f"three splits need at least 3 photographs that are not copies or crops of one another; "
            f"there are {len(first)}."
        )
    unit_split = np.empty(len(first), np.int8)
    carry = np.zeros(3)
    walk = np.lexsort((unit_rank, unit_category))
    for units in np.split(walk, np.flatnonzero(np.diff(unit_category[walk])) + 1):
        quota = carry + SHARES * size[units].sum()
        unit_split[units] = _within(size[units], quota)
        carry = quota - np.bincount(unit_split[units], weights=size[units], minlength=3)
    _fill_empty(unit_split, size, unit_rank)
    out = np.empty(len(group), np.int8)
    out[order] = np.repeat(unit_split, size)
    return out


def _within(size, quota) -> np.ndarray:
    """Splits of one category's units in rank order: first groups, by the middle of their range, then single ones exactly."""
    out = np.empty(len(size), np.int8)
    several = size > 1
    total = size[several].sum()
    if total:
        share = np.clip(quota, 0, None)
        bounds = np.cumsum(share / share.sum())[:2] * total
        middle = np.cumsum(size[several]) - size[several] / 2
        out[several] = np.searchsorted(bounds, middle, side="right")
    left = np.clip(quota - np.bincount(out[several], weights=size[several], minlength=3), 0, None)
    singles = int((~several).sum())
    counts = apportion(left * (singles / left.sum())) if singles and left.sum() else np.array([singles, 0, 0])
    out[~several] = np.repeat(np.arange(3), counts)
    return out


def _fill_empty(unit_split, size, unit_rank):
    """Give an empty split one unit (the smallest, then the first by rank) of the split that has the most units."""
    for missing in range(3):
        if not (unit_split == missing).any():
            donors = np.flatnonzero(unit_split == np.bincount(unit_split, minlength=3).argmax())
            unit_split[donors[np.lexsort((unit_rank[donors], size[donors]))[0]]] = missing
