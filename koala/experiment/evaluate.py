"""Held-out evaluation: one row per photograph and method, and a few pictures chosen by rank or by a seeded draw."""

import numpy as np
import pandas as pd
import torch

from koala import lab, metrics
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job, predict

DRAWN = 24  # photographs of the test split whose pictures every run of a data set keeps


def fit_baselines(job: Job, train_rows: np.ndarray) -> metrics.Baselines:
    """Mean colour and colour by lightness of the training split."""
    return metrics.fit_baselines(
        rgb for rgb, _ in job.batches.load(list(chunks(train_rows, at_a_time(job.batches.images))))
    )


def per_image(
    job: Job, rows: np.ndarray, files: pd.DataFrame, baselines: metrics.Baselines, progress=None
) -> pd.DataFrame:
    """Metrics of the model and of the trivial baselines on `rows`: one line per photograph and method.

    files: the data set's table; its row, path and category go along. Columns after them: method ("model", "gray",
    "mean", "lightness") and what koala.metrics' evaluate and hue_errors return."""
    parts = []
    size = at_a_time(job.batches.images, job.micro_batch)
    for chunk in chunks(rows, size):
        rgb, ab = predict(job, chunk)
        L = lab.rgb_to_lab(rgb)[:, :1]
        predictions = {"model": ab} | {name: baselines.predict(name, L) for name in metrics.BASELINES}
        for method, prediction in predictions.items():
            measured = metrics.evaluate(rgb, prediction) | metrics.hue_errors(rgb, prediction)
            values = {name: value.cpu().numpy() for name, value in measured.items()}
            parts.append(pd.DataFrame({"row": chunk, "method": method, **values}))
        if progress:
            progress(min(len(parts) // len(predictions) * size, len(rows)), len(rows), "evaluating")
    table = files[["row", "path", "category"]].merge(pd.concat(parts), on="row")
    return table.sort_values(["method", "row"], kind="stable").reset_index(drop=True)


def ranked(table: pd.DataFrame, count: int = 2, metric: str = "ciede2000") -> dict[str, np.ndarray]:
    """Row numbers of the model's best, median and worst photographs, `count` each (fewer where there are few)."""
    order = table[table.method == "model"].sort_values([metric, "row"])["row"].to_numpy()
    middle = max((len(order) - count) // 2, 0)
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count].copy(),
    }


def drawn(test_rows: np.ndarray, count: int = DRAWN) -> np.ndarray:
    """The first rows of the test split: as the rows of a data set stand in a seeded random order, a random draw."""
    return np.sort(test_rows)[:count]


def of_each(categories: np.ndarray, count: int) -> np.ndarray:
    """Places of `count` photographs (fewer where there are fewer), ascending: the first of each category, then the
    second, and so on, so that a draw by seed shows as many categories as it can."""
    turn = pd.Series(categories).groupby(categories).cumcount().to_numpy()
    return np.sort(np.argsort(turn, kind="stable")[:count])


def pictures(job: Job, rows: np.ndarray) -> np.ndarray:
    """The photographs coloured by the model, (n,S,S,3) uint8."""
    shown = []
    for chunk in chunks(rows, at_a_time(job.batches.images, job.micro_batch)):
        rgb, ab = predict(job, chunk)
        shown.append(
            lab.lab_to_rgb(torch.cat([lab.rgb_to_lab(rgb)[:, :1], ab.float()], 1)).permute(0, 2, 3, 1).cpu()
        )
    return torch.cat(shown).numpy()
