"""Studies whose numbers are known: runs without training, for the tests of what is made of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from koala import metrics, study
from koala.config import RunConfig
from koala.experiment.artefacts import Run
from koala.study.finished import FinishedStudy

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(12, 4, 300)  # how hard each photograph is: what pairing takes away
NOISE = RNG.normal(0, 0.5, (8, 300))  # by seed: what a run's training adds


def make_run(
    seed: int, shift: float, trained: bool = True, origin: str = "ImageNet", noise=0.0, **config
) -> Run:
    """A run whose photographs all have CIEDE2000 TRUTH + shift, with rows that need no network and a falling loss."""
    rows = np.arange(len(TRUTH))
    methods = {
        "model": shift + noise * NOISE[seed],
        "gray": 2.0,
        "mean": 1.9,
        "lightness": 1.8,
        "linear": 0.5,
    }
    parts = []
    for method, extra in methods.items():
        values = {"row": rows, "method": method, "ciede2000": TRUTH + extra, "ab_rmse": TRUTH + extra}
        values |= {"b_shift": -1.0, "a_shift": 0.0, "chroma": 6.0, "chroma_true": 12.0, "chroma_ratio": 0.9}
        values["category"] = np.where(rows % 2, "sky", "desert")
        values["path"] = ""
        parts.append(pd.DataFrame(values)[::-1])
    table = pd.concat(parts)
    for hue in metrics.HUES:
        table[f"{hue}_share"] = table[f"{hue}_painted"] = 0.1
        table[f"{hue}_ciede2000"] = table["ciede2000"] * (2 if hue == "red" else 1)
        table[f"{hue}_recall"] = 0.1 if hue == "red" else 0.5
    history = pd.DataFrame(
        {"epoch": [1, 2], "lr": [0.001, 0.0005], "train_loss": [0.02, 0.01], "val_loss": [0.02, 0.015]}
    )
    env = {
        "commit": "0",
        "weights": {
            "trained": trained,
            "weights": origin,
            "sha256": config.get("backbone", "efficientnet"),
            "width": 1000,
        },
        "data": {"name": "scenes", "fingerprint": "f", "photographs": 3000},
        "machine": {"precision": "fp32", "device": "CPU"},
    }
    result = {"run_id": "run", "photographs": {"train": 2400, "validation": 300, "test": 300}}
    return Run(Path("."), dataclasses.asdict(RunConfig(seed=seed, **config)), env, result, history, table)


def make_study(**runs) -> FinishedStudy:
    """runs: experiment -> list of runs, one per seed. A dash in a name is written as two underscores."""
    runs = {name.replace("__", "-"): members for name, members in runs.items()}
    plan = study.Study("test", "Test", list(runs), [0], {"source": "somewhere", "name": "scenes"}, {})
    by_seed = {(name, run.config["seed"]): run for name, members in runs.items() for run in members}
    return FinishedStudy(plan, by_seed, [])


def with_losses(seed: int, losses, training=None, **config) -> Run:
    run = make_run(seed, 0.0, **config)
    training = losses if training is None else training
    run.history = pd.DataFrame(
        {"epoch": range(1, len(losses) + 1), "lr": 0.001, "train_loss": training, "val_loss": losses}
    )
    return run
