"""Which colours fail: errors, recall and painted shares by the true colour's hue, over all test pixels."""

import numpy as np
import pandas as pd

from koala import metrics
from koala.study.compare import without_network
from koala.study.finished import FinishedStudy, plain
from koala.study.intervals import ratio, ratio_difference

LEAST = 0.02  # of the test pixels: a hue that is rarer is not judged


def by_hue(study: FinishedStudy, experiment: str, method: str = "model") -> dict[str, float]:
    """Mean CIEDE2000 over all test pixels of each true hue (chroma above 10); NaN where there are none."""
    return {hue: ratio(*_sums(study, experiment, hue, "ciede2000", method))[0] for hue in metrics.HUES}


def table(study: FinishedStudy) -> pd.DataFrame:
    """`by_hue` of the gray photograph, of colour by lightness and of every experiment, one line each."""
    lines = {
        label: by_hue(study, name, method)
        for label, name, method in without_network(study)
        if method in ("gray", "lightness")
    }
    lines |= {study.label(name): by_hue(study, name) for name in study.experiments}
    return pd.DataFrame([{"method": label} | means for label, means in lines.items()])


def common(study: FinishedStudy) -> list[str]:
    """Hues of at least LEAST of the test pixels."""
    first = study.experiments[0]
    return [hue for hue in metrics.HUES if study.values(first, f"{hue}_share").mean() >= LEAST]


def of_hue(study: FinishedStudy, experiment: str, hue: str, metric: str) -> tuple[float, float, float]:
    """Mean of "ciede2000" or "recall" over the test pixels of a hue, with its interval."""
    return ratio(*_sums(study, experiment, hue, metric))


def between(
    study: FinishedStudy, experiment: str, hue: str, other: str, metric: str
) -> tuple[float, float, float]:
    """`of_hue` of one hue minus that of another, in the same photographs, with its interval."""
    return ratio_difference(*_sums(study, experiment, hue, metric), *_sums(study, experiment, other, metric))


def _sums(study, experiment, hue, metric, method="model") -> tuple[np.ndarray, np.ndarray]:
    """A metric's sum over a hue's pixels and how many these are, both as shares of a photograph, (seeds, photographs)."""
    share = study.values(experiment, f"{hue}_share", method)
    mean = study.values(experiment, f"{hue}_{metric}", method)  # NaN where the share is 0
    return np.where(share > 0, share * mean, 0), share


def of_coloured(
    study: FinishedStudy, experiment: str, kind: str, hue: str, chosen: np.ndarray, seeds
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of a photograph's pixels, (seeds, chosen photographs): that are of a hue, and that are of any. kind: "share", in
    truth, or "painted"."""
    shares = {one: study.values(experiment, f"{one}_{kind}", seeds=seeds)[:, chosen] for one in metrics.HUES}
    return shares[hue], sum(shares.values())


def coloured_error(study: FinishedStudy, experiment: str, method: str = "model") -> np.ndarray:
    """(seeds, photographs): CIEDE2000 of a photograph's coloured pixels, summed as a mean over all its pixels."""
    return sum(_sums(study, experiment, hue, "ciede2000", method)[0] for hue in metrics.HUES)


def by_category(study: FinishedStudy, experiment: str) -> pd.DataFrame:
    """By category of the test photographs, for each hue the share of all pixels that has it and the share that is painted in it, a
    pair; the columns category and one for each of metrics.HUES."""
    categories = study.photographs(experiment).category.map(plain).to_numpy()
    columns = {}
    for hue in metrics.HUES:
        true, painted = (
            pd.Series(study.values(experiment, f"{hue}_{kind}").mean(0)).groupby(categories).mean()
            for kind in ("share", "painted")
        )
        columns[hue] = list(zip(true, painted, strict=True))
    return pd.DataFrame({"category": sorted(set(categories)), **columns})


def biases(study: FinishedStudy) -> pd.DataFrame:
    """Of all test pixels, the share painted in each hue minus the share that has it, one line per experiment; first the true
    shares."""
    first = study.experiments[0]
    lines = [
        {"method": "true share"} | {hue: study.values(first, f"{hue}_share").mean() for hue in metrics.HUES}
    ]
    for name in study.experiments:
        shares = {
            hue: [study.values(name, f"{hue}_{kind}") for kind in ("painted", "share")]
            for hue in metrics.HUES
        }
        differences = {hue: (painted - true).mean() for hue, (painted, true) in shares.items()}
        lines.append({"method": f"{study.label(name)}, painted minus true"} | differences)
    return pd.DataFrame(lines)
