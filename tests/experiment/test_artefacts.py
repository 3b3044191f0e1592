"""A finished run: every damaged byte is noticed, and nothing takes its place but a finished one."""

import contextlib
import dataclasses
import os
import random
import resource
import shutil
import signal

import pytest
import torch

from koala import experiment
from koala.colorize import packed
from koala.config import RunConfig
from koala.experiment import artefacts
from koala.model import Koala
from koala.system import paths
from koala.system.errors import KoalaError

CPU = torch.device("cpu")


@pytest.fixture
def config(photo_folder):
    return RunConfig(
        dataset=str(photo_folder), image_size=32, backbone="none", epochs=1, batch_size=32, device="cpu"
    )


def train(config) -> artefacts.Run:
    photos = experiment.load_photos(config)
    rows = experiment.split_rows(config, photos)
    return experiment.run(config, experiment.load_inputs(config, photos, rows, CPU), CPU)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def flip(path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@contextlib.contextmanager
def files_up_to(size: int):
    """As on a full disk, writing past `size` bytes of a file fails."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_training_again_loses_nothing_where_the_disk_is_full(config):
    first = train(config)
    assert first.parameters == sum(weights.numel() for weights in Koala(0).parameters())
    before = contents(first.folder)
    with files_up_to(2**20), pytest.raises(KoalaError, match=r"could not write .*again/checkpoint"):
        train(dataclasses.replace(config, resume=False))
    assert contents(first.folder) == before
    assert train(config).result == first.result  # read back
    again = train(dataclasses.replace(config, resume=False))
    assert not (first.folder / "again").exists() and again.folder == first.folder
    assert contents(first.folder).keys() == before.keys() and artefacts.damaged(first.folder) == []


def test_a_kill_while_the_new_outcome_takes_its_place_is_made_good(config):
    first = train(config)
    new = first.folder / "again"
    new.mkdir()
    for name, content in contents(first.folder).items():
        (new / name).write_bytes(content)
    flip(first.folder / "history.csv", 0)  # the old outcome's; two files of the new one have been moved
    for name in ("config.json", "model.safetensors"):
        os.replace(new / name, first.folder / name)
    assert artefacts.is_finished(first.folder) and not new.exists()


@pytest.mark.parametrize("name", ("result.json", *artefacts.ARTEFACTS))
def test_a_flipped_bit_in_any_file_of_a_run_is_noticed(config, name, tmp_path, capsys):
    folder = train(config).folder
    random.seed(name)
    for _ in range(5):
        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        flip(copy / name, random.randrange((copy / name).stat().st_size))
        with pytest.raises(KoalaError, match="holds no finished run"):
            artefacts.load(copy)
        assert f"{name} missing or changed" in capsys.readouterr().out
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["config.json", "env.json", "result.json", "model.safetensors"])
def test_a_flipped_bit_in_the_network_that_comes_along_is_noticed(name, tmp_path, monkeypatch):
    shutil.copytree(packed.FOLDER, tmp_path / "network")
    monkeypatch.setattr(packed, "FOLDER", tmp_path / "network")
    assert packed.folder()
    flip(tmp_path / "network" / name, (tmp_path / "network" / name).stat().st_size // 2)
    with pytest.raises(KoalaError, match=f"{name} missing or not what was packed: restore it from git"):
        packed.folder()


def test_a_packed_run_is_whole(config, tmp_path, monkeypatch):
    packed.pack(train(config).folder, tmp_path / "network")
    monkeypatch.setattr(packed, "FOLDER", tmp_path / "network")
    assert packed.folder() and paths.read_json(tmp_path / "network" / "result.json")["status"] == "finished"
