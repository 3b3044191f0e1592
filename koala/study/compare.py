"""Runs of a study side by side: tables with intervals, paired differences, and the report's claims put to the test."""

import dataclasses

import numpy as np
import pandas as pd

from koala import metrics
from koala.config import VOLATILE
from koala.experiment import artefacts
from koala.study import outcomes
from koala.study import plan as plans
from koala.study.intervals import interval
from koala.system import paths
from koala.system.errors import KoalaError

FEATURES = {"backbone", "weights", "layer", "feature_dims", "feature_source"}  # what the extractor is


@dataclasses.dataclass
class Study:
    """The finished runs of a study by (experiment, seed), and the result rows of the others."""

    plan: plans.Study
    runs: dict[tuple[str, int], artefacts.Run]
    failed: list[dict]

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(experiment for experiment, _ in self.runs))

    def only(self, *experiments: str) -> "Study":
        """The same study with these experiments alone, in this order."""
        runs = {(name, seed): self.runs[name, seed] for name in experiments for seed in self.seeds(name)}
        return Study(self.plan, runs, [])

    def seeds(self, experiment: str) -> list[int]:
        return [seed for name, seed in self.runs if name == experiment]

    def label(self, experiment: str) -> str:
        """The experiment's name, with "(untrained)" or "(distilled here)" where its extractor is and the name does not
        say so."""
        remark = self.runs[experiment, self.seeds(experiment)[0]].remark
        return experiment + f" ({remark})" * (remark != "" and remark.split()[0] not in experiment)

    def untrained(self, experiment: str) -> bool:
        return self.runs[experiment, self.seeds(experiment)[0]].untrained

    def config(self, experiment: str) -> dict:
        return self.runs[experiment, self.seeds(experiment)[0]].config

    def values(self, experiment: str, metric: str, method: str = "model", seeds=None) -> np.ndarray:
        """(seeds, photographs) of a metric, photographs in row order, the same for every experiment of a study."""
        columns = []
        for seed in seeds or self.seeds(experiment):
            table = self.runs[experiment, seed].per_image
            columns.append(table[table.method == method].sort_values("row")[metric].to_numpy())
        return np.stack(columns)


def load(name: str) -> Study:
    """Every run of the study that is finished. Raises KoalaError where there is no such study, or no such run."""
    plan = plans.load(name)
    rows = outcomes.results(plan)
    finished = [row for row in rows if row["status"] == "finished"]
    if not finished:
        raise KoalaError(f"study '{name}' has no finished run yet: make study STUDY={name} trains them.")
    runs, failed = {}, [row for row in rows if row["status"] != "finished"]
    for row in finished:
        try:
            runs[row["experiment"], row["seed"]] = artefacts.load(paths.runs_dir() / row["run_id"])
        except KoalaError as error:
            failed.append(row | {"status": "lost", "error": str(error)})
    return Study(plan, runs, failed)


def find_run(found: Study, experiment: str, seed: int) -> artefacts.Run:
    """One finished run. Raises KoalaError that lists what there is."""
    if (experiment, seed) not in found.runs:
        known = ", ".join(f"{name} seed {number}" for name, number in found.runs)
        raise KoalaError(
            f"study '{found.plan.name}' has no finished run '{experiment}' with seed {seed} (finished: {known})."
        )
    return found.runs[experiment, seed]


def difference(
    found: Study, first: str, second: str, metric: str = "ciede2000"
) -> tuple[float, float, float]:
    """First minus second, paired by photograph and by seed (the seeds that both have), with its interval."""
    common = [seed for seed in found.seeds(first) if seed in found.seeds(second)]
    if not common:
        return (np.nan,) * 3
    return interval(found.values(first, metric, seeds=common) - found.values(second, metric, seeds=common))


def summary(found: Study, names: list[str]) -> pd.DataFrame:
    """One line a method: for each metric its mean, low, high, and the standard deviation between seeds.

    Columns label, experiment, seeds, trivial, then METRIC, METRIC_low, METRIC_high, METRIC_seeds."""
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
            mean, low, high = interval(values)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_seeds": spread(values)}
        rows.append(row)
    return pd.DataFrame(rows)


def spread(values: np.ndarray) -> float:
    """Standard deviation between the seeds' means of (seeds, photographs); NaN for a single seed."""
    return float(np.nanmean(values, 1).std(ddof=1)) if len(values) > 1 else np.nan


def contrasts(found: Study) -> list[dict]:
    """Each experiment with an extractor minus its controls, in CIEDE2000 (lower is better), with intervals.

    A control has no extractor, or the same extractor untrained, or with features of another source, and shares every other
    parameter. Controls themselves are compared with no extractor. Nothing else is compared, so that a difference is the
    features' doing. Beside these, an experiment in bf16 minus the same in fp32."""
    rows = []
    for name in found.experiments:
        for other in found.experiments:
            if _comparable(found.config(name), found.config(other)):
                mean, low, high = difference(found, name, other)
                row = {"experiment": found.label(name), "minus": found.label(other), "difference": mean}
                seeds = len(set(found.seeds(name)) & set(found.seeds(other)))
                rows.append(row | {"low": low, "high": high, "reads": reads(low, high, seeds)})
    return rows


def _comparable(own: dict, theirs: dict) -> bool:
    """Whether `theirs` is a control of `own`, or its fp32 twin: everything else is the same."""
    differ = {key for key in own if own[key] != theirs.get(key, own[key])} - {"seed", *VOLATILE}
    if differ == {"precision"}:
        return theirs["precision"] == "fp32"
    if own["backbone"] == "none" or not differ:
        return False
    if theirs["backbone"] == "none":
        return differ <= FEATURES
    return not _is_control(own) and _is_control(theirs) and differ <= {"weights", "feature_source"}


def _is_control(config: dict) -> bool:
    return config["feature_source"] != "image" or config["weights"] == "untrained"


def by_hue(found: Study, experiment: str, method: str = "model") -> dict[str, float]:
    """Mean CIEDE2000 over all test pixels of each true hue (chroma above 10); NaN where there are none."""
    means = {}
    for hue in metrics.HUES:
        share = found.values(experiment, f"{hue}_share", method)
        error = np.nan_to_num(
            found.values(experiment, f"{hue}_ciede2000", method)
        )  # NaN where the share is 0
        means[hue] = float((share * error).sum() / share.sum()) if share.sum() else np.nan
    return means


def hues(found: Study) -> pd.DataFrame:
    """`by_hue` of the gray picture, of colour by lightness and of every experiment, one line each."""
    first = found.experiments[0]
    lines = {metrics.BASELINES[key]: by_hue(found, first, key) for key in ("gray", "lightness")}
    lines |= {found.label(name): by_hue(found, name) for name in found.experiments}
    return pd.DataFrame([{"method": label} | means for label, means in lines.items()])


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


def epochs_to_converge(
    found: Study, first: str, second: str, within: float = 0.05
) -> dict[str, tuple[float, float]]:
    """Epochs that each of two experiments needs, means over the seeds that both have, until its validation loss is
    `within` of "common", the lowest that both reach, and of "own", its own lowest. {} without a common seed.

    Two goals, since a network that gets nowhere is soon at its own lowest, and the worse of two is late at the common
    one."""
    counts = {"common": [], "own": []}
    for seed in set(found.seeds(first)) & set(found.seeds(second)):
        losses = [found.runs[name, seed].history["val_loss"].to_numpy() for name in (first, second)]
        common = max(one.min() for one in losses)
        for kind, goals in (("common", (common, common)), ("own", [one.min() for one in losses])):
            counts[kind].append(
                [_first(one, goal + within * abs(goal)) for one, goal in zip(losses, goals, strict=True)]
            )
    return {kind: tuple(np.mean(each, axis=0)) for kind, each in counts.items() if each}


def _first(losses: np.ndarray, goal: float) -> int:
    return int(np.argmax(losses <= goal)) + 1


def reads(low: float, high: float, seeds: int) -> str:
    """What a difference's interval says, where lower is better."""
    if np.isnan(low):
        return "no value"
    verdict = "better" if high < 0 else "worse" if low > 0 else "no difference shown"
    return verdict + (" (one seed: photographs only)" if seeds == 1 else "")
