"""kill -9 at random moments of training: the same command goes on and ends with the same bits."""

import os
import random
import subprocess
import sys
import time

import pytest

from koala.system import paths

SCRIPT = """
import sys, torch
from koala import config, experiment
settings = config.RunConfig(dataset=sys.argv[1], image_size=32, backbone="none", epochs=20, batch_size=8, device="cpu",
                            precision="fp32", checkpoint_minutes=0.0005)
photos = experiment.load_photos(settings)
rows = experiment.split_rows(settings, photos)
print("ready", flush=True)
run = experiment.run(settings, experiment.load_inputs(settings, photos, rows, "cpu"), torch.device("cpu"))
print(run.folder, flush=True)
"""


def start(photo_folder, home):
    environment = os.environ | {"KOALA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(photo_folder)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def contents(home) -> dict:
    (folder,) = (home / "runs").glob("*/result.json")
    names = ("history.csv", "per_image.csv", "model.safetensors")
    return {name: paths.sha256_file(folder.parent / name) for name in names}


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
    assert contents(tmp_path / "disturbed") == contents(tmp_path / "undisturbed")
