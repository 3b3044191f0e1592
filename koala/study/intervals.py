"""95 % intervals of a mean over seeds and photographs, for the few seeds that a study can afford.

Both are random: other seeds would train other networks, other photographs would be easier or harder. With three seeds a
bootstrap draws from three numbers and is much too narrow, so the part of the seeds follows Student's t.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEAST_SEEDS = 3  # with fewer, two experiments are never called equal


class Spread(NamedTuple):
    """How far the means of single seeds lie about their network's mean: standard deviation, degrees of freedom."""

    deviation: float
    freedom: int

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of what one more seed would give."""
        return float(stats.t.ppf(0.975, self.freedom) * self.deviation)


def pooled(networks: list[np.ndarray]) -> Spread | None:
    """The spread within networks, each given as the means of its seeds, (n,); None where none has two seeds."""
    freedom = sum(len(means) - 1 for means in networks)
    if not freedom:
        return None
    squares = sum(np.square(means - means.mean()).sum() for means in networks)
    return Spread(float(np.sqrt(squares / freedom)), freedom)


def interval(
    values: np.ndarray, seeds: Spread | None = None, groups: np.ndarray | None = None
) -> tuple[float, float, float]:
    """Mean of (seeds, photographs) with the lower and the upper end of its 95 % interval.

    The half widths of two t intervals, one over the seeds' means and one over the photographs' means, are added in
    quadrature (Howe 1974, Journal of the American Statistical Association 69). A single seed tells nothing of the chance
    between seeds: `seeds` stands in for it, what other networks say; without it the interval covers the choice of photographs
    alone. A photograph that is NaN for any seed is left out; NaN three times where none remains.

    groups (photographs,): the categories, where these are a sample, too, and the mean shall hold for others. Photographs of
    one category vary together, so the interval is then over categories (Liang & Zeger 1986, Biometrika 73), if there are two
    or more."""
    known = ~np.isnan(values).any(0)
    values = values[:, known]
    if not values.size:
        return (np.nan,) * 3
    mean = float(values.mean())
    chance = seeds.half_width if seeds and len(values) == 1 else _half_width(values.mean(1))
    half = float(np.hypot(_half_width(values.mean(0), None if groups is None else groups[known]), chance))
    return mean, mean - half, mean + half


def _half_width(means: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Half the 95 % t interval of the mean of (n,) values that are drawn one by one, or in several groups; 0 for a single value,
    which says nothing of its chance."""
    sums = means - means.mean()
    places = np.zeros(1, int) if groups is None else np.unique(groups, return_inverse=True)[1]
    if places.any():
        sums = np.bincount(places, sums)
    count = len(sums)
    if count == 1:
        return 0.0
    return stats.t.ppf(0.975, count - 1) * np.sqrt(count / (count - 1) * np.square(sums).sum()) / len(means)


def ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    seeds: Spread | None = None,
    groups: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Mean of `numerator` over mean of `denominator`, both (seeds, photographs), with its 95 % interval.

    For shares and means over pixels, to which photographs contribute unequally, by the delta method. NaN three times where
    the denominator is 0 everywhere. seeds, groups: as in `interval`; the spread of the ratio."""
    value, residuals = _linearized(numerator, denominator)
    _, low, high = interval(residuals, seeds, groups)
    return value, value + low, value + high


def ratio_difference(
    numerator, denominator, other_numerator, other_denominator, groups=None
) -> tuple[float, float, float]:
    """One `ratio` minus another of the same seeds and photographs, with its 95 % interval."""
    value, residuals = _linearized(numerator, denominator)
    other, others = _linearized(other_numerator, other_denominator)
    _, low, high = interval(residuals - others, groups=groups)
    return value - other, value - other + low, value - other + high


def _linearized(numerator, denominator) -> tuple[float, np.ndarray]:
    """A ratio of means, and values of mean 0 whose mean varies as the ratio does: (numerator - ratio * denominator) /
    mean denominator, NaN where either is."""
    numerator = np.where(denominator == 0, 0, numerator)
    missing = np.isnan(numerator + denominator).any(0)
    mean = denominator[:, ~missing].mean() if not missing.all() else 0
    if mean == 0:
        return np.nan, np.full(numerator.shape, np.nan)
    value = float(numerator[:, ~missing].mean() / mean)
    return value, np.where(missing, np.nan, (numerator - value * denominator) / mean)
