"""How OpenMP's threads had better wait for each other: the same training step on an idle machine and beside other work.

libgomp reads its settings once, when torch is imported, so each of WAYS is a process of its own. The settings are those
of Linux; elsewhere torch brings another OpenMP, and the ways should not differ.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time

import numpy as np
import torch

from koala.experiment import benchmark
from koala.system import device as devices
from koala.system import processes
from koala.system.errors import KoalaError

WAYS = {  # settings of the environment; without any of them koala sets the last one
    "libgomp's default: spin 300,000 times": {"GOMP_SPINCOUNT": "300000"},
    "sleep at once": {"OMP_WAIT_POLICY": "passive"},
    "spin 1,000 times, then sleep": {"GOMP_SPINCOUNT": "1000"},
}
SECONDS = 5  # of one measurement at most; a step that is under way is finished
# A round: beside other work the rate varies twofold from process to process.
MEASUREMENTS = {"idle": 1, "busy": 3}
BUSY = "while True: pass"


def measure(
    dataset: str, image_size: int, batch_size: int, rounds: int, steps: int, progress=None
) -> list[dict]:
    """One dict per way: way, and photographs a second of the engine's step, idle and busy, as median over all measurements
    and with the lowest and the highest of them.

    idle: nothing else is started here. busy: beside it, one process per core computes without end. steps: of one
    measurement, fewer where SECONDS have passed. The ways take turns, round by round."""
    turns = [
        (kind, way) for kind, count in MEASUREMENTS.items() for _ in range(count) for way in WAYS
    ] * rounds
    rates = {turn: [] for turn in turns}
    for number, (kind, way) in enumerate(turns, 1):
        with _others(processes.cores() if kind == "busy" else 0):
            rates[kind, way].append(_rate(WAYS[way], dataset, image_size, batch_size, steps))
        if progress:
            progress(number, len(turns), "threads that wait")
    return [
        {"way": way} | _spread("idle", rates["idle", way]) | _spread("busy", rates["busy", way])
        for way in WAYS
    ]


def _spread(kind: str, rates: list[float]) -> dict[str, float]:
    return {kind: float(np.median(rates)), f"{kind}, lowest": min(rates), f"{kind}, highest": max(rates)}


@contextlib.contextmanager
def _others(count: int):
    """Context: `count` processes that keep a core busy each."""
    command = [sys.executable, "-c", BUSY]
    started = [subprocess.Popen(command, preexec_fn=processes.die_with_parent) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _rate(settings: dict, *arguments) -> float:
    """`rate` of the same arguments in a process with these settings. KoalaError where it fails."""
    inherited = {name: value for name, value in os.environ.items() if name not in set().union(*WAYS.values())}
    command = [sys.executable, "-m", "koala.experiment.waiting", *map(str, arguments)]
    done = subprocess.run(command, env=inherited | settings, capture_output=True, text=True)
    if done.returncode:
        raise KoalaError(f"threads that wait: a measurement failed: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def rate(dataset: str, image_size: int, batch_size: int, steps: int) -> float:
    """Photographs a second of the engine's step in this process, in the precision that `auto` takes."""
    device = torch.device("cpu")
    eager = [line for line in benchmark.variants(device) if line.compiled == "off"][-1]
    variant = dataclasses.replace(eager, precision=devices.pick_precision("auto", device))
    step, _ = benchmark.build(variant, benchmark.photographs(dataset, image_size, batch_size), None, device)
    with processes.keep_freed_memory():
        step()
        count, start = 0, time.perf_counter()
        while count == 0 or (count < steps and time.perf_counter() - start < SECONDS):
            step()
            count += 1
    return count * batch_size / (time.perf_counter() - start)


if __name__ == "__main__":
    print(rate(sys.argv[1], *map(int, sys.argv[2:])))
