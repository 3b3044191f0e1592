"""95 % intervals of a mean over seeds and photographs, for the few seeds that a study can afford.

Both are random: other seeds would train other networks, other photographs would be easier or harder. With three seeds a
bootstrap draws from three numbers and is much too narrow, so the part of the seeds follows Student's t.
"""

import numpy as np
from scipy import stats

LEAST_SEEDS = 3  # with fewer, two experiments are never called equal


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (seeds, photographs) with the lower and the upper end of its 95 % interval.

    The half widths of two t intervals, one over the seeds' means and one over the photographs' means, are added in
    quadrature (Howe 1974, Journal of the American Statistical Association 69). With one seed the interval covers the choice of
    photographs alone. A photograph that is NaN for any seed is left out; NaN three times where none remains."""
    values = values[:, ~np.isnan(values).any(0)]
    if not values.size:
        return (np.nan,) * 3
    mean = float(values.mean())
    half = float(np.hypot(_half_width(values.mean(0)), _half_width(values.mean(1))))
    return mean, mean - half, mean + half


def _half_width(means: np.ndarray) -> float:
    """Half the 95 % t interval of the mean of (n,) values; 0 for a single one, which says nothing of its chance."""
    count = len(means)
    return stats.t.ppf(0.975, count - 1) * means.std(ddof=1) / np.sqrt(count) if count > 1 else 0.0


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float, float]:
    """Mean of `numerator` over mean of `denominator`, both (seeds, photographs), with its 95 % interval.

    For shares and means over pixels, to which photographs contribute unequally. By the delta method: the interval of
    the residuals numerator - ratio * denominator, divided by the denominator's mean. A NaN in the numerator counts as nothing
    where the denominator is 0. NaN three times where the denominator is 0 everywhere."""
    numerator = np.where(denominator == 0, 0, numerator)
    keep = ~np.isnan(numerator + denominator).any(0)
    numerator, denominator = numerator[:, keep], denominator[:, keep]
    if not denominator.size or denominator.mean() == 0:
        return (np.nan,) * 3
    value = float(numerator.mean() / denominator.mean())
    _, low, high = interval((numerator - value * denominator) / denominator.mean())
    return value, value + low, value + high
