"""The notebooks run unchanged under nbval, from their own folder as in JupyterLab, with their defaults."""

import pytest
from calling import TINY, call, papermill

from koala.system import paths

NBVAL = ("pytest", "--nbval-lax", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q")


@pytest.mark.parametrize("name", ["data", "features", "train", "colorize"])
def test_notebook_runs(environment, name):
    done = call(environment, *NBVAL, f"{name}.ipynb", folder=paths.ROOT / "notebooks")
    assert done.returncode == 0, done.stdout[-3000:]


def test_analysis_and_probe_run_after_two_runs(environment):
    for experiment in ("no-extractor", "efficientnet"):
        result = f"{environment['KOALA_HOME']}/runs/studies/demo/{experiment}-s0.json"
        values = ("-f", f"params/experiments/{experiment}.yaml", *TINY, "-p", "result_file", result)
        done = papermill(environment, "train", "-", *values)
        assert done.returncode == 0, done.stderr[-3000:]
    done = call(environment, *NBVAL, "analysis.ipynb", "probe.ipynb", folder=paths.ROOT / "notebooks")
    assert done.returncode == 0, done.stdout[-3000:]
