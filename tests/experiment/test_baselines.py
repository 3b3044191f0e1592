"""Rows that need no network: against scikit-learn and literal loops, and kept under a key of what they follow from."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from koala import lab, metrics
from koala.experiment import baselines, evaluate, memo, ridge

RNG = np.random.default_rng(0)
N, S = 60, 16
ROWS = {"train": np.arange(40), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
NAMES = np.array([("grass", "sea")[i % 2] for i in range(N)])
TINTS = {"grass": (-20, 30), "sea": (5, -30)}


def photographs() -> np.ndarray:
    """Each category has its tint, stronger where a photograph is light, and a little noise."""
    L = torch.from_numpy(RNG.uniform(10, 90, (N, 1, S, S))).float()
    tint = torch.tensor([TINTS[name] for name in NAMES]).float()[:, :, None, None]
    ab = tint * L / 60 + torch.from_numpy(RNG.normal(0, 3, (N, 2, 1, 1))).float()
    return lab.lab_to_rgb(torch.cat([L, ab], 1)).permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """(batches, files, features): features tell the category, with noise beside it."""
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    features = np.concatenate([(NAMES == "sea")[:, None], RNG.normal(size=(N, 3))], 1).astype(np.float16)
    files = pd.DataFrame({"row": np.arange(N), "path": "p", "category": NAMES})
    return Batches(photographs()), files, features


class Batches:
    def __init__(self, images):
        self.images, self.read = torch.from_numpy(images), 0
        self.device, self.image_size = self.images.device, S

    def __call__(self, rows):
        self.read += len(rows)
        return self.images[torch.from_numpy(rows)].permute(0, 3, 1, 2), None


def test_every_method_is_judged_on_every_test_photograph_and_the_better_informed_wins(opened):
    batches, files, features = opened
    lines = baselines.table(batches, ROWS, files, "print", features)
    assert sorted(lines.method.unique()) == sorted(baselines.METHODS)
    assert all(one.tolist() == ROWS["test"].tolist() for _, one in lines.groupby("method").row)
    means = lines.groupby("method").ciede2000.mean()
    assert means["category"] < means["lightness"] - 5 and means["linear"] < means["lightness"] - 5
    assert means["category_told"] == pytest.approx(means["category"])
    plain = baselines.table(batches, ROWS, files, "print")
    assert set(plain.method) == set(baselines.METHODS) - set(baselines.OF_FEATURES)


def test_colours_by_lightness_are_those_of_a_loop_over_photographs(opened):
    batches, files, _ = opened
    lines = baselines.table(batches, ROWS, files, "print").set_index(["method", "row"])
    train = ROWS["train"]
    for row in ROWS["test"]:
        rgb = batches(np.array([row]))[0]
        L = lab.rgb_to_lab(rgb)[:, :1]
        for method, members in (("lightness", train), ("category", train[NAMES[train] == NAMES[row]])):
            fitted = metrics.fit_baselines([batches(members)[0]])
            expected = metrics.evaluate(rgb, fitted.predict("lightness", L))["ciede2000"].item()
            assert lines.loc[(method, row), "ciede2000"] == pytest.approx(expected, abs=1e-3)


def test_linear_colour_is_scikit_learns_ridge_over_all_pixels(opened):
    """Every pixel a line, in its band of lightness; the project sums over a photograph's pixels first."""
    batches, files, features = opened
    colours = baselines.fit(batches, ROWS, files, "print")
    predicted = baselines.linear_colour(colours, ROWS, features)(ROWS["test"])  # (n, 4, 2)
    mean, scale = features[:40].astype(np.float32).mean(0), features[:40].astype(np.float32).std(0)
    standardized = (features.astype(np.float32) - mean) / scale
    Lab = lab.rgb_to_lab(batches(ROWS["train"])[0])
    left = Lab[:, 1:] - colours.everyone.predict("lightness", Lab[:, :1])
    band = baselines.LEVELS[Lab[:, 0].round().long()]
    for number in range(4):
        photograph, y, x = np.nonzero((band == number).numpy())
        targets = left[photograph, :, y, x].numpy()
        spread = np.full(len(photograph), 1 / S**2)
        candidates = [
            Ridge(alpha=penalty).fit(standardized[photograph], targets, spread).predict(standardized[50:])
            for penalty in ridge.PENALTIES
        ]
        error = min(np.abs(one - predicted[:, number].numpy()).max() for one in candidates)
        assert error < 0.02


def test_the_penalty_is_the_one_that_serves_the_validation_split():
    features = RNG.normal(size=(300, 40)).astype(np.float32)
    noise = RNG.normal(size=(300, 2)).astype(np.float32)
    rows = {"train": np.arange(60), "validation": np.arange(60, 200)}
    of_noise, of_signal = (
        ridge.fit(features, targets, rows).penalties[0] for targets in (noise, features[:, :2] + 0.01 * noise)
    )
    assert of_noise >= 1e3 > 1 >= of_signal


def test_constant_and_missing_features_give_colour_by_lightness(opened):
    batches, files, features = opened
    lines = baselines.table(batches, ROWS, files, "print", np.zeros_like(features)).set_index(
        ["method", "row"]
    )
    difference = lines.loc["linear"].ciede2000 - lines.loc["lightness"].ciede2000
    assert difference.abs().max() < 0.2


def test_large_photographs_are_thinned_and_small_ones_are_not():
    assert baselines.thinned(torch.zeros(1, 3, 224, 224)).shape == (1, 3, 112, 112)
    assert baselines.thinned(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_what_is_kept_is_read_back_and_what_is_damaged_is_computed_anew(opened):
    batches, files, features = opened
    first = baselines.table(batches, ROWS, files, "print", features)
    batches.read = 0
    pd.testing.assert_frame_equal(baselines.table(batches, ROWS, files, "print", features), first)
    assert batches.read == 2  # to see the photographs' size
    for path in (memo.paths.data_dir() / "baselines").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-50] + b"\0" * 50)
    pd.testing.assert_frame_equal(baselines.table(batches, ROWS, files, "print", features), first)
    assert batches.read > N
    batches.read = 0
    other = {**ROWS, "train": np.arange(30)}
    assert not baselines.table(batches, other, files, "print", features).equals(first) and batches.read > 1


def test_one_category_tells_nothing(opened):
    batches, files, features = opened
    lines = baselines.table(batches, ROWS, files.assign(category="all"), "print", features)
    assert {"category", "category_told"} & set(lines.method) == set() and "linear" in set(lines.method)


def test_a_category_without_training_photographs_has_the_colours_of_all():
    everyone = metrics.fit_baselines([torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)])
    colours = SimpleNamespace(everyone=everyone, categories={})
    L = torch.full((1, 1, 4, 4), 50.0)
    assert torch.equal(baselines.by_category(colours, ["moon"], L), everyone.predict("lightness", L))


def test_a_damaged_seal_is_as_good_as_none(opened):
    first = memo.memoized("key", lambda: {"a": np.ones(3)})
    seal = memo.paths.data_dir() / "baselines" / "key.json"
    seal.write_text(seal.read_text().replace("a", "b", 1))
    again = memo.memoized("key", lambda: {"a": np.full(3, 2.0)})
    assert first["a"][0] == 1 and again["a"][0] == 2


def test_photographs_judged_a_few_at_a_time_are_those_judged_together(monkeypatch):
    rgb = torch.from_numpy(photographs()).permute(0, 3, 1, 2)
    ab = torch.from_numpy(RNG.normal(0, 20, (N, 2, S, S))).float()
    monkeypatch.setattr(evaluate, "TOGETHER", 7 * S * S / torch.get_num_threads())
    assert evaluate.together(rgb) == 7 and evaluate.together(rgb.to("meta")) == N
    pieces = evaluate.measured(np.arange(N) + 5, rgb, {"guess": ab, "gray": torch.zeros_like(ab)})
    assert pieces["row"].tolist() == [*range(5, N + 5)] * 2
    for method, one in {"guess": ab, "gray": torch.zeros_like(ab)}.items():
        own = pieces[pieces.method == method]
        for name, whole in metrics.measure(metrics.Truth(rgb), one).items():
            np.testing.assert_allclose(own[name], whole.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture
def not_yet_compiled():
    yield forget()
    forget()


def forget():
    evaluate.compiled.cache_clear()
    evaluate._compiles.cache_clear()


def test_compiling_is_for_many_pixels_on_a_cpu(opened, monkeypatch, not_yet_compiled):
    batches, rows = opened[0], ROWS["test"]
    monkeypatch.setattr(evaluate.devices, "can_compile", lambda _: True)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    assert evaluate.quickest(batches, rows) is metrics.eager
    monkeypatch.setattr(evaluate, "MANY", 10 * S * S)
    assert evaluate.quickest(batches, rows) is evaluate.compiled
    assert evaluate.quickest(batches, rows[1:]) is metrics.eager
    batches.device = torch.device("cuda")
    assert evaluate.quickest(batches, rows) is metrics.eager


def test_judging_goes_on_where_compiling_fails(opened, monkeypatch, not_yet_compiled, capsys):
    def fails(*_):
        raise ImportError("no header Python.h\nand more")

    monkeypatch.setattr(evaluate, "MANY", 0)
    monkeypatch.setattr(evaluate.devices, "can_compile", lambda _: True)
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: fails)
    assert evaluate.quickest(opened[0], ROWS["test"]) is metrics.eager
    said = "torch.compile failed (ImportError: no header Python.h): going on without it.\n"
    assert capsys.readouterr().out == said


@pytest.mark.slow
def test_photographs_judged_by_compiled_functions_are_those_judged_without(not_yet_compiled):
    if not evaluate.devices.can_compile(torch.device("cpu")):
        pytest.skip("no C++ compiler")
    assert evaluate._compiles()
    rgb = torch.from_numpy(RNG.integers(0, 256, (7, 3, 40, 40), np.uint8))
    ab = torch.from_numpy(RNG.normal(0, 40, (7, 2, 40, 40))).float()
    found, expected = (
        metrics.measure(metrics.Truth(rgb, quick), ab) for quick in (evaluate.compiled, metrics.eager)
    )
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
