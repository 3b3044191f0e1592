"""Networks beside the same photographs left gray, which by CIEDE2000 are harder to beat than colour by lightness."""

import numpy as np

from koala.study import compare
from koala.study.finished import FinishedStudy
from koala.study.intervals import interval


def minus(study: FinishedStudy, experiment: str) -> tuple[float, float, float]:
    """CIEDE2000 of a network minus that of the same photographs left gray, with its interval."""
    values = study.values(experiment, "ciede2000") - _gray(study, experiment)
    return interval(values, compare.chance(study, "ciede2000"), study.groups(experiment))


def better(study: FinishedStudy, experiment: str) -> float:
    """The share of the photographs that a network colours better than they are left gray, by CIEDE2000; mean over seeds."""
    return float((study.values(experiment, "ciede2000") < _gray(study, experiment)).mean())


def same(study: FinishedStudy, experiment: str) -> bool:
    """Whether the network leaves every photograph gray."""
    return bool((study.values(experiment, "ciede2000") == _gray(study, experiment)).all())


def behind(study: FinishedStudy, first: str, second: str, share: float) -> tuple[float, float, float]:
    """`compare.difference` of two networks, less a share of what the second gains on the photographs left gray."""
    seeds = compare.common_seeds(study, first, second)
    own, other = (study.values(name, "ciede2000", seeds=seeds) for name in (first, second))
    bar = other + share * (_gray(study, second) - other)
    spread = compare.scaled(compare.chance(study, "ciede2000"), np.hypot(1, 1 - share))
    return interval(own - bar, spread, study.groups(first))


def _gray(study, experiment) -> np.ndarray:  # (1, photographs)
    """CIEDE2000 of the experiment's test photographs left gray."""
    return study.values(study.holder(experiment, "gray"), "ciede2000", "gray")[:1]
