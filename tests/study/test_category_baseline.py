"""Colour by lightness a category, against a literal loop, and where the category tells nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from koala import lab, metrics
from koala.experiment import baselines
from koala.study import category_baseline
from koala.training.batches import make_batches

RNG = np.random.default_rng(0)
TINTS = {"grass": (-20, 30), "sea": (5, -30)}
NAMES = np.array([("grass", "sea")[i % 2] for i in range(40)])
ROWS = {"train": np.arange(24), "validation": np.arange(24, 30), "test": np.arange(30, 40)}


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """Forty photographs of random lightness, each category with its tint: their batches and their Colours."""
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    L = torch.from_numpy(RNG.uniform(40, 70, (40, 1, 16, 16))).float()
    tint = torch.tensor([TINTS[name] for name in NAMES]).float()[:, :, None, None].expand(-1, -1, 16, 16)
    rgb = lab.lab_to_rgb(torch.cat([L, tint], 1)).permute(0, 2, 3, 1).contiguous().numpy()
    batches = make_batches(rgb, np.zeros((40, 0), np.float16), torch.device("cpu"))
    files = pd.DataFrame({"row": np.arange(40), "path": "p", "category": NAMES})
    return batches, baselines.fit(batches, ROWS, files, "print")


def test_the_true_category_gives_its_colours_and_the_wrong_one_the_others(fitted):
    batches, colours = fitted
    wrong = np.where(NAMES[ROWS["test"]] == "sea", "grass", "sea")
    errors = category_baseline.errors(batches, ROWS, colours, {"true": NAMES[ROWS["test"]], "wrong": wrong})
    assert errors["true"].max() < 1 < 10 < errors["none"].min() < errors["wrong"].min()
    assert {len(values) for values in errors.values()} == {10}


def test_errors_are_those_of_a_loop_over_photographs(fitted):
    batches, colours = fitted
    errors = category_baseline.errors(batches, ROWS, colours, {"true": NAMES[ROWS["test"]]})
    for place, row in enumerate(ROWS["test"]):
        own = metrics.fit_baselines([batches(ROWS["train"][NAMES[ROWS["train"]] == NAMES[row]])[0]])
        rgb = batches(np.array([row]))[0]
        expected = metrics.evaluate(rgb, own.predict("lightness", lab.rgb_to_lab(rgb)[:, :1]))["ciede2000"]
        assert errors["true"][place] == pytest.approx(expected.item(), abs=1e-4)


def test_a_category_never_trained_on_has_the_colours_of_all(fitted):
    batches, colours = fitted
    errors = category_baseline.errors(batches, ROWS, colours, {"told": np.full(10, "moon")})
    assert np.array_equal(errors["told"], errors["none"])


def test_a_classifier_tells_what_is_in_its_input_and_no_more():
    inputs = {
        "signal": (NAMES == "sea")[:, None] + RNG.normal(0, 0.1, (40, 3)),
        "noise": RNG.normal(size=(40, 3)),
    }
    told = category_baseline.told(inputs, NAMES, ROWS)
    assert (told["signal"] == told["true"]).all() and (told["true"] == NAMES[ROWS["test"]]).all()
    assert not (told["noise"] == told["true"]).all()


def test_the_table_says_how_many_categories_are_right():
    given = {"true": np.array(["a", "b"]), "features": np.array(["a", "a"])}
    found = {"none": np.array([3.0, 3.0]), "true": np.array([1.0, 1.0]), "features": np.array([1.0, 3.0])}
    rows = category_baseline.table(np.array([2.0, 2.0]), found, given)
    assert [row["right"] for row in rows][1:] == [1.0, 0.5] and np.isnan(rows[0]["right"])
    assert [row["the network minus that"] for row in rows] == [-1.0, 1.0, 0.0]
