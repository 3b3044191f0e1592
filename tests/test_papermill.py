"""papermill from the repository's root, as the README has it, and a whole study with a run that fails."""

import ast
import dataclasses
import importlib.util
import re

import nbformat
import pytest
from calling import TINY, call, papermill, text_of

from koala import config
from koala.system import paths


def test_a_new_backbone_without_weights_is_named_untrained_everywhere(environment, tmp_path):
    result = tmp_path / "result.json"
    values = ("-p", "backbone", "resnet18", *TINY, "-p", "result_file", result)
    done = papermill(environment, "train", tmp_path / "out.ipynb", *values)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = paths.read_json(result)
    assert summary["status"] == "finished"
    for words in (
        "epoch 1: training loss",
        "CIEDE2000",
        "colour by lightness",
        "koala.report html",
    ):  # the terminal
        assert words in done.stderr, words
    if summary["weights"]["trained"]:
        pytest.skip("ImageNet weights of ResNet-18 are at hand here")
    folder = paths.Path(environment["KOALA_HOME"]) / "runs" / summary["run_id"]
    assert paths.read_json(folder / "env.json")["weights"]["weights"] == "untrained (seed 0)"
    shown = text_of(tmp_path / "out.ipynb")
    for words in ("UNTRAINED extractor", "resnet18, mse (untrained)"):
        assert words in shown and words in done.stderr, words


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
    listed = re.findall(r"^  (\w+): (\w+) \(default (.*?)\)\s+(\S.*)$", done.stdout, re.MULTILINE)
    fields = dataclasses.fields(config.RunConfig)
    assert [name for name, *_ in listed] == [field.name for field in fields]
    for field, (_, kind, default, words) in zip(fields, listed, strict=True):
        assert (kind, ast.literal_eval(default)) == (type(field.default).__name__, field.default), field.name
        assert len(words) > 5, f"{field.name} has no help"
    assert "Can't infer" not in done.stdout


def test_a_parameter_twice_in_a_file_is_refused(environment, tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 1\nseed: 1\nepochs: 2\n")
    done = papermill(environment, "train", tmp_path / "out.ipynb", "-f", tmp_path / "mine.yaml")
    assert done.returncode != 0
    assert "mine.yaml, line 3 cannot be read: 'epochs' stands there twice." in done.stderr


@pytest.mark.skipif(not importlib.util.find_spec("snakemake"), reason="needs snakemake")
def test_a_study_goes_on_past_a_failing_run(environment, photo_folder, tmp_path):
    """One run of two fails: the other ends, the index shows both, the exit code says so, and a second call retries it
    and what it needs."""
    plan = tmp_path / "small.yaml"
    plan.write_text(
        f"experiments: [no-extractor, resnet18]\nseeds: [0]\ndata: {{source: {photo_folder}, name: folder, image_size: 32}}\n"
        "scale: {epochs: 1, max_images: 60, weights: imagenet, device: cpu}\n"
    )
    command = f"snakemake --cores 1 --keep-going --quiet all --directory {paths.ROOT} --nolock --config study={plan}"
    done = call(environment, *command.split())
    assert done.returncode != 0
    index = (paths.Path(environment["KOALA_REPORTS"]) / "small" / "index.html").read_text()
    assert (
        "1 of 2 runs finished" in index
        and "resnet18, seed 0</a> failed: " in index
        and "colour by lightness" in index
    )
    assert "weights" in index.split("failed:")[1][:500]
    folder = paths.Path(environment["KOALA_HOME"]) / "runs" / "studies" / "small"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-s0.json")}
    features = next(folder.glob("features-resnet18*.json"))
    assert paths.read_json(features)["status"] == "failed"
    needed = features.stat().st_mtime_ns
    call(environment, *command.split(), "--", *(folder / name for name in before))
    again = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-s0.json")}
    assert again["no-extractor-s0.json"] == before["no-extractor-s0.json"]
    assert again["resnet18-s0.json"] > before["resnet18-s0.json"]
    assert features.stat().st_mtime_ns > needed


def test_several_files_combine_and_the_later_wins(environment, tmp_path):
    files = ("-f", "params/experiments/1-inception.yaml", "-f", "params/experiments/2-convnext.yaml")
    done = papermill(
        environment, "train", tmp_path / "out.ipynb", "--prepare-only", *files, "-p", "epochs", "3"
    )
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    injected = next(c.source for c in cells if "injected-parameters" in c.metadata.get("tags", []))
    assert 'backbone = "convnext"' in injected and "epochs = 3" in injected
