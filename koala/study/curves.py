"""Losses by epoch of a study's runs: how fast they fall, whether they still fall at the end, and what the extractor gains."""

import numpy as np
import pandas as pd

from koala.study.compare import common_seeds
from koala.study.finished import FinishedStudy
from koala.study.intervals import Spread, interval, pooled

GOALS = ("common", "own")
# Of a goal: as near counts as reached. In `replica` a whole training takes 5 to 10 % off the first epoch's loss.
WITHIN = 0.01
STILL = 1e-6  # of the first loss: what less than this moves has not moved


def histories(study: FinishedStudy, experiments: list[str]) -> dict[str, list[pd.DataFrame]]:
    """label -> one history per seed."""
    return {
        study.label(name): [study.runs[name, seed].history for seed in study.seeds(name)]
        for name in experiments
    }


def by_loss(study: FinishedStudy) -> dict[str, list[str]]:
    """Experiments grouped by their loss: curves of different losses share no axis."""
    groups = {}
    for name in study.experiments:
        groups.setdefault(study.config(name)["loss"], []).append(name)
    return groups


def validation_losses(study: FinishedStudy, experiment: str, seeds=None) -> np.ndarray:
    """(seeds, epochs) of the validation loss."""
    seeds = study.seeds(experiment) if seeds is None else seeds
    return np.stack([study.runs[experiment, seed].history["val_loss"].to_numpy() for seed in seeds])


def epochs_to_converge(study: FinishedStudy, first: str, second: str) -> dict[str, np.ndarray]:
    """Epochs, (seeds, 2), that each of two experiments needs until its validation loss is WITHIN of a goal: "common",
    the lowest that both reach, and "own", its own lowest. Of the seeds that both have; {} without one.

    Two goals, since a network that learns nothing is soon at its own lowest loss, and the worse of two reaches the common
    one late. Between epochs the loss is interpolated linearly."""
    counts = {goal: [] for goal in GOALS}
    for seed in common_seeds(study, first, second):
        losses = [validation_losses(study, name, [seed])[0] for name in (first, second)]
        common = max(one.min() for one in losses)
        for kind, goals in (("common", (common, common)), ("own", [one.min() for one in losses])):
            counts[kind].append(
                [_crossing(one, goal + WITHIN * abs(goal)) for one, goal in zip(losses, goals, strict=True)]
            )
    return {kind: np.array(each) for kind, each in counts.items() if each}


def _crossing(losses: np.ndarray, goal: float) -> float:
    """The epoch, counted from 1, at which losses first reach the goal."""
    after = int(np.argmax(losses <= goal))
    if after == 0:
        return 1.0
    before, now = losses[after - 1], losses[after]
    return after + float((before - goal) / (before - now))


def stood_still(study: FinishedStudy, experiment: str) -> list[int]:
    """The seeds whose validation loss did not move after the first epoch: no gradient reached the network."""
    losses = validation_losses(study, experiment)
    if losses.shape[1] < 2:
        return []
    still = np.ptp(losses, axis=1) <= STILL * np.abs(losses[:, 0])
    return [seed for seed, one in zip(study.seeds(experiment), still, strict=True) if one]


def gaps(study: FinishedStudy, experiment: str, seeds=None) -> np.ndarray:
    """(seeds, 1) validation loss over training loss at the end, minus 1."""
    seeds = study.seeds(experiment) if seeds is None else seeds
    last = [study.runs[experiment, seed].history.iloc[-1] for seed in seeds]
    return np.array([[row.val_loss / row.train_loss - 1] for row in last])


def chance_of_gaps(study: FinishedStudy, loss: str) -> Spread | None:
    """How far single seeds lie apart in `gaps`, pooled over the study's networks with this loss that have several: what one seed
    alone cannot tell. None where none has."""
    names = [name for name in by_loss(study).get(loss, []) if len(study.seeds(name)) > 1]
    return pooled([gaps(study, name)[:, 0] for name in names])


def slope(study: FinishedStudy, experiment: str) -> tuple[float, float, float]:
    """Relative change of the validation loss in the last epoch, with its interval over seeds: below 0 it still falls.
    NaN three times after a single epoch."""
    losses = validation_losses(study, experiment)
    if losses.shape[1] < 2:
        return (np.nan,) * 3
    return interval((losses[:, -1:] - losses[:, -2:-1]) / np.abs(losses[:, -2:-1]))


def last_rate(study: FinishedStudy, experiment: str) -> float:
    """The learning rate of the last epoch as a share of the first one's, as the history has them."""
    rates = study.first(experiment).history["lr"]
    return float(rates.iloc[-1] / rates.iloc[0])
