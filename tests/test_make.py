"""The Makefile's own sentences, with empty programs in place of Python and Snakemake."""

import fcntl
import shutil
import subprocess

import pytest

from koala.system import paths


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("flock")), reason="needs make and flock")
def test_a_second_study_says_that_another_one_runs(tmp_path):
    for name in ("Makefile", "pyproject.toml", *(path.name for path in paths.ROOT.glob("requirements*.txt"))):
        shutil.copy(paths.ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "snakemake"):
        (tmp_path / ".venv/bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    (tmp_path / ".venv/koala-ready").touch()

    def study():
        return subprocess.run(["make", "study"], cwd=tmp_path, capture_output=True, text=True)

    assert study().returncode == 0
    with open(tmp_path / ".snakemake/koala.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = study()
    assert done.returncode != 0 and "Another 'make study' is running here" in done.stderr
