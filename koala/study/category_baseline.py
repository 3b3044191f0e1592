"""How much of a photograph's colour follows from its category alone?

Colour by lightness (koala.metrics), fitted on each category's training photographs, needs no network, only the
category: the data set's own, or the one that a linear classifier reads in statistics of the gray picture or in an
extractor's features. What a network does better than these has not come from the category's name.
"""

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from koala import lab, metrics
from koala.experiment import evaluate
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job

PENALTIES = np.logspace(-1, 6, 8)
FITTED = 20_000  # training photographs that a linear model is fitted on: all 78,150 of tiny-imagenet took minutes for 0.01 of R^2


def told(inputs: dict[str, np.ndarray], categories: np.ndarray, rows: dict) -> dict[str, np.ndarray]:
    """For each of inputs (name -> (N,D)) the test photographs' categories, (n,), as a ridge classifier fitted on the
    training split tells them; first "true", those that they have. categories: (N,) of all photographs."""
    found = {"true": categories[rows["test"]]}
    for name, matrix in inputs.items():
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
        model.fit(
            matrix[rows["train"][:FITTED]], categories[rows["train"][:FITTED]]
        )  # rows stand in random order
        found[name] = model.predict(matrix[rows["test"]])
    return found


def errors(
    job: Job, rows: dict, categories: np.ndarray, given: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """CIEDE2000 of each test photograph, (n,), by name: "none", colour by lightness of the whole training split, and
    for each of given (name -> (n,) categories) that of the photograph's category. A category without training
    photographs has the colours of all."""
    everyone = evaluate.fit_baselines(job, rows["train"])
    of_rows = categories[rows["train"]]
    fitted = {
        name: evaluate.fit_baselines(job, rows["train"][of_rows == name]) for name in np.unique(of_rows)
    }
    found = {name: [] for name in ("none", *given)}
    for piece in chunks(np.arange(len(rows["test"])), at_a_time(job.batches.images)):
        rgb, _ = job.batches(rows["test"][piece])
        L = lab.rgb_to_lab(rgb)[:, :1]
        found["none"].append(_ciede2000(rgb, everyone.predict("lightness", L)))
        for name, chosen in given.items():
            single = [
                fitted.get(chosen[i], everyone).predict("lightness", L[k : k + 1])
                for k, i in enumerate(piece)
            ]
            found[name].append(_ciede2000(rgb, torch.cat(single)))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def table(
    network: np.ndarray, found: dict[str, np.ndarray], given: dict[str, np.ndarray], interval
) -> list[dict]:
    """One dict a way of colouring: how many categories are right, mean CIEDE2000, and the network's error minus its own
    with a 95 % interval over photographs. network: (n,) the run's CIEDE2000; interval: koala.study.compare.interval."""
    names = {"none": "not at all", "true": "the true one"} | {
        name: f"told from {name}" for name in given if name != "true"
    }
    rows = []
    for name, values in found.items():
        mean, low, high = interval((network - values)[None])
        right = float((given[name] == given["true"]).mean()) if name in given else np.nan
        rows.append(
            {
                "the category is known": names[name],
                "right": right,
                "colour by lightness": values.mean(),
                "the network minus that": mean,
                "low": low,
                "high": high,
            }
        )
    return rows


def _ciede2000(rgb, ab) -> np.ndarray:
    _, lab_true, lab_pred = metrics.judged(rgb, ab)
    return metrics.ciede2000(lab_true, lab_pred).mean((1, 2)).cpu().numpy()
