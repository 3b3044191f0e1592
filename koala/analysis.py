"""Runs of a study side by side: tables with intervals, paired differences, and the report's claims put to the test."""

import dataclasses

import numpy as np
import pandas as pd

from koala import metrics, paths, results, study
from koala.errors import KoalaError

REFERENCE = "no-extractor"


@dataclasses.dataclass
class Study:
    """The finished runs of a study by (experiment, seed), and the result rows of the others."""

    plan: study.Study
    runs: dict[tuple[str, int], results.Run]
    failed: list[dict]

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(experiment for experiment, _ in self.runs))

    def seeds(self, experiment: str) -> list[int]:
        return [seed for name, seed in self.runs if name == experiment]

    def label(self, experiment: str) -> str:
        """The experiment's name, with "(untrained)" where its extractor is."""
        return experiment + (
            " (untrained)" if self.runs[experiment, self.seeds(experiment)[0]].untrained else ""
        )

    def values(self, experiment: str, metric: str, method: str = "model") -> np.ndarray:
        """(seeds, photographs) of a metric, photographs in row order, the same for every experiment of a study."""
        columns = []
        for seed in self.seeds(experiment):
            table = self.runs[experiment, seed].per_image
            columns.append(table[table.method == method].sort_values("row")[metric].to_numpy())
        return np.stack(columns)


def load(name: str) -> Study:
    """Every run of the study that is finished. Raises KoalaError where there is no such study, or no such run."""
    plan = study.load(name)
    rows = study.results(plan)
    finished = [row for row in rows if row["status"] == "finished"]
    if not finished:
        raise KoalaError(f"study '{name}' has no finished run yet: make study STUDY={name} trains them.")
    runs, failed = {}, [row for row in rows if row["status"] != "finished"]
    for row in finished:
        try:
            runs[row["experiment"], row["seed"]] = results.load(paths.runs_dir() / row["run_id"])
        except KoalaError as error:
            failed.append(row | {"status": "lost", "error": str(error)})
    return Study(plan, runs, failed)


def find_run(found: Study, experiment: str, seed: int) -> results.Run:
    """One finished run. Raises KoalaError that lists what there is."""
    if (experiment, seed) not in found.runs:
        known = ", ".join(f"{name} seed {number}" for name, number in found.runs)
        raise KoalaError(
            f"study '{found.plan.name}' has no finished run '{experiment}' with seed {seed} (finished: {known})."
        )
    return found.runs[experiment, seed]


def interval(values: np.ndarray, resamples: int = 4000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of (seeds, photographs) with its 95 % percentile bootstrap interval.

    Seeds and photographs are drawn independently with replacement, so that both kinds of chance count; with one
    seed the interval covers the choice of photographs alone. NaN is left out photograph by photograph."""
    values = values[:, ~np.isnan(values).any(0)]
    if not values.size:
        return (np.nan,) * 3
    rng = np.random.default_rng(seed)
    seeds, images = values.shape
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds  # (resamples, seeds)
    by_image = (
        rng.multinomial(images, np.full(images, 1 / images), resamples) / images
    )  # (resamples, photographs)
    means = ((by_seed @ values) * by_image).sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def difference(
    found: Study, first: str, second: str, metric: str = "ciede2000"
) -> tuple[float, float, float]:
    """First minus second, paired by photograph (and by seed where both have it), with its interval."""
    common = min(len(found.seeds(first)), len(found.seeds(second)))
    return interval(found.values(first, metric)[:common] - found.values(second, metric)[:common])


def summary(found: Study, names: list[str], draw: int = 0) -> pd.DataFrame:
    """One line a method: for each metric its mean, low, high, and the standard deviation between seeds.

    draw: seed of the bootstrap. Columns label, experiment, seeds, trivial, then METRIC, METRIC_low, METRIC_high, METRIC_seeds."""
    first = found.experiments[0]
    lines = [(text, first, key, True) for key, text in metrics.BASELINES.items()]
    lines += [(found.label(name), name, "model", False) for name in found.experiments]
    rows = []
    for label, experiment, method, trivial in lines:
        row = {
            "label": label,
            "experiment": experiment,
            "seeds": len(found.seeds(experiment)),
            "trivial": trivial,
        }
        for name in names:
            values = found.values(experiment, name, method)
            mean, low, high = interval(values, seed=draw)
            row |= {
                name: mean,
                f"{name}_low": low,
                f"{name}_high": high,
                f"{name}_seeds": np.nanmean(values, 1).std(),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def against(found: Study, reference: str, metric: str = "ciede2000") -> list[dict]:
    """Each experiment minus `reference`, with its interval and what follows from it (lower is better)."""
    rows = []
    for name in found.experiments:
        if name != reference:
            mean, low, high = difference(found, name, reference, metric)
            rows.append(
                {
                    "experiment": found.label(name),
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "reads": _reads(low, high),
                }
            )
    return rows


def hues(found: Study) -> pd.DataFrame:
    """Mean CIEDE2000 over the pixels of each true hue, one line an experiment (claim C7)."""
    lines = {metrics.BASELINES["lightness"]: (found.experiments[0], "lightness")}
    lines |= {found.label(name): (name, "model") for name in found.experiments}
    rows = []
    for label, (experiment, method) in lines.items():
        means = {
            hue: interval(found.values(experiment, f"{hue}_ciede2000", method), resamples=1)[0]
            for hue in metrics.HUES
        }
        rows.append({"method": label} | means)
    return pd.DataFrame(rows)


def histories(found: Study, experiments: list[str]) -> dict[str, list[pd.DataFrame]]:
    return {
        found.label(name): [found.runs[name, seed].history for seed in found.seeds(name)]
        for name in experiments
    }


def by_loss(found: Study) -> dict[str, list[str]]:
    """Experiments grouped by their loss: curves of different losses share no axis."""
    groups = {}
    for name in found.experiments:
        groups.setdefault(found.runs[name, found.seeds(name)[0]].config["loss"], []).append(name)
    return groups


def epochs_to_converge(found: Study, experiment: str, share: float = 0.9) -> float:
    """Epochs until `share` of the whole fall of the validation loss (first epoch to lowest) is done; mean over seeds."""
    counts = []
    for seed in found.seeds(experiment):
        losses = found.runs[experiment, seed].history["val_loss"].to_numpy()
        goal = losses[0] - share * (losses[0] - losses.min())
        counts.append(int(np.argmax(losses <= goal)) + 1)
    return float(np.mean(counts))


def _reads(low: float, high: float) -> str:
    if np.isnan(low):
        return "no value"
    return "better" if high < 0 else "worse" if low > 0 else "no difference found"
