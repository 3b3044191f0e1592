"""How much of a photograph's colour follows from its category alone?

Colour by lightness (koala.metrics), fitted on each category's training photographs, needs no network, only the
category: the data set's own, or the one that a linear classifier predicts from statistics of the gray photograph or from
an extractor's features. Where a network does better than these, the category's name does not explain it.
"""

import numpy as np
import torch

from koala import lab, metrics
from koala.experiment import baselines, evaluate
from koala.study.intervals import interval
from koala.training.batches import at_a_time, chunks


def told(inputs: dict[str, np.ndarray], categories: np.ndarray, rows: dict) -> dict[str, np.ndarray]:
    """For each of inputs (name -> (N,D)) the categories, (n,), that a ridge classifier fitted on the training split predicts
    for the test photographs; first "true", the actual ones. categories: (N,) of all photographs."""
    by_input = {name: baselines.tell(features, categories, rows) for name, features in inputs.items()}
    return {"true": categories[rows["test"]]} | {name: tell(rows["test"]) for name, tell in by_input.items()}


def errors(
    batches, rows: dict, colours: baselines.Colours, categories: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """CIEDE2000 of each test photograph, (n,), by name: "none", colour by lightness of the whole training split, and
    for each of categories (name -> (n,), as `told` gives them) colour by lightness of its category, or of the whole
    training split where that has no photograph of the category."""
    parts, quick = ({name: [] for name in ("none", *categories)}, evaluate.quickest(batches, rows["test"]))
    for piece in chunks(np.arange(len(rows["test"])), at_a_time(batches.images)):
        rgb = batches(rows["test"][piece])[0]
        L = lab.rgb_to_lab(rgb)[:, :1]
        predictions = {"none": colours.everyone.predict("lightness", L)}
        for name, names in categories.items():
            predictions[name] = baselines.by_category(colours, names[piece], L)
        for name, values in evaluate.judge(_difference, rgb, predictions, quick).items():
            parts[name].append(values["ciede2000"])
    return {name: np.concatenate(part) for name, part in parts.items()}


def table(
    network: np.ndarray, by_category: dict[str, np.ndarray], categories: dict[str, np.ndarray]
) -> list[dict]:
    """One dict per way of colouring: the share of categories that are right, mean CIEDE2000, and the network's error minus
    that, with a 95 % interval over photographs. network: (n,) the run's CIEDE2000; by_category: of `errors`."""
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


def _difference(truth: metrics.Truth, ab: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"ciede2000": truth.compare(ab)[2].mean((1, 2))}
