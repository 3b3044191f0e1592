"""How long what every study needs once takes at the report's size (a command, no test):

python tests/speed_statistics.py [--photographs 100000] [--size 224] [--width 1000] [--threads 2]

Synthetic photographs are written to a temporary folder (15 GB at full size; TMPDIR moves it) and read from there. Timed by
the clock and by the CPU: the hash of the photographs, colour statistics, baselines, linear colour and the categories told from
features of `width` dimensions, the probes, the judging of the test photographs, and what the pages of 36 runs are made
from. What is judged is 1,000 of the test photographs, compiled as all of them would be; the last columns are what all of it
would take with 100,000.
"""

import argparse
import dataclasses
import io
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from koala import config, data, study
from koala.data import statistics
from koala.experiment import baselines, evaluate
from koala.experiment.artefacts import Run
from koala.report.tables import METRICS
from koala.study import category_baseline, claims, compare, contrasts, hues, packing, probe
from koala.study.finished import FinishedStudy
from koala.system import paths, processes
from koala.training.batches import at_a_time, chunks, make_batches

FULL, CATEGORIES = 100_000, 69  # about as many as Places-Extra69 has
JUDGED = 1000  # photographs
SORTS = 640  # different photographs
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


class Table:
    """The lines of the table: one a step."""

    def __init__(self):
        self.lines = []

    def timed(self, what: str, here: float, full: float, function):
        """Call and return function(). here, full: photographs that the step looks at, now and with FULL of them."""
        start, before = time.perf_counter(), os.times()
        out = function()
        after = os.times()
        taken = {"clock": time.perf_counter() - start, "user": after.user - before.user}
        taken["system"] = after.system - before.system
        scaled = {f"{name}, full": value * full / here for name, value in taken.items()}
        self.lines.append({"step": what, "photographs": int(here)} | taken | scaled)
        print(what, *(f"{name} {value:.1f}" for name, value in taken.items()), flush=True)
        return out


def make_images(folder: Path, count: int, size: int) -> np.ndarray:
    """(count,size,size,3) uint8, memory-mapped: smooth random colours, as photographs have them, with noise; SORTS of them
    again and again, since making all of them anew would take longer than the measurement."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (SORTS, 3, 7, 7), generator=generator).float()
    noise = torch.randn(3, size, size, generator=generator) * 4
    parts = [
        torch.nn.functional.interpolate(part, size=(size, size), mode="bilinear") for part in coarse.split(64)
    ]
    some = torch.cat([(part + noise).clamp(0, 255).byte() for part in parts])
    some = some.permute(0, 2, 3, 1).contiguous().numpy()  # (SORTS, S, S, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    with open(folder / "images.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, SORTS):
            file.write(some[: count - start])
    return np.load(folder / "images.npy", mmap_mode="r")


def make_photos(folder: Path, count: int, size: int) -> data.Photos:
    """A data set of `count` photographs in CATEGORIES categories, in random order."""
    rng = np.random.default_rng(0)
    files = pd.DataFrame({"row": np.arange(count), "path": [f"{row:08d}.jpg" for row in range(count)]})
    files["category"] = pd.Categorical(rng.integers(0, CATEGORIES, count).astype(str))
    ends = np.cumsum([round(share * count) for share in SHARES.values()])[:-1]
    files["split"] = np.repeat(list(SHARES), np.diff([0, *ends, count]))
    files["chroma"] = rng.gamma(2, 8, count)
    return data.Photos("made", folder, make_images(folder, count, size), files, {}, "set")


def measure(table: Table, photos: data.Photos, width: int) -> None:
    count = len(photos)
    features = np.random.default_rng(1).normal(size=(count, width)).astype(np.float16)
    rows = {split: photos.rows(split) for split in SHARES}
    batches = make_batches(photos.images, features, torch.device("cpu"))
    table.timed("hash", count, FULL, lambda: paths.sha256_file(photos.folder / "images.npy"))
    table.timed("colour statistics", count, FULL, lambda: colour_statistics(photos))
    colours, from_features = fit(table, batches, rows, photos, features)
    evaluate.MANY = 0  # as if all of the test photographs were judged
    table.timed("compiling", FULL, FULL, lambda: evaluate.quickest(batches, rows["test"]))
    look(table, batches, rows, photos, features, colours)
    lines = judge(table, batches, rows, photos, colours, from_features)
    pages(table, photos.folder, lines, len(rows["test"]))


def colour_statistics(photos: data.Photos) -> None:
    pixels = statistics.sample(photos)
    statistics.by_lightness(pixels)
    statistics.by_category(photos)
    statistics.hue_shares(pixels)


def fit(table, batches, rows, photos, features):
    """The baselines."""
    names, members = photos.files["category"].to_numpy(str), (0.9 * len(photos), 0.9 * FULL)
    files = photos.files
    colours = table.timed("baselines", *members, lambda: baselines.fit(batches, rows, files, "set"))
    table.timed("baselines, again", *members, lambda: baselines.fit(batches, rows, files, "set"))
    moved = table.timed("linear colour", *members, lambda: baselines.linear_colour(colours, rows, features))
    told = table.timed("categories told", *members, lambda: baselines.tell(features, names, rows))

    def from_features(members, L):
        categories = baselines.by_category(colours, told(members), L)
        return {"linear": baselines.shifted(colours, L, moved(members)), "category_told": categories}

    return colours, from_features


def look(table, batches, rows, photos, features, colours) -> None:
    """The probes."""
    fewer, names = probe.shortened(rows), photos.files["category"].to_numpy(str)
    looked = sum(map(len, fewer.values())), min(0.8 * FULL, probe.FITTED) + 0.2 * FULL
    known, targets = table.timed(
        "probes' statistics", *looked, lambda: probe.statistics(batches, features, fewer)
    )
    table.timed("probes", *looked, lambda: probe.run(known, targets, fewer))
    told = table.timed("probes' categories", *looked, lambda: category_baseline.told(known, names, fewer))
    some = rows | {"test": rows["test"][:JUDGED]}
    told = {name: values[:JUDGED] for name, values in told.items()}
    judged = len(some["test"]), 0.1 * FULL
    table.timed(
        "colour of categories", *judged, lambda: category_baseline.errors(batches, some, colours, told)
    )


def judge(table, batches, rows, photos, colours, from_features) -> pd.DataFrame:
    """Some test photographs by all that needs no network, and by one method, as a network's predictions are."""
    names, some = photos.files["category"].to_numpy(str), rows["test"][:JUDGED]
    judged = len(some), 0.1 * FULL
    makers = {"without features": baselines._plain(colours, names), "from features": lambda: from_features}

    def trivial(kind: str):
        return table.timed(
            f"judging rows {kind}",
            *judged,
            lambda: baselines._judged(kind, batches, some, makers[kind], None),
        )

    def one_method():
        quick = evaluate.quickest(batches, some)
        for part in chunks(some, at_a_time(batches.images)):
            rgb = batches(part)[0]
            evaluate.measured(part, rgb, {"model": torch.zeros(len(rgb), 2, *rgb.shape[2:])}, quick)

    lines = pd.concat([trivial(kind) for kind in makers], ignore_index=True)
    table.timed("judging a network", *judged, one_method)
    model = lines[lines.method == "lightness"].assign(method="model")
    return pd.concat([lines, model], ignore_index=True)


def pages(table, folder: Path, lines: pd.DataFrame, tests: int) -> None:
    """What the pages of the report's 36 runs are made from, with `tests` test photographs each."""
    rng = np.random.default_rng(2)
    copies = [lines.assign(row=lines.row + FULL * i) for i in range(-(-tests // lines.row.nunique()))]
    lines = pd.concat(copies, ignore_index=True)
    metrics = lines.columns.difference(["row", "method"])
    lines[metrics] *= rng.normal(1, 0.1, (len(lines), 1))
    lines = lines.assign(path=lines.row.astype(str), category=(lines.row % CATEGORIES).astype(str))
    plan, count = study.load("report"), (lines.row.nunique(), 0.1 * FULL)
    text = table.timed(
        "a run's lines, written", *count, lambda: lines.to_csv(index=False, float_format="%.6g")
    )
    runs = count[0], len(plan.runs()) * count[1]
    lines = table.timed(
        "36 runs' lines, read", *runs, lambda: packing.rounded(pd.read_csv(io.StringIO(text)))
    )
    found = FinishedStudy(plan, {run: made_run(plan, run, lines) for run in plan.runs()}, [])
    table.timed("36 runs compared", *count, lambda: analysis(found))


def made_run(plan, run, lines: pd.DataFrame) -> Run:
    settings = dataclasses.asdict(config.from_dict(config.RunConfig, study.parameters(plan, *run)))
    losses = pd.DataFrame({"epoch": range(1, 21), "train_loss": 0.02, "val_loss": 0.02, "lr": 0.001})
    weights = {
        "trained": settings["weights"] != "untrained",
        "weights": "",
        "sha256": settings["backbone"],
        "width": 1000,
    }
    machine = {"precision": "fp32", "device": "CPU"}
    env = {"commit": "0", "weights": weights, "data": {"name": "made"}, "machine": machine}
    return Run(Path(), settings, env, {}, losses, lines)


def analysis(found: FinishedStudy) -> None:
    compare.summary(found, list(METRICS))
    for what in (claims.table, contrasts.controls, contrasts.earned, hues.table, hues.biases):
        what(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=int, default=FULL)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measured = Table()
    with tempfile.TemporaryDirectory() as place:
        os.environ["KOALA_HOME"] = place
        print(f"making {arguments.photographs:,} photographs of {arguments.size} px ...", flush=True)
        made = make_photos(Path(place), arguments.photographs, arguments.size)
        with processes.keep_freed_memory():  # as in a run
            measure(measured, made, arguments.width)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{arguments.threads} threads, CPU; at most {memory:.1f} GB of memory; seconds:")
    print(pd.DataFrame(measured.lines).to_string(index=False, float_format="{:.1f}".format))
