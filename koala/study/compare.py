"""Means of a study's experiments and paired differences between them, with intervals."""

import itertools

import numpy as np
import pandas as pd

from koala.experiment import baselines
from koala.study.finished import FinishedStudy
from koala.study.intervals import Spread, interval, pooled, ratio

RATIOS = {"chroma_ratio": ("chroma", "chroma_true")}  # a mean of ratios is lifted by nearly gray photographs


def difference(study: FinishedStudy, first: str, second: str) -> tuple[float, float, float]:
    """CIEDE2000 of the first minus the second's, paired by photograph and by seed (the seeds that both have), with its interval.

    Where they have a single seed in common, the chance between seeds is that of the study's other networks (`chance`)."""
    common = common_seeds(study, first, second)
    if not common:
        return (np.nan,) * 3
    own, other = (study.values(name, "ciede2000", seeds=common) for name in (first, second))
    return interval(own - other, scaled(chance(study, "ciede2000"), np.sqrt(2)), study.groups(first))


def moved(study: FinishedStudy, first: str, second: str, by: float) -> tuple[float, float]:
    """The shares of the photographs that are nearer to the truth, and farther from it, by more than `by` (CIEDE2000) with the
    first than with the second; means over the seeds that both have."""
    seeds = common_seeds(study, first, second)
    own, other = (study.values(name, "ciede2000", seeds=seeds) for name in (first, second))
    return float((own - other < -by).mean()), float((own - other > by).mean())


def moved_by_chance(study: FinishedStudy, experiment: str, by: float) -> float:
    """The share of the photographs that are farther from the truth by more than `by` with one seed of a network than with another;
    the mean over ordered pairs of seeds, NaN with one seed."""
    pairs = itertools.permutations(study.values(experiment, "ciede2000"), 2)
    return float(np.mean([(one - other > by).mean() for one, other in pairs] or [np.nan]))


def relative_mse(study: FinishedStudy, first: str, second: str) -> tuple[float, float, float]:
    """Mean squared error of a*b*, the report's own measure, of the first over the second's, minus 1, with its interval."""
    common = common_seeds(study, first, second)
    if not common:
        return (np.nan,) * 3
    own, other = (study.values(name, "ab_rmse", seeds=common) ** 2 for name in (first, second))
    # of a quotient of two means that vary alike, by the delta method
    factor = np.hypot(1, own.mean() / other.mean()) / other.mean()
    spread = scaled(chance(study, "mse"), factor)
    return tuple(value - 1 for value in ratio(own, other, spread, study.groups(first)))


def chance(study: FinishedStudy, metric: str) -> Spread | None:
    """How far single seeds lie apart in a metric of `summary` or in "mse", pooled over the study's networks that have several:
    what one seed alone cannot tell. None where none has."""
    whole = study.among or study
    several = [name for name in whole.experiments if len(whole.seeds(name)) > 1]
    return pooled([_seed_means(whole, name, metric) for name in several])


def _seed_means(study, experiment, metric) -> np.ndarray:  # (seeds,)
    if metric == "mse":
        return (study.values(experiment, "ab_rmse") ** 2).mean(1)
    if metric in RATIOS and study.has(experiment, *RATIOS[metric]):
        above, below = (study.values(experiment, key).mean(1) for key in RATIOS[metric])
        return above / below
    return np.nanmean(study.values(experiment, metric), 1)


def scaled(seeds: Spread | None, factor: float) -> Spread | None:
    """The spread of what varies `factor` times as much."""
    return seeds and Spread(seeds.deviation * factor, seeds.freedom)


def common_seeds(study: FinishedStudy, first: str, second: str) -> list[int]:
    return [seed for seed in study.seeds(first) if seed in study.seeds(second)]


def without_network(study: FinishedStudy) -> list[tuple[str, str, str]]:
    """(label, experiment, method) of every row that needs no network, in the order of koala.experiment.baselines.METHODS."""
    lines, texts = [], baselines.METHODS
    several = len({study.tested(name) for name in study.experiments}) > 1
    for name, _, method in study.methods():
        of = f" of {study.label(name)}" * (method in baselines.OF_FEATURES)
        of += f" ({study.tested(name):,} photographs)" * several
        lines.append((texts[method] + of, name, method))
    return sorted(lines, key=lambda line: list(texts).index(line[2]))


def summary(study: FinishedStudy, names: list[str]) -> pd.DataFrame:
    """One line per method, those without a network first: for each metric its mean, low, high, and the standard deviation
    between seeds, NaN without a network.

    Columns label, experiment, seeds, trivial, told (it knows the photograph's true category), then METRIC, METRIC_low,
    METRIC_high, METRIC_seeds."""
    lines = [(*line, True) for line in without_network(study)]
    lines += [(study.label(name), name, "model", False) for name in study.experiments]
    rows = []
    for label, experiment, method, trivial in lines:
        seeds = study.seeds(experiment)
        row = {"label": label, "experiment": experiment, "seeds": len(seeds), "trivial": trivial}
        row["told"] = method == "category" if trivial else told(study, experiment)
        for name in names:
            estimate = _estimate(study, experiment, name, method)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))
            several = not trivial and len(seeds) > 1
            row[f"{name}_seeds"] = _seed_means(study, experiment, name).std(ddof=1) if several else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _estimate(study, experiment, name, method):
    """A metric's mean with its interval. Without a network all seeds have the same."""
    with_lines = [seed for seed in study.seeds(experiment) if len(study.lines(experiment, seed, method))]
    seeds = with_lines if method == "model" else with_lines[:1]
    spread = chance(study, name) if method == "model" else None
    if name in RATIOS and study.has(experiment, *RATIOS[name]):
        parts = (study.values(experiment, key, method, seeds) for key in RATIOS[name])
        return ratio(*parts, spread, study.groups(experiment))
    return interval(study.values(experiment, name, method, seeds), spread, study.groups(experiment))


def told(study: FinishedStudy, experiment: str) -> bool:
    """Whether the network gets the photograph's true category, by its mean features."""
    return study.config(experiment)["feature_source"] == "category"


def lowest(study: FinishedStudy) -> str:
    """The experiment with the lowest mean CIEDE2000, of those whose network is not told the photograph's category."""
    names = [name for name in study.experiments if not told(study, name)] or study.experiments
    return min(names, key=lambda name: np.nanmean(study.values(name, "ciede2000")))


def reads(low: float, high: float) -> str:
    """What a difference's interval says, where lower is better."""
    if np.isnan(low):
        return "no value"
    return "better" if high < 0 else "worse" if low > 0 else "no difference shown"


def one_seed(study: FinishedStudy, seeds: int) -> str:
    """A remark on an interval of CIEDE2000 or MSE over one seed: on other networks' seeds, or on photographs alone."""
    if seeds != 1:
        return ""
    return " (one seed)" if chance(study, "ciede2000") else " (one seed: photographs only)"
