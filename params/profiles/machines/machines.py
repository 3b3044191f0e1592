"""A queue over ssh for Snakemake's cluster-generic executor: machines.py submit SCRIPT | status ID | cancel ID ...

KOALA_MACHINES names a file with one machine a line (`local`: this one). A job holds the lock of its line as long as it
lives; `submit` waits until a line is free. The kernel frees the lock of a job that was killed, so nothing is left behind.
"""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(
    ".snakemake/machines"
)  # JOB.exit: the exit status of a job that has ended; slot-N.lock; jobs.log


def submit(script: str) -> str:
    """Start a job script on the first free machine, in this folder; returns the job's id: its process here and a time."""
    machines = (
        Path(os.environ.get("KOALA_MACHINES", "params/profiles/machines/local.txt")).read_text().split()
    )
    STATE.mkdir(parents=True, exist_ok=True)
    machine, lock = _free(machines)
    there = f"cd {shlex.quote(os.getcwd())} && sh {shlex.quote(script)}"
    command = f"sh {shlex.quote(script)}" if machine == "local" else f"ssh -tt {machine} {shlex.quote(there)}"
    now = time.time_ns()  # the system gives a process's number again
    ended = f"{STATE}/$$-{now}"
    with open(STATE / "jobs.log", "a") as log:
        job = subprocess.Popen(
            ["sh", "-c", f"({command}); echo $? > {ended}.part && mv {ended}.part {ended}.exit"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    return f"{job.pid}-{now}"


def _free(machines: list[str]):
    while True:
        for number, machine in enumerate(machines):
            lock = open(STATE / f"slot-{number}.lock", "w")
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return machine, lock
            lock.close()
        time.sleep(0.5)


def _process(job: str) -> int:
    return int(job.partition("-")[0])


def status(job: str) -> str:
    """What Snakemake understands: running, success or failed."""
    ended = STATE / f"{job}.exit"
    if not ended.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(_process(job), 0)
            return "running"
        if not ended.exists():  # it may have ended just now
            return "failed"
    return "success" if ended.read_text().strip() == "0" else "failed"


def cancel(*jobs: str) -> str:
    """Stop jobs with all their processes: koala then writes a checkpoint."""
    for job in jobs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(_process(job), signal.SIGTERM)
    return ""


if __name__ == "__main__":
    print({"submit": submit, "status": status, "cancel": cancel}[sys.argv[1]](*sys.argv[2:]))
