"""Calling the notebooks as a user does, in a home of their own with the hubs out of reach."""

import json
import os
import subprocess
import sys

import nbformat

from koala.system import paths

TINY = ("-p", "image_size", "32", "-p", "epochs", "1", "-p", "max_images", "60", "-p", "device", "cpu")


def make_environment(home) -> dict:
    """Environment of a subprocess whose data, runs, reports and weights live below `home`."""
    own = {"KOALA_HOME": home, "KOALA_REPORTS": home / "reports", "TORCH_HOME": home / "torch"}
    return (
        os.environ
        | {key: str(value) for key, value in own.items()}
        | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    )


def call(environment, *arguments, folder=paths.ROOT):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


def papermill(environment, notebook, out, *arguments):
    return call(environment, "papermill", "--no-progress-bar", f"notebooks/{notebook}.ipynb", out, *arguments)


def text_of(notebook) -> str:
    """Every output of an executed notebook, as JSON text."""
    cells = nbformat.read(notebook, as_version=4).cells
    return json.dumps([output for cell in cells for output in cell.get("outputs", [])])
