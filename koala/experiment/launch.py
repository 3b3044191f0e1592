"""Start a team of processes on this machine for one run, follow its progress, and end it with this process."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import torch

from koala.system import device as devices
from koala.system import paths
from koala.system.errors import KoalaError
from koala.system.processes import end_with_parent

MARK = "@koala "  # begins a line of the team's output that is meant for `start`
EVERY = 1.0  # seconds
PATIENCE = 90  # seconds that a team has to write its checkpoint when it is stopped


def start(config, team: int, device: torch.device, on_epoch=None, progress=None) -> None:
    """Train `config` with `team` processes of koala.experiment.worker and return when the run is finished.

    on_epoch and progress are called as by koala.training.fit. Raises KoalaError with the team's reason."""
    print(f"{team} processes train this run together.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        paths.write_json(f"{folder}/config.json", dataclasses.asdict(config), seal=False)
        with open(f"{folder}/errors", "w+", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "torch.distributed.run",
                    "--standalone",
                    f"--nproc-per-node={team}",
                    "-m",
                    "koala.experiment.worker",
                    "-f",
                    f"{folder}/config.json",
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(team, device),
                preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # the team writes a checkpoint first
            )
            try:
                reason = _follow(process.stdout, on_epoch, progress)
                code = process.wait()
            finally:
                _end(process)
            if code and not reason:
                errors.seek(0)
                print(errors.read(), file=sys.stderr)
                reason = f"the processes of this run ended with exit code {code}, without a reason: were they killed?"
            if code:
                raise KoalaError(reason)


def _end(process) -> None:
    """Of an interrupted team: let it write its checkpoint, for PATIENCE seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdout.close()


def _follow(lines, on_epoch, progress) -> str:
    """Pass on what the team says, to its end; the first reason that one of its processes gave for failing, or ""."""
    reason = ""
    for line in lines:
        if not line.startswith(MARK):
            print(line, end="", flush=True)
            continue
        what, values = json.loads(line.removeprefix(MARK))
        if what == "progress" and progress:
            progress(*values)
        elif what == "history" and on_epoch:
            on_epoch(values)
        elif what == "failure":
            reason = reason or values
    return reason


def tell(what: str, values) -> None:
    """In a process of the team: one line for `start`. what: progress, history or failure.

    It is written at once with its end: the processes share the pipe, and print may write the end apart."""
    sys.stdout.write(f"{MARK}{json.dumps([what, values])}\n")
    sys.stdout.flush()


def tell_progress():
    """A progress callback that tells `start` at most once in EVERY seconds: a fast step must not wait for a pipe."""
    last = 0.0

    def progress(done: int, total: int, text: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY or done >= total:
            last = time.monotonic()
            tell("progress", [done, total, text])

    return progress


def _environment(team: int, device: torch.device) -> dict:
    own = {"KOALA_LAUNCHED": "1", "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // team))}
    if device.type == "cuda" and devices.leased():
        known = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        numbers = devices.leased()
        own["CUDA_VISIBLE_DEVICES"] = ",".join(
            known[i] if len(known) > i and known[i] else str(i) for i in numbers
        )
    return os.environ | own
