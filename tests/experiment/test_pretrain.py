"""Training an extractor's network: labels, crops, one run through papermill, and that it stops and goes on."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest
import safetensors
import torch
from calling import make_environment, papermill, text_of

from koala import config, data, experiment, extractors
from koala.experiment import pretrain
from koala.extractors import quantize
from koala.system.errors import KoalaError
from koala.training.loop import cosine

CPU = torch.device("cpu")
SMALL = config.PretrainConfig(
    image_size=32, backbone="resnet10t", size=32, epochs=2, batch_size=16, precision="fp32", lr=0.003
)


@pytest.fixture
def photos(photo_folder):
    return data.find(str(photo_folder), 32)


def train(photos, **changes):
    settings = dataclasses.replace(SMALL, **changes)
    return pretrain.run(settings, photos, experiment.split_rows(settings, photos), CPU)


@dataclasses.dataclass
class Table:
    """As much of a data set as `classes` looks at."""

    files: pd.DataFrame
    name: str = "made up"


def test_synsets_have_imagenets_numbers_and_other_categories_their_order():
    synsets = Table(
        pd.DataFrame({"category": pd.Categorical(["n01443537", "n01440764", "n01443537"])})
    )  # goldfish 1, tench 0
    assert pretrain.classes(synsets, 1000).tolist() == [1, 0, 1]
    others = Table(pd.DataFrame({"category": pd.Categorical(["sea", "forest", "sea"])}))
    assert pretrain.classes(others, 1000).tolist() == [1, 0, 1]
    for width, categories in ((1, ["a", "b"]), (10, ["a", "a"])):
        with pytest.raises(KoalaError, match=r"'made up' has \d categories"):
            pretrain.classes(Table(pd.DataFrame({"category": pd.Categorical(categories)})), width)


def test_crops_show_parts_of_their_own_photograph_and_mirror_half():
    ramp = torch.linspace(0, 1, 64).expand(400, 1, 64, 64)  # brighter to the right
    shown = pretrain.augment(ramp, 96)
    assert shown.shape == (400, 1, 96, 96) and 0 <= shown.min() and shown.max() <= 1
    slope = shown[..., -1].mean((1, 2)) - shown[..., 0].mean((1, 2))  # (400,)
    assert 0.4 < (slope < 0).float().mean() < 0.6
    assert slope.abs().min() > pretrain.LEAST * 0.75 * 0.9 and slope.abs().max() < 1.01
    assert shown.std(dim=2).max() < 1e-5  # nothing is turned or sheared


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [cosine(SMALL.lr, step, 200) for step in range(200)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(SMALL.lr) and 5 < peak < 15 and rates[-1] < SMALL.lr / 1000
    assert all(a < b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[peak:]))


def test_a_network_learns_and_its_packed_weights_are_an_extractor(photos):
    state = torch.get_rng_state()
    result = train(photos, epochs=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert result["history"]["train_loss"].iloc[-1] < result["history"]["train_loss"].iloc[0]
    assert result["test"]["in 8 bits"]["top1"] > 0.6  # two categories
    file = result["folder"] / "weights.safetensors"
    with safetensors.safe_open(file, "pt") as opened:
        assert (
            json.loads(opened.metadata()["koala"])["size"] == 32
            and opened.get_tensor("conv1.0.weight").dtype == torch.int8
        )
    extractor = extractors.build("resnet10t", str(file))
    assert extractor.row.size == 32 and extractor.info["size"] == 32 and extractor.info["trained"]
    rows = photos.rows("test")
    given = pretrain.make_batches(photos.images, np.zeros((len(photos.images), 0), np.float16), CPU)
    again = pretrain.accuracy(extractor, given, torch.from_numpy(pretrain.classes(photos, 1000)), rows)
    assert again == pytest.approx(result["test"]["in 8 bits"])
    assert train(photos, epochs=6)["run_id"] == result["run_id"]  # read back


def test_only_the_training_split_is_learned(photos, monkeypatch):
    seen = []
    step = pretrain.Lesson.step
    monkeypatch.setattr(
        pretrain.Lesson, "step", lambda self, rows, *rest: seen.extend(rows) or step(self, rows, *rest)
    )
    train(photos)
    assert sorted(set(seen)) == photos.rows("train").tolist() and len(seen) == 2 * len(set(seen))


@pytest.mark.parametrize("after", [1, 3])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(photos, monkeypatch, after):
    whole = train(photos)
    expected = {
        name: (whole["folder"] / name).read_bytes() for name in ("weights.safetensors", "history.csv")
    }
    calls = []

    def progress(*_):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt

    settings = dataclasses.replace(SMALL, checkpoint_minutes=1e-9, resume=True)
    (whole["folder"] / "result.json").unlink()
    rows = experiment.split_rows(settings, photos)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(settings, photos, rows, CPU, progress=progress)
    assert not (whole["folder"] / "result.json").exists()
    resumed = pretrain.run(settings, photos, rows, CPU)
    assert resumed["folder"] == whole["folder"]
    assert {name: (whole["folder"] / name).read_bytes() for name in expected} == expected


def test_a_size_that_the_network_cannot_take_is_one_sentence():
    for backbone, size in (("vit", 64), ("inception", 32)):
        with pytest.raises(KoalaError, match=f"'{backbone}' cannot take pictures of {size} pixels"):
            extractors.build(backbone, "untrained", size=size)


def test_packing_keeps_names_that_look_like_scales():
    state = {"norm.scale": torch.randn(5), "norm": torch.randn(5), "conv.weight": torch.randn(4, 3)}
    restored = quantize.dequantize(quantize.quantize(state))
    assert set(restored) == set(state) and torch.equal(restored["norm.scale"], state["norm.scale"])
    assert quantize.dequantize(state).keys() == state.keys()


def test_notebook_and_a_run_with_its_weights(tmp_path, photo_folder):
    environment = make_environment(tmp_path)
    shared = (
        "-p",
        "dataset",
        photo_folder,
        "-p",
        "image_size",
        "32",
        "-p",
        "epochs",
        "1",
        "-p",
        "device",
        "cpu",
        "-p",
        "backbone",
        "resnet10t",
    )
    done = papermill(environment, "pretrain", tmp_path / "out.ipynb", *shared, "-p", "size", "32")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "in 8 bits" in text_of(tmp_path / "out.ipynb")
    (file,) = (tmp_path / "runs").glob("*/weights.safetensors")
    done = papermill(environment, "train", tmp_path / "run.ipynb", *shared, "-p", "weights", file)
    assert done.returncode == 0, done.stderr[-3000:]
    (env,) = (
        path
        for path in (tmp_path / "runs").glob("*/env.json")
        if (path.parent / "model.safetensors").exists()
    )
    assert json.loads(env.read_text())["weights"]["trained"] and "UNTRAINED" not in text_of(
        tmp_path / "run.ipynb"
    )
