"""How long what every study needs once takes at the report's size (a command, no test):

python tests/speed_statistics.py [--photographs 100000] [--size 224] [--width 1000] [--threads 2]

Synthetic photographs are written to a temporary folder (15 GB at full size; TMPDIR moves it), then timed by the clock:
baselines (koala.experiment.baselines.fit), linear colour and the categories told from features of `width` dimensions, the
probes' statistics and the probes, and on 1,000 photographs all metrics of one method. What follows the number of photographs is extrapolated to 100,000 where fewer are made.
"""

import argparse
import os
import tempfile
import time

import numpy as np
import pandas as pd
import torch

from koala import metrics
from koala.experiment import baselines
from koala.study import probe
from koala.training.batches import at_a_time, chunks, make_batches

FULL, CATEGORIES = 100_000, 69  # about as many as Places-Extra69 has


def photographs(folder: str, count: int, size: int) -> np.ndarray:
    """(count,size,size,3) uint8 on the disk: smooth random colours, as photographs have them, with noise."""
    images = np.lib.format.open_memmap(f"{folder}/images.npy", "w+", np.uint8, (count, size, size, 3))
    generator = torch.Generator().manual_seed(0)
    for start in range(0, count, 64):
        coarse = torch.randint(
            0, 256, (len(images[start : start + 64]), 3, 7, 7), generator=generator
        ).float()
        fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
        fine += torch.randn(fine.shape, generator=generator) * 4
        images[start : start + 64] = fine.clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return images


def timed(what: str, count: int, function) -> dict:
    """One line of the table. count: photographs that the step looks at, here and with FULL of them."""
    start, cpu = time.perf_counter(), time.process_time()
    function()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    here, full = count
    line = {"step": what, "photographs": here, "seconds": seconds, "CPU seconds": cpu}
    return line | {f"with {FULL:,}": seconds * full / here, "CPU": cpu * full / here}


def measure(count: int, size: int, width: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    files = pd.DataFrame(
        {"row": np.arange(count), "path": "", "category": rng.integers(0, CATEGORIES, count).astype(str)}
    )
    features = rng.normal(size=(count, width)).astype(np.float16)
    train, validation = int(0.8 * count), int(0.9 * count)
    rows = dict(
        zip(("train", "validation", "test"), np.split(np.arange(count), [train, validation]), strict=True)
    )
    fewer = probe.shortened(rows)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KOALA_HOME"] = folder
        batches = make_batches(photographs(folder, count, size), features, torch.device("cpu"))
        colours = baselines.fit(batches, {name: part[:100] for name, part in rows.items()}, files, "warm")
        lines = [
            timed("baselines", (validation, 0.9 * FULL), lambda: baselines.fit(batches, rows, files, "set"))
        ]
        colours = baselines.fit(batches, rows, files, "set")
        names = files.category.to_numpy(str)
        fitted = (validation, 0.9 * FULL)
        lines.append(timed("linear colour", fitted, lambda: baselines.linear_colour(colours, rows, features)))
        lines.append(timed("categories told", fitted, lambda: baselines.tell(features, names, rows)))
        looked = (sum(map(len, fewer.values())), min(0.8 * FULL, probe.FITTED) + 0.2 * FULL)
        kept = {}
        lines.append(
            timed(
                "probes' statistics",
                looked,
                lambda: kept.update(a=probe.statistics(batches, features, fewer)),
            )
        )
        lines.append(timed("probes", looked, lambda: probe.run(*kept["a"], fewer)))
        lines.append(
            timed("metrics of one method", (1000, 0.1 * FULL), lambda: _judge(batches, rows["test"][:1000]))
        )
    return pd.DataFrame(lines)


def _judge(batches, rows) -> None:
    for part in chunks(rows, at_a_time(batches.images)):
        rgb = batches(part)[0]
        metrics.measure(rgb, torch.zeros(len(rgb), 2, *rgb.shape[2:]))


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
    table = measure(arguments.photographs, arguments.size, arguments.width)
    print(
        f"{arguments.photographs:,} photographs of {arguments.size} px, {arguments.threads} threads, CPU; seconds"
    )
    print(table.to_string(index=False, float_format="{:.1f}".format))
