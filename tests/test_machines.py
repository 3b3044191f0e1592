"""The queue of params/profiles/machines, with this machine as all of them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from koala.system import paths

PROFILES = paths.ROOT / "params" / "profiles"


@pytest.fixture
def queue(tmp_path):
    (tmp_path / "machines.txt").write_text("local\nlocal\n")
    environment = os.environ | {"KOALA_MACHINES": "machines.txt"}

    def call(*arguments):
        command = [sys.executable, PROFILES / "machines" / "machines.py", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return call


def script(tmp_path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    return name


def wait_for(queue, job: str) -> str:
    end = time.monotonic() + 60
    while (state := queue("status", job)) == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return state


def test_jobs_end_well_or_badly_or_are_killed(queue, tmp_path):
    assert (
        wait_for(queue, queue("submit", script(tmp_path, "good it's.sh", "echo done > out.txt"))) == "success"
    )
    assert (tmp_path / "out.txt").read_text() == "done\n"
    assert wait_for(queue, queue("submit", script(tmp_path, "bad.sh", "exit 3"))) == "failed"
    for stop in (
        lambda job: os.killpg(int(job.partition("-")[0]), signal.SIGKILL),
        lambda job: queue("cancel", job),
    ):
        job = queue("submit", script(tmp_path, "long.sh", "sleep 600"))
        assert queue("status", job) == "running"
        stop(job)
        assert wait_for(queue, job) == "failed"


def test_a_third_job_waits_for_one_of_two_machines(queue, tmp_path):
    long = script(tmp_path, "long.sh", "sleep 600")
    jobs = [queue("submit", long) for _ in range(2)]
    began = time.monotonic()
    ender = subprocess.Popen(["sh", "-c", f"sleep 2; kill -9 -{jobs[0].partition('-')[0]}"])
    last = queue("submit", script(tmp_path, "short.sh", "exit 0"))  # a killed job leaves no lock behind
    assert time.monotonic() - began > 1.5
    assert wait_for(queue, last) == "success" and queue("status", jobs[1]) == "running"
    queue("cancel", jobs[1])
    ender.wait()


@pytest.mark.parametrize("name", ["slurm", "machines"])
def test_profiles_name_options_of_snakemake(name):
    """Every option is one that snakemake, or the executor that the profile names, has."""
    pytest.importorskip("snakemake")
    profile = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    known = subprocess.run(
        [sys.executable, "-m", "snakemake", "--help"], capture_output=True, text=True
    ).stdout
    for option in profile:
        assert f"--{option}" in known or option.startswith(f"{profile['executor']}-"), option
    assert profile["nolock"]  # else a killed Snakemake's lock refuses the same command
