"""What the extractor can do: on photographs in memory and on streamed ones, and against a literal loop."""

import dataclasses

import numpy as np
import pytest
from small_runs import CPU, small

from koala import experiment, lab, metrics
from koala.experiment import pipeline
from koala.study import probe
from koala.training import batches
from koala.training.step import predict


@pytest.fixture
def opened(photo_folder):
    """(rows, categories, matrix, job) of a network that was not trained, with random features on the disk."""
    config = small(photo_folder)
    photos = experiment.load_photos(config)
    rows = experiment.split_rows(config, photos)
    drawn = np.random.default_rng(0).normal(size=(len(photos), 12)).astype(np.float16)
    np.save(photos.folder / "drawn.npy", drawn)
    matrix = np.load(photos.folder / "drawn.npy", mmap_mode="r")
    return (
        rows,
        photos.files["category"].to_numpy(str),
        matrix,
        pipeline.make_job(config, experiment.Inputs(photos, rows, matrix, {}, {}), CPU),
    )


def everything(rows, categories, matrix, job):
    inputs, targets = probe.statistics(job.batches, matrix, rows)
    columns, captions = probe.swap_pictures(job, matrix, rows, categories, 3)
    return {**inputs, **targets, **probe.swapped_errors(job, matrix, rows), **columns}, captions


def test_streamed_photographs_give_the_same(opened):
    rows, categories, matrix, job = opened
    photos = np.lib.format.open_memmap(matrix.filename.parent / "images.npy", "r")
    streamed = batches.make_batches(photos, matrix, CPU, budget=0)
    assert isinstance(streamed.images, batches.Streamed) and isinstance(streamed.features, batches.Streamed)
    seen, captions = everything(rows, categories, matrix, dataclasses.replace(job, batches=streamed))
    expected, _ = everything(*opened)
    assert len(captions) == 3 and seen.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(seen[name], expected[name])


def test_own_features_give_the_runs_own_error(opened):
    rows, _, matrix, job = opened
    errors = probe.swapped_errors(job, matrix, rows)
    for place, row in enumerate(rows["test"]):
        rgb, ab = predict(job, np.array([row]))
        assert errors["own"][place] == pytest.approx(metrics.evaluate(rgb, ab)["ciede2000"].item(), abs=1e-3)
    compared = {row["features"]: row for row in probe.compare(errors)}
    assert compared["own"]["against own"] == 0 and np.isfinite(compared["another photograph's"]["low"])


def test_targets_are_the_photographs_colours_and_a_probe_finds_what_is_there(opened):
    rows, _, matrix, job = opened
    _, targets = probe.statistics(job.batches, matrix, rows)
    rgb, _ = job.batches(np.array([3]))
    ab = lab.rgb_to_lab(rgb)[0, 1:].mean((1, 2))
    assert targets["mean a*"][3] == pytest.approx(ab[0].item(), abs=1e-4) and targets["mean b*"][
        3
    ] == pytest.approx(ab[1].item(), abs=1e-4)
    wanted = targets["mean a*"]
    known = np.stack([wanted, np.random.default_rng(1).normal(size=len(wanted))], 1)
    inputs = {"known": known, "noise": known[:, 1:]}
    (row,) = probe.linear_probe(inputs, {"mean a*": wanted}, rows)
    assert row["known"] > 0.95 > 0.5 > row["noise"]
