"""Tables of a study, and which runs are compared with which."""

import numpy as np
import pandas as pd
import pytest
from synthetic import NOISE, TRUTH, make_run, make_study

from koala.report import answers, pairs, words
from koala.study import claims_colour, compare, contrasts, gains, left_gray, verdicts
from koala.study.intervals import Spread, interval, pooled


def test_differences_are_paired_by_photograph_and_by_common_seeds():
    found = make_study(
        a=[make_run(0, 1.0), make_run(1, 1.0)],
        b=[make_run(0, 3.0, init="glorot"), make_run(2, 9.0, init="glorot")],
    )
    mean, low, high = compare.difference(found, "a", "b")
    assert mean == pytest.approx(-2.0)
    chance = pooled([np.array([1.0, 1.0]), np.array([3.0, 9.0])]).half_width  # seed 0 alone is in both
    assert (low, high) == pytest.approx((mean - 2**0.5 * chance, mean + 2**0.5 * chance))
    alone = make_study(a=[make_run(0, 1.0)], b=[make_run(1, 1.0)])
    assert np.isnan(compare.difference(alone, "a", "b")).all()


def test_one_seed_has_the_chance_of_the_studys_other_seeds():
    several = [make_run(seed, seed / 10, loss="binned") for seed in range(3)]
    one = {"a": [make_run(0, 0.0)], "none": [make_run(0, 0.1, backbone="none")]}
    (row,) = [row for row in contrasts.controls(make_study(**one)) if row["minus"] == "none"]
    assert row["verdict"] == "better (one seed: photographs only)"
    found = make_study(**one, others=several)
    (row,) = contrasts.controls(found)
    assert row["verdict"] == "no difference shown (one seed)" and row["low"] < -0.1 - 0.4
    assert compare.difference(found.only("a", "none"), "a", "none") == compare.difference(found, "a", "none")
    line = compare.summary(found, ["ciede2000"]).set_index("label").loc["a"]
    assert line.ciede2000_high - line.ciede2000 == pytest.approx(
        np.hypot(Spread(0.1, 2).half_width, interval(TRUTH[None])[2] - TRUTH.mean()), rel=1e-6
    )
    value, low, high = compare.relative_mse(found, "a", "none")
    wide = compare.relative_mse(make_study(**one), "a", "none")
    assert low < wide[1] < value < wide[2] < high


def test_a_pair_of_another_schedule_does_not_lead_the_answer():
    def seeds(shift, count=3, **config):
        return [make_run(seed, shift, noise=0.1, **config) for seed in range(count)]

    found = make_study(
        none__torch=seeds(3.0, 1, backbone="none", init="torch"),
        vector__torch=seeds(-0.1, 1, init="torch"),
        vector=seeds(0.0),
        none=seeds(1.0, backbone="none"),
        vector__256=seeds(-0.5, feature_dims=256),
        maps=seeds(-1.0, network="pyramid", init="torch", layer="logits"),
        unlearnt=seeds(0.5, network="pyramid", init="torch", weights="untrained", trained=False),
    )
    told = answers.sentences(found, pairs.compared(found), compare.summary(found, ["ciede2000"]))
    mean = {name: f"{found.values(name, 'ciede2000').mean():.2f}" for name in found.experiments}
    assert told[0].startswith(
        f"A trained extractor helps: vector reaches CIEDE2000 {mean['vector']} on held-out photographs, the same network "
        f"without an extractor {mean['none']} "
    )
    assert "Better than none" not in told[1]  # one extractor, three times
    assert (
        "Other pairs with an extractor and without: " in told[1]
        and "vector-torch minus none-torch \N{MINUS SIGN}3.1" in told[1]
    )
    (encoder,) = (text for text in told if text.startswith("By its maps"))
    assert (
        "(maps) the same extractor does better than as one vector: minus vector \N{MINUS SIGN}1.0" in encoder
    )
    assert "unlearnt (untrained) minus none \N{MINUS SIGN}0.5" in encoder


def test_no_control_is_kept_silent_and_who_is_told_the_category_is_no_control():
    found = make_study(
        vector=[make_run(0, 0.0)],
        none=[make_run(0, 2.0, backbone="none")],
        shuffled=[make_run(0, 3.0, feature_source="shuffled")],
        zero=[make_run(0, -1.0, feature_source="zero")],
        told=[make_run(0, -2.0, feature_source="category")],
    )
    kinds = {row["label"]: row["kind"] for row in pairs.compared(found)}
    assert kinds["vector minus zero"] == "content" and kinds["zero minus none"] == "control"
    assert kinds["vector minus told"] == kinds["told minus none"] == "told"
    told = answers.sentences(found, pairs.compared(found), compare.summary(found, ["ciede2000"]))
    (content,) = (text for text in told if text.startswith("Not every control is shown to do worse"))
    assert "vector minus shuffled" in content and "vector minus zero +1.00" in content
    assert "Controls beside no extractor: better (zero); worse (shuffled)." in " ".join(told)
    assert told[1].startswith("The lowest mean of a network that is not told the category is that of zero: ")
    assert told[2].startswith("Compared with photographs left gray: vector \N{MINUS SIGN}2.00 (")
    assert ", better for 100 % of the photographs; none +0.00 (" in told[2]
    assert told[2].endswith("Worse than gray: shuffled. Gray at every pixel: none.")


def test_a_pair_without_a_common_seed_is_not_compared_yet():
    """The second experiment has another seed than the first so far."""
    study = make_study(own=[make_run(0, 0.0)], none=[make_run(1, 2.0, backbone="none")])
    assert gains.curves(study) == {} and not len(gains.by_photographs(study)) and not pairs.compared(study)
    assert list(gains.by_category(study)) == ["category", "photographs"]
    with pytest.raises(ValueError):
        study.values("own", "ciede2000", seeds=[])


def test_only_controls_and_twins_are_compared():
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
    rows = {(row["experiment"], row["minus"]): row for row in contrasts.controls(found)}
    assert {pair[1] for pair in rows if pair[0] == "real"} == {"none", "shuffled", "untrained", "real_fp32"}
    assert (
        ("shuffled", "none") in rows
        and ("untrained", "none") in rows
        and ("shuffled", "untrained") not in rows
    )
    assert not any("longer" in pair for pair in rows)  # another budget: not the features' doing alone
    assert {pair[1] for pair in rows if pair[0] == "of_256"} == {"none"}
    assert rows["real", "none"]["difference"] == pytest.approx(-2.0) and rows["real", "none"][
        "verdict"
    ].startswith("better")
    assert rows["real_bf16", "real_fp32"]["difference"] == pytest.approx(0.5)
    assert ("real_fp32", "real_bf16") not in rows and not any("other_loss" in pair for pair in rows)
    assert ("other_init", "none") in rows and (
        "none",
        "other_init",
    ) not in rows  # that minus PyTorch's initial weights


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
    (row,) = contrasts.earned(study)
    assert (
        row["difference"] == pytest.approx(-0.5)
        and row["verdict"] == "better"
        and row["minus"].startswith("linear")
    )
    other = make_run(0, 0.0, trained=False, weights="untrained")
    other.env["weights"]["sha256"] = "of the untrained"
    rows = contrasts.earned(make_study(a=[make_run(0, 0.0)], untrained=[other]))
    assert [row["minus"] for row in rows] == [
        "linear colour from the features of a"
    ]  # never the untrained one's


def test_a_network_that_is_told_the_category_is_beside_the_table_of_the_category_alone():
    runs = {"vector": make_run(0, 0.0), "told": make_run(0, -0.5, feature_source="category")}
    for run in runs.values():
        lines = run.per_image[run.per_image.method == "linear"]
        known = [
            lines.assign(method=f"category{way}", ciede2000=lines.ciede2000 + 0.5) for way in ("", "_told")
        ]
        run.per_image = pd.concat([run.per_image, *known])
    study = make_study(**{name: [run] for name, run in runs.items()})
    rows = {
        (row["experiment"], row["minus"].partition(" from the")[0]): row["difference"]
        for row in contrasts.earned(study)
    }
    assert rows == pytest.approx(
        {
            ("vector", "linear colour"): -0.5,
            ("vector", "colour by lightness of the category told"): -1.0,
            ("vector", "colour by lightness of the true category"): -1.0,
            ("told", "colour by lightness of the true category"): -1.5,
        }
    )
    told = answers.sentences(study, pairs.compared(study), compare.summary(study, ["ciede2000"]))
    (network,) = (
        text for text in told if text.startswith("A network that gets the mean features of the true category")
    )
    assert "vector minus told +0.50" in network and "told minus the table \N{MINUS SIGN}1.50" in network
    (table,) = (text for text in told if text.startswith("An objection"))
    assert "of the 1 network with" in table and "tell the category from the same features" in table


def test_an_end_that_is_rounded_to_nothing_keeps_its_sign():
    row = {"difference": -0.001, "low": -0.002, "high": 0.3, "seeds": 3}
    assert words.difference(row) == "+0.00, 95 % interval \N{MINUS SIGN}0.00 to +0.30"
    assert verdicts.estimate("+z.2f", -0.001, -0.002, 0.3) == "+0.00 [-0.00, +0.30]"
    assert verdicts.estimate("z.0%", 0.05, -0.002, 0.11) == "5% [0%, 11%]"  # a share


def test_each_test_split_has_its_own_rows_without_a_network():
    half = make_run(0, -0.2)
    half.per_image = half.per_image[half.per_image.row < 150]
    study = make_study(all=[make_run(0, -1.0)], half=[half])
    labels = [label for label, _, method in compare.without_network(study) if method == "gray"]
    assert labels == ["gray (no colour) (300 photographs)", "gray (no colour) (150 photographs)"]
    assert [row["difference"] for row in contrasts.earned(study)] == pytest.approx([-1.5, -0.7])
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
    rows = {(row["experiment"], row["minus"]): row["difference"] for row in contrasts.encoders(found)}
    assert rows == pytest.approx(
        {
            ("maps", "vector"): -1.0,
            ("maps", "none"): -3.0,
            ("unlearnt_maps (untrained)", "unlearnt (untrained)"): -0.25,
            ("unlearnt_maps (untrained)", "none"): 0.25,
            ("other_extractor", "none"): -1.0,
        }
    )
    told = answers.sentences(found, pairs.compared(found), compare.summary(found, ["ciede2000"]))
    (encoder,) = (text for text in told if text.startswith("By its maps"))
    assert (
        "(maps) the same extractor does better than as one vector: minus vector \N{MINUS SIGN}1.00" in encoder
    )
    assert "one draw of weights): unlearnt_maps (untrained) minus none +0.25" in encoder
    (knows,) = (
        text for text in told if text.startswith("Features of another photograph or of random weights")
    )
    for pair in ("vector minus shuffled", "vector minus unlearnt (untrained)", "maps minus unlearnt_maps"):
        assert pair in knows


def test_photographs_that_come_nearer_and_those_that_leave_are_counted():
    own, other = make_run(0, 0.0), make_run(0, 0.0)
    values = np.zeros(len(own.per_image[own.per_image.method == "model"]))
    values[:30], values[30:45] = -1.5, 1.5
    model = own.per_image.method == "model"
    own.per_image.loc[model, "ciede2000"] += values[::-1]
    study = make_study(own=[own], other=[other])
    assert compare.moved(study, "own", "other", 1) == (0.1, 0.05)
    assert np.isnan(compare.moved_by_chance(study, "own", 1))
    other.config["seed"] = 1
    assert compare.moved_by_chance(make_study(own=[own, other]), "own", 1) == pytest.approx(0.075)


def test_a_network_that_leaves_everything_gray_is_the_same_as_gray():
    study = make_study(
        gray=[make_run(0, 2.0)], own=[make_run(0, 0.0)]
    )  # gray has 2 more than the truth of make_run
    assert left_gray.same(study, "gray") and not left_gray.same(study, "own")
