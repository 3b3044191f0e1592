"""Networks judged on other photographs: on their own they give their own numbers, elsewhere a study like any other."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from PIL import Image
from small_runs import CPU, small, train

from koala import data, study
from koala.report import show_study
from koala.study import compare, elsewhere, export
from koala.study.finished import FinishedStudy
from koala.system.errors import KoalaError


@pytest.fixture
def judged(photo_folder, tmp_path, monkeypatch):
    """(photographs of its own, the study, other photographs): a network without extractor and one with 64 features."""
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path / "reports"))
    with_extractor = {
        "backbone": "resnet18",
        "weights": "untrained",
        "batch_size": 32,
        "centre_features": True,
    }
    none = train(small(photo_folder, batch_size=32))
    own = train(small(photo_folder, feature_dims=64, **with_extractor))
    whole = train(small(photo_folder, **with_extractor))
    photos = data.find(str(photo_folder), 32)
    plan = study.Study("test", "Test", ["none", "own", "whole"], [0], {"source": "x"}, {})
    runs = {("none", 0): none, ("own", 0): own, ("whole", 0): whole}
    folder = tmp_path / "others"
    folder.mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return photos, FinishedStudy(plan, runs, []), data.prepare(str(folder), "others", 32)


def test_networks_elsewhere(judged):
    """In one test, since it trains three networks."""
    photos, whole, others = judged
    has_its_own_numbers_on_its_own_photographs(photos, whole)
    is_a_study_that_is_exported_and_read_back(whole, others)
    is_judged_again_where_it_was_trained_again(whole, others)
    says_nothing_of_networks_that_it_has_not_judged(whole)
    with pytest.raises(KoalaError, match=r"holds \d+ photographs that the study's networks were trained on"):
        elsewhere.judge(whole, photos, CPU)


def test_a_pyramid_is_judged_with_the_extractor_that_it_was_trained_with(photo_folder):
    settings = {"network": "pyramid", "backbone": "efficientnet", "weights": "untrained"}
    run = train(small(photo_folder, epochs=1, **settings))
    run.env["weights"]["sha256"] = "of another one"
    with pytest.raises(KoalaError, match="get the weights that it was trained with"):
        elsewhere._reopened(run, data.find(str(photo_folder), 32), CPU, None)


def has_its_own_numbers_on_its_own_photographs(photos, whole):
    for run in whole.runs.values():
        table = run.per_image.sort_values("row").set_index("row")
        own = table[table.method == "model"]
        again = elsewhere._lines(run, photos, CPU, None).set_index("row").loc[own.index]
        np.testing.assert_allclose(again.ciede2000, own.ciede2000, atol=2e-3)
    run = whole.runs["whole", 0]
    again = elsewhere._without_network(run, photos, CPU, None).set_index(["method", "row"])
    for method in elsewhere.METHODS:
        own = run.per_image[run.per_image.method == method].set_index("row")
        np.testing.assert_allclose(again.loc[method].loc[own.index].ciede2000, own.ciede2000, atol=2e-3)


def is_judged_again_where_it_was_trained_again(own, others):
    run = own.runs["none", 0]
    before = elsewhere._lines(run, others, CPU, None).ciede2000
    weights = safetensors.torch.load_file(run.folder / "model.safetensors")
    safetensors.torch.save_file({k: 2 * v for k, v in weights.items()}, run.folder / "model.safetensors")
    hashes = run.result["sha256"] | {"model.safetensors": "of another one"}
    again = dataclasses.replace(run, result=run.result | {"sha256": hashes})
    assert (elsewhere._lines(again, others, CPU, None).ciede2000 != before).any()


def says_nothing_of_networks_that_it_has_not_judged(own):
    """Of the same runs with other weights: they were trained again on another machine."""
    again = {
        key: dataclasses.replace(run, result=run.result | {"sha256": {"model.safetensors": "of another one"}})
        for key, run in own.runs.items()
    }
    other = FinishedStudy(own.plan, again, [])
    assert elsewhere.names(own) == ["others"] and elsewhere.names(other) == []
    with pytest.raises(KoalaError, match="has other runs than those that were judged"):
        elsewhere.read(other, "others")
    with pytest.raises(KoalaError, match="no network of study 'test' is here"):
        elsewhere.judge(FinishedStudy(own.plan, {}, []), None, CPU)


def is_a_study_that_is_exported_and_read_back(own, others):
    away = elsewhere.judge(own, others, CPU)
    table = compare.summary(away, ["ciede2000", "chroma_ratio"])
    assert list(table.label[:3]) == ["gray (no colour)", "mean colour", "colour by lightness"]
    assert away.values("none", "ciede2000").shape == (1, 12)
    elsewhere.write(own, away, "others")
    without = [file.name for file in export.folder(own.plan).rglob("*@*") if "@model." not in file.name]
    assert sorted(without) == [
        "none@0@gray.npy.xz",
        "none@0@lightness.npy.xz",
        "none@0@mean.npy.xz",
        "whole@0@linear.npy.xz",
    ]
    pd.testing.assert_frame_equal(
        compare.summary(elsewhere.read(own, "others"), ["ciede2000", "chroma_ratio"]), table
    )
    assert own.groups("none") is None and len(set(away.groups("none"))) == 1
    with pytest.raises(KoalaError, match="was not judged on 'moon'"):
        elsewhere.read(own, "moon")
    assert elsewhere.names(own) == ["others"]
    page = show_study.elsewhere(own).data
    assert "others: 12 photographs" in page and "colour by lightness" in page and "own minus none" not in page
