"""The real entries, as a user calls them: papermill from the root, nbval from the notebooks' folder, a whole study."""

import importlib.util
import json
import os
import subprocess
import sys

import nbformat
import pytest

from koala import paths, study

TINY = ("-p", "image_size", "32", "-p", "epochs", "1", "-p", "max_images", "60", "-p", "device", "cpu")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One home for the module, so that data and features are prepared once; the hubs are out of reach."""
    home = tmp_path_factory.mktemp("home")
    extra = {
        "KOALA_HOME": home,
        "KOALA_REPORTS": home / "reports",
        "TORCH_HOME": home / "torch",
        "HF_HUB_OFFLINE": "1",
    }
    return os.environ | {key: str(value) for key, value in extra.items()} | {"OMP_NUM_THREADS": "1"}


def call(environment, *arguments, folder=paths.ROOT):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def papermill(environment, notebook, out, *arguments):
    return call(environment, "papermill", "--no-progress-bar", f"notebooks/{notebook}.ipynb", out, *arguments)


def text_of(notebook) -> str:
    outputs = [o for cell in nbformat.read(notebook, as_version=4).cells for o in cell.get("outputs", [])]
    return json.dumps(outputs)


@pytest.mark.parametrize("name", ["data", "features", "train", "colorize"])
def test_nbval(environment, name):
    done = call(
        environment,
        "pytest",
        "--nbval-lax",
        "--nbval-cell-timeout=600",
        "-p",
        "no:cacheprovider",
        "-q",
        f"{name}.ipynb",
        folder=paths.ROOT / "notebooks",
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_analysis_under_nbval_after_two_runs(environment):
    for experiment in ("no-extractor", "efficientnet"):
        result = f"{environment['KOALA_HOME']}/runs/studies/demo/{experiment}-s0.json"
        done = papermill(
            environment,
            "train",
            "-",
            "-f",
            f"params/experiments/{experiment}.yaml",
            *TINY,
            "-p",
            "result_file",
            result,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    done = call(
        environment,
        "pytest",
        "--nbval-lax",
        "--nbval-cell-timeout=600",
        "-p",
        "no:cacheprovider",
        "-q",
        "notebooks/analysis.ipynb",
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_new_backbone_without_weights_is_named_untrained_everywhere(environment, tmp_path):
    result = tmp_path / "result.json"
    done = papermill(
        environment,
        "train",
        tmp_path / "out.ipynb",
        "-p",
        "backbone",
        "convnext",
        *TINY,
        "-p",
        "result_file",
        result,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = paths.read_json(result)
    assert summary["status"] == "finished"
    if summary["weights"]["trained"]:
        pytest.skip("ImageNet weights of ConvNeXt-T are at hand here")
    folder = summary["folder"]
    assert paths.read_json(f"{folder}/env.json")["weights"]["weights"] == "untrained (seed 0)"
    shown = text_of(tmp_path / "out.ipynb")
    for words in ("UNTRAINED extractor", "convnext, mse (untrained)"):
        assert words in shown, words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backbon", "convnext"), "unknown parameter 'backbon', did you mean 'backbone'?"),
        (("epochs", "many"), "parameter 'epochs' must be a whole number, not 'many'."),
        (("dataset", "nowhere"), "nowhere"),
        (("backbone", "convnxt"), "did you mean 'convnext'"),
    ],
)
def test_bad_input_stops_at_once_with_one_sentence(environment, tmp_path, arguments, words):
    done = papermill(environment, "train", tmp_path / "out.ipynb", "-p", *arguments)
    assert done.returncode != 0
    assert words in done.stderr
    assert words in text_of(tmp_path / "out.ipynb").replace("\\u2019", "'")


def test_help_lists_every_parameter(environment):
    done = call(environment, "papermill", "--help-notebook", "notebooks/train.ipynb")
    assert (
        "backbone: str" in done.stdout and "a fresh" not in done.stdout and "Can't infer" not in done.stdout
    )


@pytest.mark.skipif(not importlib.util.find_spec("snakemake"), reason="needs snakemake")
def test_a_study_goes_on_past_a_failing_run(environment, tmp_path):
    """One run of two fails: the other ends, the index shows both, the exit code says so, and a second call retries."""
    plan = tmp_path / "small.yaml"
    plan.write_text(
        "experiments: [no-extractor, 1-inception]\nseeds: [0]\ndata: {source: photos, name: photos, image_size: 32}\n"
        "scale: {epochs: 1, max_images: 60, weights: imagenet, device: cpu}\n"
    )
    command = (
        "snakemake",
        "--cores",
        "1",
        "--keep-going",
        "--quiet",
        "all",
        "--directory",
        paths.ROOT,
        "--config",
        f"study={plan}",
        "--nolock",
    )
    done = call(environment, *command)
    assert done.returncode != 0
    index = (paths.Path(environment["KOALA_REPORTS"]) / "small" / "index.html").read_text()
    assert "1 finished" in index and "1 failed" in index and "colour by lightness" in index
    assert "weights" in index.split("failed:")[1][:500]
    folder = paths.Path(environment["KOALA_HOME"]) / "runs" / "studies" / "small"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    call(environment, *command)
    again = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert again["no-extractor-s0.json"] == before["no-extractor-s0.json"]
    assert again["1-inception-s0.json"] > before["1-inception-s0.json"]


def test_every_experiment_can_be_injected(environment, tmp_path):
    """papermill accepts each experiment's file on top of another one (several -f combine, the later wins)."""
    for path in sorted((study.PARAMS / "experiments").glob("*.yaml")):
        out = tmp_path / f"{path.stem}.ipynb"
        done = papermill(
            environment,
            "train",
            out,
            "--prepare-only",
            "-f",
            "params/experiments/1-inception.yaml",
            "-f",
            path,
        )
        assert done.returncode == 0, done.stderr
        injected = next(
            c.source
            for c in nbformat.read(out, as_version=4).cells
            if "injected-parameters" in c.metadata.get("tags", [])
        )
        expected = study._read_yaml(path)["backbone"]
        assert f'backbone = "{expected}"' in injected
