"""Intervals against formulas, and which runs are compared with which."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koala import study
from koala.config import RunConfig
from koala.experiment.artefacts import Run
from koala.study import claims, compare

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(12, 4, 300)  # how hard each photograph is: what pairing takes away


def make_run(seed: int, shift: float, trained: bool = True, **config) -> Run:
    """A run whose photographs all have CIEDE2000 TRUTH + shift, with baselines and a falling loss."""
    settings = dataclasses.asdict(RunConfig(seed=seed, **config))
    rows = np.arange(len(TRUTH))
    parts = [
        pd.DataFrame(
            {
                "row": rows[::-1],
                "method": method,
                "ciede2000": (TRUTH + extra)[::-1],
                "b_shift": -1.0,
                "a_shift": 0.0,
                "category": np.where(rows % 2, "sky", "desert")[::-1],
            }
        )
        for method, extra in (("model", shift), ("gray", 2.0), ("mean", 1.9), ("lightness", 1.8))
    ]
    table = pd.concat(parts)
    for hue in compare.metrics.HUES:
        table[f"{hue}_share"], table[f"{hue}_ciede2000"] = (
            0.1,
            table["ciede2000"] * (2 if hue == "red" else 1),
        )
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.02, 0.01], "val_loss": [0.02, 0.015]})
    env = {"weights": {"trained": trained}, "data": {"name": "scenes"}}
    return Run(Path("."), settings, env, {}, history, table)


def make_study(**runs) -> compare.Study:
    """runs: experiment -> list of runs, one a seed."""
    data = {"source": "somewhere", "name": "scenes"}
    plan = study.Study("test", "Test", list(runs), [0], data, {})
    by_seed = {(name, run.config["seed"]): run for name, members in runs.items() for run in members}
    return compare.Study(plan, by_seed, [])


def test_differences_are_paired_by_photograph_and_by_common_seeds():
    found = make_study(
        a=[make_run(0, 1.0), make_run(1, 1.0)],
        b=[make_run(0, 3.0, init="glorot"), make_run(2, 9.0, init="glorot")],
    )
    assert compare.difference(found, "a", "b") == pytest.approx((-2.0, -2.0, -2.0))
    alone = make_study(a=[make_run(0, 1.0)], b=[make_run(1, 1.0)])
    assert np.isnan(compare.difference(alone, "a", "b")).all()


def test_only_controls_and_fp32_twins_are_compared():
    found = make_study(
        real=[make_run(0, 0.0)],
        none=[make_run(0, 2.0, backbone="none")],
        shuffled=[make_run(0, 3.0, feature_source="shuffled")],
        untrained=[make_run(0, 2.5, trained=False, weights="untrained")],
        other_loss=[make_run(0, 1.0, loss="binned")],
        other_init=[make_run(0, 1.0, backbone="none", init="glorot")],
        other_extractor=[make_run(0, 1.0, backbone="convnext", feature_source="zero")],
        longer=[make_run(0, 1.0, epochs=9)],
        of_256=[make_run(0, 1.0, feature_dims=256)],
        real_bf16=[make_run(0, 0.5, precision="bf16")],
        real_fp32=[make_run(0, 0.0, precision="fp32")],
    )
    rows = {(row["experiment"], row["minus"]): row for row in compare.contrasts(found)}
    assert {pair[1] for pair in rows if pair[0] == "real"} == {"none", "shuffled", "untrained", "real_fp32"}
    assert (
        ("shuffled", "none") in rows
        and ("untrained", "none") in rows
        and ("shuffled", "untrained") not in rows
    )
    assert not any("longer" in pair for pair in rows)  # another budget: not the features' doing alone
    assert {pair[1] for pair in rows if pair[0] == "of_256"} == {"none"}
    assert rows["real", "none"]["difference"] == pytest.approx(-2.0) and rows["real", "none"][
        "reads"
    ].startswith("better")
    assert rows["real_bf16", "real_fp32"]["difference"] == pytest.approx(0.5)
    assert ("real_fp32", "real_bf16") not in rows and not any("other_loss" in pair for pair in rows)


def test_the_reports_claims_are_judged_by_intervals_and_never_for_untrained_extractors():
    found = make_study(
        **{
            "1-inception": [make_run(0, 1.0, trained=False, backbone="inception")],
            "2-convnext": [make_run(0, 1.0, trained=False, backbone="convnext")],
            "efficientnet": [make_run(0, 0.0)],
            "no-extractor": [make_run(0, 2.0, backbone="none")],
        }
    )
    read = {row["claim"]: row["reads"] for row in claims.table(found)}
    assert read["C3 with EfficientNet-Lite0: without extractor worse"] == "holds"
    assert read["C1: Inception-v3 and ConvNeXt-T end about equal"].startswith(
        "not tested: 1-inception and 2-convnext untrained"
    )
    assert read["C6: validation loss still below training loss at the end (efficientnet)"] == "does not hold"
    demo = dataclasses.replace(found, plan=dataclasses.replace(found.plan, data={"source": "photos"}))
    assert all("never evidence" in row["reads"] for row in claims.table(demo)[:-1])


def with_losses(seed, losses, **config):
    run = make_run(seed, 0.0, **config)
    run.history = pd.DataFrame({"epoch": range(1, len(losses) + 1), "train_loss": losses, "val_loss": losses})
    return run


def test_convergence_has_a_common_goal_and_each_runs_own():
    found = make_study(a=[with_losses(0, [9.0, 4.0, 2.0, 1.0])], b=[with_losses(0, [4.1, 4.0, 4.0, 4.0])])
    assert compare.epochs_to_converge(found, "a", "b") == {"common": (2.0, 1.0), "own": (4.0, 1.0)}
    assert compare.epochs_to_converge(make_study(a=[make_run(0, 0.0)], b=[make_run(1, 0.0)]), "a", "b") == {}


def test_sky_is_judged_on_photographs_of_sky_alone_and_grass_only_where_there_is_some():
    found = make_study(efficientnet=[make_run(0, 0.0), make_run(1, 0.0)])
    table = found.runs["efficientnet", 0].per_image
    table.loc[(table.category == "desert") & (table.method == "model"), "b_shift"] = 50.0
    rows = {row["claim"]: row for row in claims.table(found)}
    sky, grass = rows["C8: sky and water too blue (efficientnet)"], rows["C9: grass too green (efficientnet)"]
    assert sky["reads"] == "holds" and sky["measured"].startswith("b* -1.00 [-1.00, -1.00]")
    assert "150 photographs of sky" in sky["measured"] and grass["reads"] == "not tested"


def test_a_test_split_without_red_is_said_to_have_none():
    run = make_run(0, 0.0)
    run.per_image["red_share"] = 0.0
    rows = {row["claim"]: row for row in claims.table(make_study(efficientnet=[run]))}
    assert rows["C7: red fails most (efficientnet)"]["reads"] == "not tested"


@pytest.mark.parametrize(
    ("category", "counts"),
    [("sky", True), ("lakeside-n09332890", True), ("o/ocean", True), ("beach_wagon-n02814533", False)],
)
def test_categories_are_known_by_their_whole_names(category, counts):
    run = make_run(0, 0.0)
    run.per_image["category"] = category
    rows = {row["claim"]: row for row in claims.table(make_study(efficientnet=[run]))}
    assert (rows["C8: sky and water too blue (efficientnet)"]["reads"] == "holds") == counts
