"""Held-out evaluation: one row per photograph and method, and a few photographs chosen by rank or at random."""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from koala import lab, metrics
from koala.system import device as devices
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job, predict

TOGETHER = 200_000  # pixels per thread on a CPU: what is computed of more does not fit its cache
MANY = (
    400_000_000  # pixels: compiling takes a minute and halves the time of judging (tests/speed_statistics.py)
)
RANKED = 2  # photographs of each rank
DRAWN = 24  # photographs of the test split that every run of a data set keeps as it coloured them


def per_image(job: Job, rows: np.ndarray, files: pd.DataFrame, progress=None) -> pd.DataFrame:
    """Metrics of the model on `rows`: one line per photograph, in row order.

    files: the data set's table; its row, path and category go along. Columns after them: method ("model") and what
    koala.metrics.measure returns. koala.experiment.baselines.table has the same for what needs no network."""
    parts, done, quick = [], 0, quickest(job.batches, rows)
    for chunk in chunks(rows, at_a_time(job.batches.images, job.micro_batch)):
        rgb, ab = predict(job, chunk)
        parts.append(measured(chunk, rgb, {"model": ab}, quick))
        done += len(chunk)
        if progress:
            progress(done, len(rows), "evaluating")
    return (
        files[["row", "path", "category"]]
        .merge(pd.concat(parts), on="row")
        .sort_values("row", ignore_index=True)
    )


def measured(
    rows: np.ndarray, rgb: torch.Tensor, predictions: dict[str, torch.Tensor], quick=metrics.eager
) -> pd.DataFrame:
    """One line per method and photograph: row, method, and what koala.metrics.measure returns. Arguments as in `judge`;
    rows (n,): the photographs' row numbers."""
    values = judge(metrics.measure, rgb, predictions, quick)
    return pd.concat(
        [pd.DataFrame({"row": rows, "method": method, **values[method]}) for method in values],
        ignore_index=True,
    )


def judge(
    how, rgb: torch.Tensor, predictions: dict[str, torch.Tensor], quick=metrics.eager
) -> dict[str, dict[str, np.ndarray]]:
    """method -> name -> (n,) of what how(koala.metrics.Truth, a*b*) returns, a few photographs at a time.

    rgb (n,3,S,S) uint8; predictions: method -> a*b* (n,2,S,S); quick: of `quickest`."""
    size, parts = together(rgb), {method: [] for method in predictions}
    for start in range(0, len(rgb), size):
        part = rgb[start : start + size]
        truth = metrics.Truth(part, quick if len(part) > 1 else metrics.eager)  # one would be compiled anew
        for method, ab in predictions.items():
            parts[method].append(how(truth, ab[start : start + size]))
    return {
        method: {name: torch.cat([part[name] for part in pieces]).cpu().numpy() for name in pieces[0]}
        for method, pieces in parts.items()
    }


def quickest(batches, rows: np.ndarray) -> Callable[[Callable], Callable]:
    """What judges `rows` soonest, for koala.metrics.Truth: compiled functions where there are so many pixels on a CPU that
    compiling takes less than it saves."""
    pays = batches.device.type == "cpu" and len(rows) * batches.image_size**2 >= MANY
    return compiled if pays and devices.can_compile(batches.device) and _compiles() else metrics.eager


@functools.cache
def compiled(function: Callable) -> Callable:
    """The function, compiled at its first call for photographs of any number and size."""
    lab.hold_table()
    return torch.compile(function, dynamic=True)


@functools.cache
def _compiles() -> bool:
    """Whether it works; whatever judging compiles has been compiled then."""
    try:  # sizes that agree (photographs, channels) or are small would be compiled for themselves
        rgb, ab = torch.zeros(5, 3, 96, 96, dtype=torch.uint8), torch.zeros(5, 2, 96, 96)
        metrics.measure(metrics.Truth(rgb, compiled), ab)
    except Exception as error:  # compilers fail in many ways, and judging can do without
        print(devices.not_compiled(error))
        return False
    return True


def together(rgb: torch.Tensor) -> int:
    """How many of the photographs (n,3,S,S) are best judged at a time: all on a GPU, a few on a CPU, in half the time
    (and not one, which would be compiled for itself)."""
    if rgb.device.type != "cpu":
        return len(rgb)
    return max(2, int(TOGETHER * torch.get_num_threads() / rgb[0, 0].numel()))


def ranked(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Row numbers of the model's best, median and worst photographs by CIEDE2000, RANKED each (fewer if there are few)."""
    order = table[table.method == "model"].sort_values(["ciede2000", "row"])["row"].to_numpy()
    middle = max((len(order) - RANKED) // 2, 0)
    return {
        "best": order[:RANKED],
        "median": order[middle : middle + RANKED],
        "worst": order[::-1][:RANKED].copy(),
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
