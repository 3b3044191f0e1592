"""Tables of a study, and which runs are compared with which."""

import numpy as np
import pytest
from synthetic import NOISE, TRUTH, make_run, make_study

from koala.report import answers
from koala.study import claims_colour, compare
from koala.study.intervals import interval


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


def test_the_chroma_ratio_of_a_table_is_the_ratio_of_mean_chromas():
    table = compare.summary(make_study(a=[make_run(0, 0.0)]), ["chroma_ratio", "ciede2000"])
    assert set(table.chroma_ratio) == {0.5} and set(table.chroma_ratio_low) == {0.5}


def test_rows_without_a_network_come_from_any_run_that_has_them_and_once_for_each_extractor():
    old = make_run(0, 0.0)
    old.per_image = old.per_image[old.per_image.method != "linear"]
    study = make_study(
        a=[old, make_run(1, 0.0)],
        b=[make_run(0, 0.0, feature_dims=256)],
        c=[make_run(0, 0.0, backbone="convnext")],
    )
    lines = [(name, method) for _, name, method in compare.without_network(study)]
    assert lines == [("a", "gray"), ("a", "mean"), ("a", "lightness"), ("a", "linear"), ("c", "linear")]
    table = compare.summary(study, ["ciede2000"])
    assert list(table.trivial) == [True] * 5 + [False] * 3


def test_a_network_has_earned_what_it_is_better_than_linear_colour():
    study = make_study(
        a=[make_run(0, 0.0), make_run(1, 0.0), make_run(2, 0.0)], none=[make_run(0, 2.0, backbone="none")]
    )
    (row,) = compare.earned(study)
    assert (
        row["difference"] == pytest.approx(-0.5)
        and row["reads"] == "better"
        and row["minus"].startswith("linear")
    )
    other = make_run(0, 0.0, trained=False, weights="untrained")
    other.env["weights"]["sha256"] = "of the untrained"
    rows = compare.earned(make_study(a=[make_run(0, 0.0)], untrained=[other]))
    assert [row["minus"] for row in rows] == [
        "linear colour from the features of a"
    ]  # never the untrained one's


def test_each_test_split_has_its_own_rows_without_a_network():
    half = make_run(0, -0.2)
    half.per_image = half.per_image[half.per_image.row < 150]
    study = make_study(all=[make_run(0, -1.0)], half=[half])
    labels = [label for label, _, method in compare.without_network(study) if method == "gray"]
    assert labels == ["gray (no colour) (300 photographs)", "gray (no colour) (150 photographs)"]
    assert [row["difference"] for row in compare.earned(study)] == pytest.approx([-1.5, -0.7])
    assert claims_colour.remaining(study, "half", study.photographs("half").category).between(0, 1).all()


def test_mse_is_compared_as_the_report_did():
    study = make_study(a=[make_run(0, 1.0)], b=[make_run(0, 0.0)])
    expected = ((TRUTH + 1) ** 2).mean() / (TRUTH**2).mean() - 1
    value, low, high = compare.relative_mse(study, "a", "b")
    assert value == pytest.approx(expected) and low < value < high


def test_seeds_spread_enters_the_interval():
    runs = [make_run(seed, 0.0, noise=1.0) for seed in range(3)]
    study = make_study(a=runs, b=[make_run(seed, 1.0) for seed in range(3)])
    assert compare.difference(study, "a", "b") == pytest.approx(interval(NOISE[:3] - 1), abs=1e-6)


def test_an_encoder_is_compared_with_one_vector_of_the_same_extractor_and_with_none():
    pyramid = {"network": "pyramid", "init": "torch"}
    untrained = {"trained": False, "weights": "untrained"}
    found = make_study(
        vector=[make_run(0, 0.0, init="he", layer="features")],
        none=[make_run(0, 2.0, init="he", backbone="none")],
        shuffled=[make_run(0, 3.0, init="he", layer="features", feature_source="shuffled")],
        unlearnt=[make_run(0, 2.5, init="he", layer="features", **untrained)],
        maps=[make_run(0, -1.0, **pyramid)],
        unlearnt_maps=[make_run(0, 2.25, **pyramid, **untrained)],
        longer=[make_run(0, -1.0, **pyramid, epochs=9)],
        other_extractor=[make_run(0, 1.0, **pyramid, backbone="convnext")],
    )
    rows = {(row["experiment"], row["minus"]): row["difference"] for row in compare.encoders(found)}
    assert rows == pytest.approx(
        {
            ("maps", "vector"): -1.0,
            ("maps", "none"): -3.0,
            ("unlearnt_maps (untrained)", "unlearnt (untrained)"): -0.25,
            ("unlearnt_maps (untrained)", "none"): 0.25,
            ("other_extractor", "none"): -1.0,
        }
    )
    told = answers.sentences(found, answers.compared(found), compare.summary(found, ["ciede2000"]))
    (encoder,) = (text for text in told if text.startswith("As an encoder"))
    assert "worth more than as one vector: maps minus vector: \N{MINUS SIGN}1.00" in encoder
    assert "The architecture by itself: unlearnt_maps (untrained) minus none: +0.25" in encoder
    (knows,) = (text for text in told if text.startswith("It is what the extractor knows"))
    assert "vector is better than shuffled (" in knows and " and unlearnt (untrained) (" in knows
    assert "maps is better than unlearnt_maps (untrained) (" in knows
