"""Bytes are read once per change of a file, and again on demand."""

import os
import time

import pytest

from koala import data
from koala.data import verify
from koala.system import paths
from koala.system.errors import KoalaError


@pytest.fixture
def prepared(photo_folder, monkeypatch):
    """Prepared a while ago, and read by a process that knows nothing yet."""
    photos = data.prepare(str(photo_folder), "mine", 16)
    for path in photos.folder.iterdir():
        os.utime(path, (time.time() - 60,) * 2)
    monkeypatch.setattr(verify, "_known", {})
    return photos.folder


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose bytes are read."""
    seen = []
    monkeypatch.setattr(
        paths, "sha256_file", lambda path, own=paths.sha256_file: seen.append(path.name) or own(path)
    )
    return seen


def test_the_next_process_need_not_read_again(prepared, reads, monkeypatch):
    data.load("mine")
    assert sorted(reads) == ["files.csv", "images.npy"]
    monkeypatch.setattr(verify, "_known", {})  # another process
    data.load("mine")
    assert len(reads) == 2
    data.prepare(data.load("mine").meta["source"], "mine", 16)  # on demand: data.ipynb
    assert len(reads) == 4


@pytest.mark.parametrize("replaced", [False, True])
def test_a_change_is_noticed(prepared, replaced, monkeypatch):
    data.load("mine")
    path = prepared / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if replaced:  # another file with the same size and times
        times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        (prepared / "other").write_bytes(content)
        os.replace(prepared / "other", path)
        os.utime(path, ns=times)
    else:
        path.write_bytes(content)
    for known in (verify._known, {}):
        monkeypatch.setattr(verify, "_known", known)
        with pytest.raises(KoalaError, match=r"images\.npy is not what was written: prepare 'mine' again"):
            data.load("mine")


def test_what_has_just_changed_is_not_kept(prepared, monkeypatch):
    """A second change within the same tick of the clock would have the same time."""
    (prepared / "images.npy").touch()
    data.load("mine")
    assert "images.npy" not in paths.read_json(paths.data_dir() / ".mine.verified.json")


def test_a_damaged_note_is_as_good_as_none(prepared, reads, monkeypatch):
    data.load("mine")
    (paths.data_dir() / ".mine.verified.json").write_text("{")
    monkeypatch.setattr(verify, "_known", {})
    data.load("mine")
    assert len(reads) == 4
