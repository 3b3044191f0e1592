"""Held-out evaluation: one row per photograph and method, and a few photographs chosen by rank or at random."""

import numpy as np
import pandas as pd
import torch

from koala import lab, metrics
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job, predict

DRAWN = 24  # photographs of the test split that every run of a data set keeps as it coloured them


def per_image(job: Job, rows: np.ndarray, files: pd.DataFrame, progress=None) -> pd.DataFrame:
    """Metrics of the model on `rows`: one line per photograph, in row order.

    files: the data set's table; its row, path and category go along. Columns after them: method ("model") and what
    koala.metrics.measure returns. koala.experiment.baselines.table has the same for what needs no network."""
    parts, done = [], 0
    for chunk in chunks(rows, at_a_time(job.batches.images, job.micro_batch)):
        parts.append(pd.DataFrame({"row": chunk, "method": "model", **measured(*predict(job, chunk))}))
        done += len(chunk)
        if progress:
            progress(done, len(rows), "evaluating")
    return (
        files[["row", "path", "category"]]
        .merge(pd.concat(parts), on="row")
        .sort_values("row", ignore_index=True)
    )


def measured(rgb: torch.Tensor, ab: torch.Tensor) -> dict[str, np.ndarray]:
    """All metrics of a prediction ab (n,2,S,S) in a*b* of rgb (n,3,S,S) uint8, one value per photograph, (n,)."""
    return {name: value.cpu().numpy() for name, value in metrics.measure(rgb, ab).items()}


def ranked(table: pd.DataFrame, count: int = 2) -> dict[str, np.ndarray]:
    """Row numbers of the model's best, median and worst photographs by CIEDE2000, `count` each (fewer if there are few)."""
    order = table[table.method == "model"].sort_values(["ciede2000", "row"])["row"].to_numpy()
    middle = max((len(order) - count) // 2, 0)
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count].copy(),
    }


def drawn(test_rows: np.ndarray) -> np.ndarray:
    """The first DRAWN rows of the test split: a random sample, since the rows of a data set are in a random order."""
    return np.sort(test_rows)[:DRAWN]


def of_each(categories: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` photographs (of all if there are fewer), ascending, round-robin over categories: the first of each,
    then the second, and so on, so that a sample shows as many categories as possible."""
    turn = pd.Series(categories).groupby(categories).cumcount().to_numpy()
    return np.sort(np.argsort(turn, kind="stable")[:count])


def coloured(job: Job, rows: np.ndarray) -> np.ndarray:
    """The photographs coloured by the model, (n,S,S,3) uint8."""
    shown = []
    for chunk in chunks(rows, at_a_time(job.batches.images, job.micro_batch)):
        rgb, ab = predict(job, chunk)
        shown.append(
            lab.lab_to_rgb(torch.cat([lab.rgb_to_lab(rgb)[:, :1], ab.float()], 1)).permute(0, 2, 3, 1).cpu()
        )
    return torch.cat(shown).numpy()
