"""How much of a photograph's colour follows from its category alone?

Colour by lightness (koala.metrics), fitted on each category's training photographs, needs no network, only the
category: the data set's own, or the one that a linear classifier tells from statistics of the gray photograph or from an
extractor's features. What a network does better than these has not come from the category's name.
"""

import numpy as np
import torch

from koala import lab, metrics
from koala.experiment import baselines
from koala.study.intervals import interval
from koala.training.batches import at_a_time, chunks


def told(inputs: dict[str, np.ndarray], categories: np.ndarray, rows: dict) -> dict[str, np.ndarray]:
    """For each of inputs (name -> (N,D)) the test photographs' categories, (n,), as a ridge classifier fitted on the
    training split tells them; first "true", those that they have. categories: (N,) of all photographs."""
    by_input = {name: baselines.tell(features, categories, rows) for name, features in inputs.items()}
    return {"true": categories[rows["test"]]} | {name: tell(rows["test"]) for name, tell in by_input.items()}


def errors(
    batches, rows: dict, colours: baselines.Colours, categories: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """CIEDE2000 of each test photograph, (n,), by name: "none", colour by lightness of the whole training split, and
    for each of categories (name -> (n,), as `told` gives them) that of the photograph's category. A category without training
    photographs has the colours of all."""
    parts = {name: [] for name in ("none", *categories)}
    for piece in chunks(np.arange(len(rows["test"])), at_a_time(batches.images)):
        rgb = batches(rows["test"][piece])[0]
        L = lab.rgb_to_lab(rgb)[:, :1]
        parts["none"].append(_ciede2000(rgb, colours.everyone.predict("lightness", L)))
        for name, names in categories.items():
            parts[name].append(_ciede2000(rgb, baselines.by_category(colours, names[piece], L)))
    return {name: np.concatenate(part) for name, part in parts.items()}


def table(
    network: np.ndarray, by_category: dict[str, np.ndarray], categories: dict[str, np.ndarray]
) -> list[dict]:
    """One dict a way of colouring: how many categories are right, mean CIEDE2000, and the network's error minus its own
    with a 95 % interval over photographs. network: (n,) the run's CIEDE2000; by_category: of `errors`."""
    names = {"none": "not at all", "true": "the true one"} | {
        name: f"told from {name}" for name in categories if name != "true"
    }
    rows = []
    for name, values in by_category.items():
        mean, low, high = interval((network - values)[None])
        right = float((categories[name] == categories["true"]).mean()) if name in categories else np.nan
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


def _ciede2000(rgb: torch.Tensor, ab: torch.Tensor) -> np.ndarray:
    _, lab_true, lab_pred = metrics.judged(rgb, ab)
    return metrics.ciede2000(lab_true, lab_pred).mean((1, 2)).cpu().numpy()
