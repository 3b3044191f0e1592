"""A pupil learns its teacher's logits: loss, crops, labels, the weights as an extractor, and that it stops and goes on."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import safetensors
import torch
import torch.nn.functional as F
from calling import make_environment, papermill, text_of

from koala import config, data, experiment, extractors, lab
from koala.experiment import lesson, pretrain
from koala.extractors.weights import distilled_file
from koala.study import command_line
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


def test_the_loss_is_the_divergence_of_the_softened_softmaxes():
    ours, theirs = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    p, q = F.softmax(theirs / 2, 1), F.softmax(ours / 2, 1)
    assert lesson.distance(ours, theirs).item() == pytest.approx(
        4 * (p * (p / q).log()).sum(1).mean().item(), rel=1e-5
    )
    assert lesson.distance(theirs + 3, theirs).item() == pytest.approx(
        0, abs=1e-5
    )  # a common shift does not count


def test_crops_show_parts_of_their_own_photograph_and_mirror_half():
    ramp = torch.linspace(0, 1, 64).expand(400, 1, 64, 64)  # brighter to the right
    shown = lesson.augment(ramp, 96)
    assert shown.shape == (400, 1, 96, 96) and 0 <= shown.min() and shown.max() <= 1
    slope = shown[..., -1].mean((1, 2)) - shown[..., 0].mean((1, 2))  # (400,)
    assert 0.4 < (slope < 0).float().mean() < 0.6
    assert slope.abs().min() > lesson.LEAST * 0.75 * 0.9 and slope.abs().max() < 1.01
    assert shown.std(dim=2).max() < 1e-5  # nothing is turned or sheared


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [cosine(SMALL.lr, step, 200) for step in range(200)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(SMALL.lr) and 5 < peak < 15 and rates[-1] < SMALL.lr / 1000
    assert all(a < b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[peak:]))


def test_a_pupil_learns_and_its_packed_weights_are_an_extractor(photos):
    state = torch.get_rng_state()
    result = train(photos, epochs=6)
    assert torch.equal(torch.get_rng_state(), state)
    losses = result["history"]["val_loss"]
    assert losses.iloc[-1] < 0.8 * losses.iloc[0] and "top1" not in result["history"]
    with safetensors.safe_open(result["folder"] / "weights.safetensors", "pt") as opened:
        note = json.loads(opened.metadata()["koala"])
        assert note["size"] == 32 and note["teacher"] == "efficientnet"
        assert opened.get_tensor("conv1.0.weight").dtype == torch.int8
    extractor = extractors.build("resnet10t", "distilled")
    assert (
        extractor.info["weights"] == "distilled here"
        and extractor.info["trained"]
        and extractor.row.size == 32
    )
    rows = photos.rows("test")
    teacher = extractors.compute(photos, "efficientnet").array
    images = torch.from_numpy(np.array(photos.images[rows])).permute(0, 3, 1, 2)
    logits = extractor(lab.luma(images))
    expected = (logits.argmax(1).numpy() == teacher[rows].argmax(1)).mean()
    assert result["test"]["in 8 bits"]["agreement"] == pytest.approx(expected)
    run = config.RunConfig(
        dataset=photos.name, image_size=32, backbone="resnet10t", weights="distilled", precision="fp32"
    )
    assert experiment.load_inputs(run, photos, experiment.split_rows(run, photos), CPU).extractor["trained"]
    others = dataclasses.replace(photos, fingerprint="another")
    with pytest.raises(KoalaError, match="have learnt from other photographs than"):
        experiment.load_inputs(run, others, experiment.split_rows(run, photos), CPU)
    distilled_file("resnet10t").unlink()
    assert (
        train(photos, epochs=6)["run_id"] == result["run_id"] and distilled_file("resnet10t").exists()
    )  # read back


def test_a_pupil_begins_with_the_teachers_mean_answer_to_every_photograph(photos):
    extractor = extractors.build("resnet10t", "untrained", size=32)
    taught = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    pretrain.begin(extractor, taught)
    gray = lab.luma(torch.from_numpy(photos.images[:4].copy()).permute(0, 3, 1, 2))
    with torch.no_grad():
        logits = extractor.net.train()(extractor.prepare(gray))
    assert torch.equal(logits, taught.expand(4, -1))


def test_only_the_training_split_is_learned(photos, monkeypatch):
    seen = []
    honest = lesson.Lesson.step

    def watching(self, batch, number, steps):
        seen.append(batch.features)
        return honest(self, batch, number, steps)

    monkeypatch.setattr(lesson.Lesson, "step", watching)
    train(photos, epochs=1)
    teacher = torch.from_numpy(np.array(extractors.compute(photos, "efficientnet").array)).float()
    rows = {int((teacher == one).all(1).nonzero()[0]) for one in torch.cat(seen)}
    assert rows == set(photos.rows("train").tolist())


def test_batch_normalization_has_whole_photographs_statistics_and_stands_still_in_the_last_epoch(
    photos, monkeypatch
):
    settled, ended = {}, {}
    settle, quantize = lesson.settle, pretrain.quantize.quantize

    def settling(pupil, rows):
        settle(pupil, rows)
        assert pupil.net.training and pupil.net.bn1.momentum == 0.1
        settled.update({name: value.clone() for name, value in pupil.net.state_dict().items()})
        with torch.no_grad():
            maps = [
                pupil.net.conv1[0](pupil.extractor.prepare(lab.luma(pupil.batches(part).rgb)))
                for part in rows
            ]
        settled["expected"] = torch.stack([each.mean((0, 2, 3)) for each in maps]).mean(0)

    def quantizing(state):
        ended.update(state)
        return quantize(state)

    monkeypatch.setattr(lesson, "settle", settling)
    monkeypatch.setattr(pretrain.quantize, "quantize", quantizing)
    train(photos, epochs=3)
    assert torch.allclose(settled["conv1.1.running_mean"], settled["expected"], atol=1e-5)
    gathered = [name for name in ended if "running_" in name]
    assert gathered and all(torch.equal(ended[name], settled[name]) for name in gathered)
    assert not torch.equal(ended["conv1.0.weight"], settled["conv1.0.weight"])


class Stop(Exception):
    pass


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(photos):
    settings = dataclasses.replace(SMALL, checkpoint_minutes=1e-9)
    anew = dataclasses.replace(settings, resume=False)
    rows = experiment.split_rows(settings, photos)

    folder = pretrain.run(settings, photos, rows, CPU)["folder"]
    expected = (folder / "weights.safetensors").read_bytes()
    in_last_epoch = (
        -(-len(rows["train"]) // settings.batch_size) + 2
    )  # where batch normalization stands still
    for steps in (1, 3, in_last_epoch):
        (folder / "result.json").unlink()
        calls = itertools.count(1)

        def stop(*_, steps=steps, calls=calls):
            if next(calls) > steps:
                raise Stop

        with pytest.raises(Stop):
            pretrain.run(anew, photos, rows, CPU, progress=stop)
        pretrain.run(settings, photos, rows, CPU)
        assert (folder / "weights.safetensors").read_bytes() == expected, steps


def test_a_teacher_without_weights_or_of_other_logits_is_refused(photos):
    with pytest.raises(KoalaError, match="without a classifier"):
        train(photos, teacher="inception2015")
    with pytest.raises(KoalaError):
        train(photos, teacher="resnet18")  # no ImageNet weights without a hub


def test_notebook_and_a_run_with_its_weights(photo_folder, tmp_path):
    environment = make_environment(tmp_path)
    values = {"dataset": photo_folder, "image_size": 32, "backbone": "resnet10t", "epochs": 1}
    out = tmp_path / "pretrain.ipynb"
    done = papermill(environment, "pretrain", out, *command_line(values | {"size": 32}))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "agreement" in text_of(out)
    values["weights"] = "distilled"
    done = papermill(environment, "train", tmp_path / "train.ipynb", *command_line(values))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "distilled here" in text_of(tmp_path / "train.ipynb")


def test_a_lesson_is_never_taught_in_fp16(monkeypatch):
    """Its loss is not scaled; on a GPU for which `auto` means fp16 it is fp32."""
    monkeypatch.setattr(pretrain.devices, "pick_precision", lambda *_: "fp16")
    assert pretrain.pick_precision(config.PretrainConfig(), "cuda") == "fp32"
    with pytest.raises(KoalaError, match="precision"):
        config.from_dict(config.PretrainConfig, {"precision": "fp16"})
