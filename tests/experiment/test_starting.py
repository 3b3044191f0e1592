"""A run that starts from another run's network: its weights, its name, what is said of it, and what is refused."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import torch
from PIL import Image
from small_runs import CPU, prepare, small, train

from koala import data, experiment
from koala.colorize import judged, painter
from koala.experiment import pipeline, starting
from koala.system.errors import KoalaError
from koala.training.step import mean_loss


def weights_of(run) -> dict:
    return safetensors.torch.load_file(run.folder / "model.safetensors")


def test_it_goes_on_from_the_weights_and_says_so(photo_folder):
    first = train(small(photo_folder))
    further = small(photo_folder, start_from=first.folder.name, lr=1e-12)
    second = train(further)
    for name, weight in weights_of(first).items():
        moved = (weights_of(second)[name] - weight).abs().max()
        assert moved < 1e-6 if weight.is_floating_point() else True, name
    learned = {"dataset": str(photo_folder), "image_size": 32, "epochs": 1, "seed": 0}
    start = second.env["start"]
    assert learned.items() <= start.items() and start["run"] == first.folder.name and "start" not in start
    assert "start" not in first.env and first.folder.name != second.folder.name
    third = train(small(photo_folder, start_from=str(second.folder), epochs=2))
    assert third.env["start"]["start"] == start

    # the name follows from the weights, not from how the run is called
    named = dataclasses.replace(further, start_from=str(first.folder))
    assert train(named).folder == second.folder
    assert starting.identity(named) == starting.identity(further) != ""


def test_what_any_of_the_runs_has_learned_from_is_not_held_out(photo_folder, tmp_path):
    other = data.prepare(str(photo_folder), "other-split", 32, seed=3)
    first = train(small(photo_folder))
    with pytest.raises(
        KoalaError, match=r"was trained on \d+ of the photographs that 'other-split' holds out"
    ):
        train(small("other-split", start_from=first.folder.name))
    second = train(small(photo_folder, start_from=first.folder.name))
    held = judged.held_out(painter.load(second.folder.name), "other-split:32", 100, 100)
    learned = set(prepare(small(photo_folder)).photos.files.query("split == 'train'")["sha256"])
    assert held.dropped and not set(other.files.iloc[held.rows["test"]]["sha256"]) & learned
    assert starting.seen(second.config, second.env) == learned
    for env in (
        second.env | {"data": {"fingerprint": "another"}},
        second.env | {"start": first_stage(second, "another")},
    ):
        with pytest.raises(KoalaError, match="prepared anew since a network was trained on it"):
            starting.seen(second.config, env)


def first_stage(run, fingerprint: str) -> dict:
    return run.env["start"] | {"fingerprint": fingerprint}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start_from": "nothing"}, "no finished run 'nothing'"),
        ({"loss": "binned"}, "has loss=mse, this run loss=binned"),
        ({"backbone": "resnet18"}, "has backbone=none, this run backbone=resnet18"),
        ({"init": "he"}, "'init' does nothing with start_from"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(photo_folder, changes, words):
    first = train(small(photo_folder))
    config = small(photo_folder, **{"start_from": first.folder.name} | changes)
    with pytest.raises(KoalaError, match=words):
        experiment.check(config)


def test_an_extractor_with_other_weights_is_refused(photo_folder):
    trained = small(photo_folder, backbone="resnet18", weights="untrained")
    first = train(trained)
    config = dataclasses.replace(trained, start_from=first.folder.name)
    inputs = prepare(config)
    inputs = dataclasses.replace(inputs, extractor=inputs.extractor | {"sha256": "0" * 64})
    with pytest.raises(KoalaError, match="another extractor's outputs"):
        starting.begin(config, inputs, torch.nn.Identity())


@pytest.fixture
def other_folder(tmp_path):
    """Other photographs, in other colours: their blue and red channels are exchanged."""
    rng = np.random.default_rng(0)
    for name in ("chelsea", "rocket"):
        picture = getattr(skimage.data, name)()[..., ::-1]
        (tmp_path / "other" / name).mkdir(parents=True)
        for index in range(20):
            top, left = (rng.integers(0, length - 200) for length in picture.shape[:2])
            crop = Image.fromarray(picture[top : top + 200, left : left + 200].copy())
            crop.resize((48, 48)).save(tmp_path / "other" / name / f"{index:02d}.png")
    return tmp_path / "other"


@pytest.mark.slow
def test_what_is_rehearsed_is_not_forgotten(photo_folder, other_folder):
    first = train(small(photo_folder, epochs=4))
    inputs, loss = prepare(small(photo_folder)), {}
    for rehearse in (False, True):
        further = small(other_folder, start_from=first.folder.name, rehearse=rehearse, epochs=6, lr=0.003)
        job = pipeline.trained_job(train(further), inputs, CPU)
        loss[rehearse] = mean_loss(job, inputs.rows["test"])
    assert loss[True] < 0.8 * loss[False]


def test_a_rehearsed_run_goes_on_after_a_stop_to_the_same_bits(photo_folder, other_folder):
    first = train(small(photo_folder))
    config = small(
        other_folder, start_from=first.folder.name, rehearse=True, epochs=2, checkpoint_minutes=1e-9
    )
    finished = train(config)
    expected = weights_of(finished)
    (finished.folder / "result.json").unlink()
    restart = dataclasses.replace(config, resume=False)

    def stop(done, total, text):
        raise InterruptedError

    with pytest.raises(InterruptedError):  # after the first step
        train(restart, progress=stop)
    resumed = weights_of(train(config))
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.items())
    with pytest.raises(KoalaError, match="'rehearse' does nothing with start_from="):
        experiment.check(small(other_folder, rehearse=True))
