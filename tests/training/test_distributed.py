"""Two processes that train together follow the curve of one, and can be stopped and go on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from koala import config as configs
from koala import experiment
from koala.system import paths
from koala.system.errors import KoalaError
from koala.training import distributed

CPU = torch.device("cpu")


def settings(photo_folder, **changes):
    common = dict(
        dataset=str(photo_folder),
        image_size=32,
        backbone="none",
        lr_decay=1.0,
        device="cpu",
        precision="fp32",
    )
    return configs.RunConfig(**common | changes)


def run(config, home, monkeypatch):
    monkeypatch.setenv("KOALA_HOME", str(home))
    photos = experiment.load_photos(config)
    rows = experiment.split_rows(config, photos)
    return experiment.run(config, experiment.load_inputs(config, photos, rows, CPU), CPU)


STEPS = """
from koala.experiment import worker
from koala.training import distributed, loop
honest = loop.Trainer.take
def told(*arguments):
    value = honest(*arguments)
    if not distributed.rank():
        print("loss", value.item(), flush=True)
    return value
loop.Trainer.take = told
worker.main()
"""


def step_losses(folder, processes: int, **values) -> np.ndarray:
    """The loss of every step of a run by so many gloo processes."""
    (folder / "steps.py").write_text(STEPS)
    arguments = [text for name, value in values.items() for text in ("-p", name, str(value))]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    environment = os.environ | {"KOALA_HOME": str(folder / str(processes)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, folder / "steps.py", *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return np.array([float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss ")])


def test_two_processes_follow_one_step_by_step(photo_folder, tmp_path):
    values = dict(
        dataset=photo_folder,
        image_size=32,
        backbone="none",
        epochs=9,
        batch_size=8,
        lr=0.0001,
        device="cpu",
        precision="fp32",
    )
    alone, together = (step_losses(tmp_path, processes, **values) for processes in (1, 2))
    assert len(alone) == len(together) >= 50
    assert np.abs(alone - together)[:50].max() < 1e-5
    assert alone[-6:].mean() < alone[:6].mean()


def test_a_team_trains_as_one_process_would(photo_folder, tmp_path, monkeypatch, capfd):
    one = settings(photo_folder, epochs=2, batch_size=16, lr=0.0001)
    alone = run(one, tmp_path / "one", monkeypatch)
    together = run(dataclasses.replace(one, processes=2), tmp_path / "two", monkeypatch)
    assert "2 processes train this run together" in capfd.readouterr().out
    assert alone.env["machine"]["processes"] == 1 and together.env["machine"]["processes"] == 2
    assert alone.folder.name == together.folder.name
    for column in ("train_loss", "val_loss"):
        assert np.abs(alone.history[column] - together.history[column]).max() < 1e-5


def test_every_row_is_dealt_out_once_and_counts_once(monkeypatch):
    losses = np.random.default_rng(0).random(11)
    for size in (1, 2, 3, 4, 8):
        for count in (11, 3, 1):
            monkeypatch.setattr(distributed, "size", lambda size=size: size)
            average, dealt = 0.0, []
            for rank in range(size):
                monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
                rows, factor = distributed.share(np.arange(count))
                average += factor * losses[rows].mean() / size  # what DDP makes of the processes' gradients
                dealt += rows.tolist() if factor else []
            assert sorted(dealt) == list(range(count)) and average == pytest.approx(losses[:count].mean())


def test_a_team_s_failure_is_one_sentence(photo_folder, tmp_path, monkeypatch):
    config = settings(photo_folder, epochs=1, batch_size=16, lr=1e20, processes=2)
    with pytest.raises(KoalaError, match="training loss is"):
        run(config, tmp_path, monkeypatch)


SCRIPT = """
import sys, torch
from koala import experiment
from koala.experiment import worker
config = worker.read_config(sys.argv[1:])
photos = experiment.load_photos(config)
rows = experiment.split_rows(config, photos)
def progress(done, total, text):
    print(done, flush=True)
experiment.run(config, experiment.load_inputs(config, photos, rows, "cpu"), torch.device("cpu"),
               progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_team_that_is_stopped_goes_on_to_the_same_bits(photo_folder, tmp_path, how):
    values = dict(
        dataset=photo_folder,
        image_size=32,
        backbone="none",
        epochs=20,
        batch_size=8,
        device="cpu",
        precision="fp32",
        processes=2,
        checkpoint_minutes=0.0005,
    )
    arguments = [text for name, value in values.items() for text in ("-p", name, str(value))]

    def start(home):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"KOALA_HOME": str(home), "OMP_NUM_THREADS": "1"},
        )

    def contents(home):
        (folder,) = (home / "runs").glob("*/result.json")
        return [paths.sha256_file(folder.parent / name) for name in ("history.csv", "model.safetensors")]

    start(tmp_path / "undisturbed").communicate()
    process = start(tmp_path / "disturbed")
    while not (line := process.stdout.readline().strip()).isdigit() or int(line) < 200:
        assert process.poll() is None
    process.send_signal(how)
    process.communicate()
    assert not list((tmp_path / "disturbed" / "runs").glob("*/result.json"))
    time.sleep(3)  # the kernel tells the team that its notebook is gone
    assert start(tmp_path / "disturbed").wait() == 0
    assert contents(tmp_path / "disturbed") == contents(tmp_path / "undisturbed")
