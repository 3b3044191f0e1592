"""Two processes that train together follow the curve of one, and can be stopped and go on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import hashes, small, train

from koala.study import command_line
from koala.system.errors import KoalaError
from koala.training import distributed

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
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    command = [sys.executable, *launcher, folder / "steps.py", *command_line(values)]
    environment = os.environ | {"KOALA_HOME": str(folder / str(processes)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array([float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss ")])


@pytest.mark.slow  # the next one compares whole epochs
def test_two_processes_follow_one_step_by_step(photo_folder, tmp_path):
    values = small(photo_folder, image_size=16, epochs=9, batch_size=8, lr=0.0001).identity() | {
        "device": "cpu"
    }
    alone, together = (step_losses(tmp_path, processes, **values) for processes in (1, 2))
    assert len(alone) == len(together) >= 50
    assert np.abs(alone - together)[:50].max() < 1e-5
    assert alone[-6:].mean() < alone[:6].mean()


def test_a_team_trains_as_one_process_would(photo_folder, tmp_path, monkeypatch, capfd):
    one = small(photo_folder, epochs=2, lr=0.0001, lr_decay=1.0)
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / "one"))
    alone = train(one)
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / "two"))
    together = train(dataclasses.replace(one, processes=2))
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


def test_a_team_s_failure_is_one_sentence(photo_folder):
    with pytest.raises(KoalaError, match=r"^the training loss is .*lower the learning rate") as caught:
        train(small(photo_folder, lr=1e20, processes=2))
    assert "\n" not in str(caught.value)


SCRIPT = """
import sys, torch
from koala import experiment
from koala.experiment import worker
config = worker.read_config(sys.argv[1:])
photos = experiment.load_photos(config)
rows = experiment.split_rows(config, photos)
def progress(done, total, text):
    print(text, flush=True)
experiment.run(config, experiment.load_inputs(config, photos, rows, "cpu"), torch.device("cpu"),
               progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_team_that_is_stopped_goes_on_to_the_same_bits(photo_folder, tmp_path, how):
    values = small(photo_folder, epochs=20, batch_size=8).identity() | {"device": "cpu"}
    arguments = command_line(values | {"processes": 2, "checkpoint_minutes": 0.0005})

    def start(home):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"KOALA_HOME": str(home), "OMP_NUM_THREADS": "1"},
        )

    start(tmp_path / "undisturbed").communicate()
    process = start(tmp_path / "disturbed")
    while not process.stdout.readline().startswith("epoch 5 of 20"):
        assert process.poll() is None
    process.send_signal(how)
    process.communicate()
    assert not list((tmp_path / "disturbed" / "runs").glob("*/result.json"))
    time.sleep(3)  # the kernel tells the team that its notebook is gone
    assert start(tmp_path / "disturbed").wait() == 0
    assert hashes(tmp_path / "disturbed") == hashes(tmp_path / "undisturbed")
