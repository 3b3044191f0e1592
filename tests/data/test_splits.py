"""The split: the stated counts, groups together, and no dependence on the order of the files."""

import numpy as np
import pytest

from koala.data.splits import ranks, split
from koala.system.errors import KoalaError


def test_split_has_the_counts_of_the_report_rounded_once():
    n = 105_321  # Places-Extra69, train and test merged
    category = np.random.default_rng(0).integers(0, 69, n)
    parts = split(category, np.arange(n), ranks([str(i) for i in range(n)], 0, "split"))
    assert np.bincount(parts).tolist() == [84_257, 10_532, 10_532]
    for i in range(69):
        inside = np.bincount(parts[category == i], minlength=3)
        assert np.abs(inside - inside.sum() * np.array([0.8, 0.1, 0.1])).max() <= 2


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_groups_together_and_its_totals(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(50, 3000))
    group = np.arange(n)
    merged = generator.integers(0, n, n // 5)
    group[merged] = group[(merged + 1) % n]
    category = (generator.random(n) ** 3 * 12).astype(int)
    parts = split(category, group, generator.random(n))
    assert all(len(set(parts[group == g])) == 1 for g in np.unique(group[merged]))
    assert np.abs(np.bincount(parts, minlength=3) - n * np.array([0.8, 0.1, 0.1])).max() < 1


def test_split_is_nearly_stable_and_knows_no_order():
    names = np.array([f"photograph {i}" for i in range(4000)])
    category = np.array([hash_of % 7 for hash_of in ranks(names, 3, "category").tolist()])

    def parts(index):
        return split(category[index], index, ranks(names[index], 0, "split"))

    all_of_them = parts(np.arange(4000))
    shuffled = np.random.default_rng(0).permutation(4000)
    assert np.array_equal(parts(shuffled), all_of_them[shuffled])
    before = parts(np.arange(3600))  # a tenth fewer: one photograph in a hundred changes sides
    assert (before != all_of_them[:3600]).mean() < 0.02
    assert not np.array_equal(split(category, np.arange(4000), ranks(names, 1, "split")), all_of_them)


def test_few_photographs_still_give_three_parts_or_a_sentence():
    for n in range(3, 30):
        assert set(split(np.arange(n) % 4, np.arange(n), np.arange(n))) == {0, 1, 2}
    with pytest.raises(KoalaError, match="at least 3 photographs"):
        split(np.zeros(40, int), np.arange(40) // 20, np.arange(40))
