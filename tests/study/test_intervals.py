"""Intervals: against scipy's t interval, and by a simulation of how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from koala.study.intervals import Spread, interval, pooled, ratio

RNG = np.random.default_rng(0)
# Standard deviations of a paired difference in CIEDE2000: over photographs, and of photograph and seed together, as
# the studies have them for close and for very close networks
CLOSE, VERY_CLOSE, FAR = (1.5, 1.5), (0.6, 1.2), (4.2, 1.5)


def coverage(
    seeds: int, between: float, photographs: float, interaction: float, studies: int = 1500
) -> float:
    """How many of `studies` simulated studies have an interval that holds the true mean, 0."""
    rng, held, n = np.random.default_rng(seeds), 0, 163
    for _ in range(studies):
        values = rng.normal(0, between, (seeds, 1)) + rng.normal(0, photographs, n)
        _, low, high = interval(values + rng.normal(0, interaction, (seeds, n)))
        held += low <= 0 <= high
    return held / studies


@pytest.mark.parametrize("pair", [CLOSE, VERY_CLOSE, FAR])
@pytest.mark.parametrize("between", [0.2, 0.4])
@pytest.mark.parametrize("seeds", [3, 5])
def test_at_least_93_of_100_intervals_hold_the_truth(seeds, between, pair):
    assert coverage(seeds, between, *pair) >= 0.93


@pytest.mark.parametrize("between", [0.2, 0.4])
def test_a_single_seed_is_covered_by_what_other_networks_seeds_say(between):
    """The difference of two networks of one seed each; three others have three seeds."""
    rng, held, n, studies = np.random.default_rng(1), 0, 163, 1500
    for _ in range(studies):
        known = pooled([rng.normal(0, between, 3) for _ in range(3)])
        values = rng.normal(0, 1.5, (1, n)) + rng.normal(0, between) - rng.normal(0, between)
        _, low, high = interval(values, Spread(known.deviation * np.sqrt(2), known.freedom))
        held += low <= 0 <= high
    assert 0.93 <= held / studies <= 0.99


def test_seeds_of_a_network_are_pooled_about_its_own_mean():
    known = pooled([np.array([1.0, 2.0, 3.0]), np.array([11.0, 13.0]), np.array([100.0])])
    assert known == (pytest.approx(np.sqrt((2 + 2) / 3)), 3)
    assert pooled([np.array([1.0]), np.array([2.0])]) is None
    several = np.stack([np.zeros(9), np.ones(9)])
    assert interval(several, known) == interval(several)  # its own seeds say more


def test_photographs_of_one_category_count_together():
    values, categories = RNG.normal(0, 1, (1, 12)), np.repeat(list("abcd"), 3)
    each = values[0].reshape(4, 3).mean(1)
    _, low, high = interval(values, groups=categories)
    expected = stats.t.interval(
        0.95, 3, each.mean(), stats.sem(each)
    )  # categories of one size: one mean each
    assert (low, high) == pytest.approx(expected)
    for one_by_one in (np.arange(12), np.full(12, "a")):
        assert interval(values, groups=one_by_one) == pytest.approx(interval(values))
    numerator = np.where(np.arange(12) == 3, np.nan, values)
    assert np.isfinite(ratio(numerator, np.ones((1, 12)), groups=categories)).all()


def test_they_are_not_wide_for_nothing():
    """Seeds that all agree: as narrow as the photographs allow, to a tenth."""
    values = np.repeat(RNG.normal(0, 1, (1, 2000)), 5, 0) + RNG.normal(0, 0.01, (5, 2000))
    _, low, high = interval(values)
    alone = stats.t.interval(0.95, 1999, scale=1 / np.sqrt(2000))
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.1)


def test_one_seed_gives_the_t_interval_of_the_photographs():
    values = RNG.normal(3, 2, (1, 400))
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values[0]))
    assert interval(values) == pytest.approx((values.mean(), *expected))


def test_chance_between_seeds_widens_the_interval_and_gaps_are_left_out():
    noise = RNG.normal(0, 1, 500)
    narrow = interval(np.stack([noise, noise, noise]))
    wide = interval(np.stack([noise - 1, noise, noise + 1]))
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1]) and wide[0] == pytest.approx(narrow[0])
    gap = np.array([[1.0, np.nan, 3.0], [1.0, 100.0, 3.0]])
    assert interval(gap)[0] == 2.0
    assert np.isnan(interval(np.full((1, 3), np.nan))).all()


def test_a_ratios_interval_is_that_of_a_bootstrap_over_photographs():
    pixels = RNG.uniform(0, 1, (1, 800)) * (RNG.uniform(size=(1, 800)) < 0.4)
    hits = pixels * RNG.beta(2, 5, (1, 800))
    drawn = RNG.integers(0, 800, (4000, 800))
    expected = np.quantile(hits[0, drawn].sum(1) / pixels[0, drawn].sum(1), [0.025, 0.975])
    value, low, high = ratio(np.where(pixels > 0, hits, np.nan), pixels)
    assert value == pytest.approx(hits.sum() / pixels.sum())
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * (high - low))
    assert np.isnan(ratio(hits, np.zeros_like(hits))).all()


def test_a_constant_ratio_has_no_width():
    weights = RNG.uniform(1, 2, (3, 50))
    assert ratio(0.7 * weights, weights) == pytest.approx((0.7, 0.7, 0.7))
