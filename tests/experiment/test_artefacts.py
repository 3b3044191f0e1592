"""A finished run: every damaged byte is noticed, and nothing takes its place but a finished one."""

import contextlib
import dataclasses
import os
import random
import resource
import shutil
import signal

import pytest
from small_runs import small, train

from koala.experiment import artefacts
from koala.model import Koala
from koala.system.errors import KoalaError


@pytest.fixture
def config(photo_folder):
    return small(photo_folder, batch_size=32)


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
