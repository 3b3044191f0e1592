"""kill -9 at random moments of training: the same command goes on and ends with the same bits."""

import os
import random
import subprocess
import sys
import time

import pytest
import small_runs

SCRIPT = """
import sys
sys.path[:0] = [sys.argv[1]]
from koala import experiment
from small_runs import CPU, prepare, small
config = small(sys.argv[2], epochs=20, batch_size=8, checkpoint_minutes=0.0005)
inputs = prepare(config)
print("ready", flush=True)
experiment.run(config, inputs, CPU)
"""


def start(photo_folder, home):
    environment = os.environ | {"KOALA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, os.path.dirname(small_runs.__file__), str(photo_folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_ten_kills_change_nothing(photo_folder, tmp_path):
    began = time.monotonic()
    assert start(photo_folder, tmp_path / "undisturbed").wait() == 0
    whole, killed = time.monotonic() - began, 0
    while killed < 10:
        process = start(photo_folder, tmp_path / "disturbed")
        try:
            process.wait(random.uniform(0.02, whole / 8))
            break  # it ended before ten kills: the disturbed run is done
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    assert killed == 10, f"the run ended after {killed} kills: this machine needs a longer one"
    assert start(photo_folder, tmp_path / "disturbed").wait() == 0
    assert small_runs.hashes(tmp_path / "disturbed") == small_runs.hashes(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_killed_run_goes_on_where_its_home_was_moved_to(photo_folder, tmp_path):
    """A session that is cut off goes on in the next one, which finds KOALA_HOME at another path."""
    assert start(photo_folder, tmp_path / "undisturbed").wait() == 0
    process = start(photo_folder, tmp_path / "first session")
    while not list((tmp_path / "first session").glob("runs/*/checkpoint-b.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    (tmp_path / "first session").rename(tmp_path / "second session")
    output, _ = start(photo_folder, tmp_path / "second session").communicate()
    assert "going on from a checkpoint" in output
    assert small_runs.hashes(tmp_path / "second session") == small_runs.hashes(tmp_path / "undisturbed")
