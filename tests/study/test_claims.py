"""The report's claims: runs are found by their configuration, judged by intervals, and never where they cannot be."""

import dataclasses

import numpy as np
import pytest
from synthetic import RNG, TRUTH, make_run, make_study, with_losses

from koala.study import claims, claims_colour, hues, said

SEEDS = range(3)


def seeds_of(shift: float, **config) -> list:
    return [make_run(seed, shift, noise=0.1, **config) for seed in SEEDS]


def read(study) -> dict:
    """claim -> how it reads, claims named by their number and networks."""
    return {f"{row['claim']} ({row['networks']})": row["verdict"] for row in claims.table(study)}


def of(study, start: str) -> list[str]:
    return [reads for claim, reads in read(study).items() if claim.startswith(start)]


def test_every_claim_has_a_row_and_what_would_decide_it():
    rows = claims.table(make_study(other=[make_run(0, 0.0, loss="binned")]))
    assert [row["claim"].partition(":")[0] for row in rows] == [f"C{i}" for i in range(11)]
    assert all(row["verdict"] == "not tested" and row["measured"].startswith("would need") for row in rows)


def test_runs_stand_for_the_reports_by_their_configuration_and_not_by_their_names():
    study = make_study(
        one=seeds_of(0.0, backbone="inception2015", layer="features"),
        two=seeds_of(0.0, backbone="convnext"),
        three=seeds_of(0.5, backbone="inception2015", layer="features", feature_dims=256),
        none=seeds_of(2.0, backbone="none"),
        longer=seeds_of(9.0, backbone="none", epochs=9),
    )
    verdicts = read(study)
    assert verdicts["C1: Inception-v3 and ConvNeXt-T end about equal (one against two)"] == "holds"
    assert verdicts["C3: without extractor worse (none against one)"] == "holds"
    assert verdicts["C2: 256 of 1,000 dimensions end slightly worse (three against one)"] == "holds"
    assert verdicts["C2: 256 of 1,000 dimensions cost no performance (three against one)"] == "does not hold"
    assert not any("longer" in claim for claim in verdicts)


def test_a_small_difference_that_is_shown_is_not_called_equal():
    study = make_study(whole=seeds_of(0.0), fewer=seeds_of(0.23, feature_dims=256))
    verdicts = read(study)
    assert verdicts["C2: 256 of 1,000 dimensions cost no performance (fewer against whole)"] == (
        "nearly holds: worse, by less than 0.3"
    )


def test_two_networks_distilled_here_are_compared_with_each_other_alone():
    study = make_study(
        old=seeds_of(0.0, backbone="inception2015", layer="features"),
        one=seeds_of(0.0, backbone="inception", origin="distilled here"),
        two=seeds_of(0.0, backbone="convnext", origin="distilled here"),
    )
    pairs = {claim: verdict for claim, verdict in read(study).items() if claim.startswith("C1:")}
    assert pairs == {
        "C1: Inception-v3 and ConvNeXt-T end about equal (one (distilled here) against two (distilled here))": (
            "distilled here, not ImageNet's: holds"
        )
    }


def test_two_seeds_are_never_enough_for_equal():
    pair = {"one": {"backbone": "inception"}, "two": {"backbone": "convnext"}}
    two = make_study(
        **{name: [make_run(seed, 0.0, **config) for seed in (0, 1)] for name, config in pair.items()}
    )
    three = make_study(
        **{name: [make_run(seed, 0.0, **config) for seed in SEEDS] for name, config in pair.items()}
    )
    assert of(two, "C1:") == ["undecided: 2 seeds, of at least 3"] and of(three, "C1:") == ["holds"]


def test_an_untrained_extractor_decides_nothing_and_neither_do_the_embedded_photographs():
    study = make_study(
        one=[make_run(0, 0.0, trained=False, backbone="inception")], none=[make_run(0, 2.0, backbone="none")]
    )
    assert of(study, "C3: without extractor worse") == [
        "not tested: one untrained here (between these runs: holds (one seed: photographs only))"
    ]
    demo = dataclasses.replace(study, plan=dataclasses.replace(study.plan, data={"source": "photos"}))
    assert all("never evidence" in reads for reads in read(demo).values())


def test_a_network_that_heard_its_extractor_alone_decides_no_claim():
    own = make_run(0, 3.0)
    own.history = own.history.assign(encoder_term=[0.2, 0.001], embedding_term=[0.4, 0.4])
    study = make_study(own=[own], none=seeds_of(0.0, backbone="none"))
    (reads,) = of(study, "C3: without extractor worse")
    assert reads.startswith(
        "undecided: the encoder of own was silent (between these runs: does not hold: it is better"
    )
    own.history["encoder_term"] = 0.2
    assert of(study, "C3: without extractor worse")[0].startswith("does not hold: it is better")


def test_every_claim_stands_beside_the_reports_own_words():
    assert list(said.SAID) == list(claims.TITLES)


def test_mse_stands_beside_ciede2000():
    study = make_study(one=seeds_of(0.0), none=seeds_of(2.0, backbone="none"))
    (row,) = [row for row in claims.table(study) if row["claim"].startswith("C3: without extractor worse")]
    assert row["measured"].startswith("CIEDE2000 +2.0") and "; MSE +3" in row["measured"]


@pytest.mark.parametrize(
    "behind, reads",
    [
        (3.0, "holds"),
        (2.0, "holds"),  # it paints gray, which is 2 behind
        (1.0, "undecided: behind, not shown to be by more than half of what the other gains on gray"),
        (0.6, "does not hold: behind, by less than half of what the other gains on gray"),
        (0.0, "undecided: no difference shown"),
        (-1.0, "does not hold: it is better"),
    ],
)
def test_far_behind_is_more_than_half_of_what_mse_gains_on_the_gray_photograph(behind, reads):
    study = make_study(one=seeds_of(0.0), other=seeds_of(behind, loss="crossentropy"))
    assert read(study)["C4: far behind, a*b* scaled to [-1, 1] (other against one)"] == reads


def test_more_epochs_help_where_the_validation_loss_still_falls():
    falling = [with_losses(seed, [2.0, 1.0, 0.9 + seed / 1000], [2.0, 1.5, 1.4]) for seed in SEEDS]
    flat = [with_losses(seed, [2.0, 0.9, 1.0 + seed / 1000], [2.0, 1.0, 0.5]) for seed in SEEDS]
    assert of(make_study(a=falling), "C6") == ["holds", "holds"]
    assert of(make_study(a=flat), "C6") == ["does not hold", "does not hold"]


def test_whether_the_loss_still_falls_is_asked_of_each_schedule():
    short = [with_losses(seed, [2.0, 1.0 + seed / 1000, 1.1]) for seed in SEEDS]
    long = [with_losses(seed, [2.0, 1.5, 1.1 + seed / 1000], epochs=40) for seed in SEEDS]
    falls = {
        claim: verdict
        for claim, verdict in read(make_study(short=short, long=long)).items()
        if "still falling" in claim
    }
    assert [claim.rpartition("(")[2] for claim in falls] == ["short)", "long)"]
    assert list(falls.values()) == ["does not hold", "holds"]


def test_converging_is_not_judged_where_both_are_there_after_the_first_epoch():
    whole = [with_losses(seed, [1.0, 1.0 + seed / 1000]) for seed in SEEDS]
    fewer = [with_losses(seed, [1.0, 1.0 + seed / 999], feature_dims=256) for seed in SEEDS]
    verdicts = read(make_study(whole=whole, fewer=fewer))
    assert verdicts["C2: 256 of 1,000 dimensions converge faster (fewer against whole)"] == (
        "undecided: both are there after the first epoch"
    )


def painted(run, hue: str, shares) -> None:
    run.per_image.loc[run.per_image.method == "model", f"{hue}_painted"] = shares


def test_sky_is_too_blue_where_it_is_bluer_than_true_and_than_without_extractor():
    own, none = make_run(0, 0.0), make_run(0, 2.0, backbone="none")
    sky = own.per_image[own.per_image.method == "model"].category == "sky"
    painted(own, "blue", np.where(sky, 0.3, 0.0))
    assert of(make_study(own=[own], none=[none]), "C8") == ["holds"]
    painted(none, "blue", np.where(sky, 0.3, 0.0))
    assert of(make_study(own=[own], none=[none]), "C8") == ["undecided"]
    painted(own, "blue", 0.05)
    assert of(make_study(own=[own], none=[none]), "C8") == ["does not hold"]


def test_a_pale_network_is_too_blue_by_its_coloured_pixels_alone():
    own, none = make_run(0, 0.0), make_run(0, 2.0, backbone="none")
    for hue in hues.metrics.HUES:  # a third of the pixels that have a hue get one
        painted(own, hue, 0.03)
        painted(none, hue, 0.03)
    painted(own, "blue", 0.06)
    (verdict,) = of(make_study(own=[own], none=[none]), "C8")
    assert verdict == "holds by share of the coloured pixels, does not hold by share of all"


def test_grass_needs_photographs_of_grass():
    own, fewer = make_run(0, 0.0), make_run(0, 0.0, feature_dims=256)
    assert of(make_study(own=[own], fewer=[fewer]), "C9") == ["not tested"]
    for run in (own, fewer):
        run.per_image["category"] = "lawn_mower-n03649909"
    painted(own, "green", 0.4)
    assert of(make_study(own=[own], fewer=[fewer]), "C9") == ["holds"]


def test_red_is_judged_among_common_hues_alone_by_recall_and_by_error():
    run = make_run(0, 0.0)
    assert of(make_study(a=[run]), "C7") == ["holds"]
    run.per_image["cyan_share"], run.per_image["cyan_recall"] = 0.001, 0.0
    assert "cyan" not in hues.common(make_study(a=[run])) and of(make_study(a=[run]), "C7") == ["holds"]
    run.per_image["blue_recall"] = 0.01
    assert of(make_study(a=[run]), "C7") == ["does not hold by recall, holds by error"]
    for hue in hues.metrics.HUES:
        run.per_image[f"{hue}_share"] = 0.1 if hue == "red" else 0.0
    assert of(make_study(a=[run]), "C7") == ["not tested"]  # beside no other
    run.per_image["red_share"] = 0.0
    assert of(make_study(a=[run]), "C7") == ["not tested"]


def test_objects_of_many_colours_are_those_whose_coloured_pixels_have_many_hues():
    run = make_run(0, 0.0)
    table = run.per_image
    table["category"] = [f"c{row % 12}" for row in table.row]
    many = table.row % 12 / 12
    for (
        hue
    ) in hues.metrics.HUES:  # from red alone to all hues alike, and the more hues, the fewer coloured pixels
        table[f"{hue}_share"] = (0.1 if hue == "red" else 0.1 * many) * (1 - 0.5 * many)
    model = table.method == "model"

    def errors(remain):
        noise = RNG.normal(0, 0.01, model.sum())
        for hue in hues.metrics.HUES:
            gray = table.loc[~model & (table.method == "gray"), f"{hue}_ciede2000"].to_numpy()
            table.loc[model, f"{hue}_ciede2000"] = gray * (remain(many[model]) + noise)
        return of(make_study(a=[run]), "C10")

    table["ciede2000"] = 1.0  # colourless pixels, and they are most, do not count
    assert errors(lambda spread: 0.5 + 0.4 * spread) == ["holds"]
    assert errors(lambda spread: 0.9 - 0.4 * spread) == ["does not hold"]
    table[[f"{hue}_share" for hue in hues.metrics.HUES]] = 0.1
    assert of(make_study(a=[run]), "C10") == ["not tested"]


@pytest.mark.parametrize(
    ("category", "counts"),
    [("sky", True), ("lakeside-n09332890", True), ("o/ocean", True), ("beach_wagon-n02814533", False)],
)
def test_categories_are_known_by_their_whole_names(category, counts):
    run = make_run(0, 0.0)
    run.per_image["category"] = category
    assert claims_colour.plain_categories(make_study(a=[run]), "a").isin(claims_colour.WATER).all() == counts


def test_the_rank_correlation_is_scipys():
    from scipy import stats

    first, second = RNG.normal(size=(2, 40))
    value, low, high = claims_colour.rank_correlation(first, first + second)
    assert value == pytest.approx(stats.spearmanr(first, first + second).statistic) and low < value < high


def test_hue_tables_are_means_over_pixels():
    run = make_run(0, 1.0)
    study = make_study(a=[run])
    assert hues.by_hue(study, "a")["green"] == pytest.approx((TRUTH + 1).mean())
    assert set(hues.table(study).method) == {"gray (no colour)", "colour by lightness", "a"}
    assert hues.biases(study).set_index("method").loc["a, painted minus true"].abs().max() < 1e-9


def test_a_network_that_learned_nothing_says_nothing_of_its_loss():
    stuck = [with_losses(seed, [0.7, 0.7, 0.7], loss="crossentropy") for seed in SEEDS]
    study = make_study(stuck=stuck, own=[with_losses(seed, [0.3, 0.2, 0.1]) for seed in SEEDS])
    assert set(of(study, "C4")) == {"undecided: stuck learned nothing in 3 of 3 seeds, its loss stood still"}


def test_one_seed_of_a_gap_is_judged_by_the_chance_of_the_others_with_its_loss():
    several = [with_losses(seed, [1.0, 0.95 + seed / 100], [1.0, 1.0]) for seed in SEEDS]
    alone = [with_losses(0, [1.0, 1.5], [1.0, 1.0], lr_step=1)]
    start = "C6: validation loss is below training loss at the end"
    assert of(make_study(several=several, alone=alone), start) == ["holds", "does not hold (one seed)"]
    assert of(make_study(alone=alone), start) == ["undecided: 1 seed, of at least 3"]
    other = [with_losses(seed, [1.0, 0.95], loss="binned") for seed in SEEDS]
    assert of(make_study(other=other, alone=alone), start) == ["undecided: 1 seed, of at least 3"]


def test_colours_elsewhere_are_judged_over_photographs_where_there_is_one_category():
    study = make_study(own=seeds_of(0.0), none=seeds_of(1.0, backbone="none"))
    lines = claims_colour.painted(study, ["own"], [], [("none", "own")], ", on there")
    assert [line["words"] for line in lines] == ["sky and water painted too blue, on there"]
    assert lines[0]["measured"].endswith("photographs of sky, so that intervals are over photographs")


def test_more_epochs_are_tried_and_not_only_read_off_a_slope():
    study = make_study(
        short=seeds_of(0.0, epochs=6, lr_step=1),
        long=seeds_of(0.5, epochs=20, lr_step=2),
        other=seeds_of(-1.0, epochs=20, lr=0.01),
    )
    rows = [row for row in claims.table(study) if row["claim"] == "C6: more epochs help: 20 in place of 6"]
    assert [(row["networks"], row["verdict"]) for row in rows] == [("long against short", "does not hold")]


def test_without_an_extractor_is_far_behind_by_the_bar_of_the_loss():
    gray = 2.0  # of make_run; half of what the extractor gains on it is the bar
    for shift, verdict in (
        (0.3 * gray, "does not hold: behind, by less than half of what the other gains on gray"),
        (0.7 * gray, "holds"),
    ):
        study = make_study(none=seeds_of(shift, backbone="none"), own=seeds_of(0.0))
        assert of(study, "C3: without extractor far behind") == [verdict]
