"""A study of runs that were never trained: per-photograph numbers with a known shift for each experiment."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from koala import metrics, study
from koala.config import RunConfig
from koala.experiment.artefacts import Run
from koala.report.tables import METRICS
from koala.study import compare

COUNT = 120
HARD = np.random.default_rng(0).normal(12, 3, COUNT)  # CIEDE2000 of each photograph left gray
SHIFTS = {"efficientnet": -2.0, "inception": -1.0, "no-extractor": 0.0, "untrained": 0.1}
SETTINGS = {
    "inception": {"backbone": "inception"},
    "no-extractor": {"backbone": "none"},
    "untrained": {"weights": "untrained"},
}


def made_study(**shifts) -> compare.FinishedStudy:
    """Two seeds of each experiment in SHIFTS; shifts: experiment -> CIEDE2000 above that of the gray photograph."""
    data = {"source": "somewhere", "name": "scenes"}
    names = list(SHIFTS)
    plan = study.Study("test", "Test", names, [0, 1], data, {}, about="What it is for.")
    for name, seed in plan.runs():
        plan.folder.mkdir(parents=True, exist_ok=True)
        plan.result_file(name, seed).write_text('{"status": "finished"}')
    shifts = SHIFTS | shifts
    runs = {(name, seed): _run(name, seed, shifts[name]) for name, seed in plan.runs()}
    return compare.FinishedStudy(plan, runs, [])


def _run(name: str, seed: int, shift: float) -> Run:
    rng = np.random.default_rng([seed, len(name)])
    parts = [
        pd.DataFrame(
            {
                "row": range(COUNT),
                "method": method,
                "path": "a.jpg",
                "category": np.where(rng.random(COUNT) < 0.5, "sky", "campus"),
            }
            | {key: rng.normal(0.5, 0.05, COUNT) for key in METRICS}
            | {"ciede2000": HARD + extra + rng.normal(0, 0.3, COUNT), "colourfulness_true": 40.0}
            | {"a_shift": 0.1, "b_shift": -0.1}
            | {f"{hue}_share": 0.1 for hue in metrics.HUES}
            | {f"{hue}_ciede2000": HARD for hue in metrics.HUES}
        )
        for method, extra in [*((key, 0.0) for key in metrics.BASELINES), ("model", shift)]
    ]
    table = pd.concat(parts)
    means = table.drop(columns=["row", "path", "category"]).groupby("method").mean()
    weights = {
        "trained": name != "untrained",
        "weights": "distilled here" if name == "inception" else "a file",
        "backbone": "x",
    }
    machine = {"device": "a CPU", "precision": "fp32"}
    env = {"weights": weights, "machine": machine, "data": {"name": "scenes"}, "commit": "abc"}
    result = {
        "test": {m: values.to_dict() for m, values in means.iterrows()},
        "last_val_loss": 0.01,
        "train_seconds": 61.0,
    }
    result["photographs"] = {"train": 900, "validation": COUNT, "test": COUNT}
    config = dataclasses.asdict(RunConfig(seed=seed, **SETTINGS.get(name, {})))
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.02, 0.01], "val_loss": [0.02, 0.015]})
    return Run(Path(f"{name}-s{seed}"), config, env, result, history, table)
