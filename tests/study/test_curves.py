"""What is read off losses by epoch."""

import numpy as np
import pytest
from synthetic import make_run, make_study, with_losses

from koala.study import curves, gains, verdicts


def test_convergence_has_a_common_goal_and_each_runs_own():
    study = make_study(a=[with_losses(0, [9.0, 4.2, 2.0, 1.0])], b=[with_losses(0, [4.1, 4.0, 4.0, 4.0])])
    epochs = curves.epochs_to_converge(study, "a", "b")
    # to 4.04: on the way from 4.2 to 2.0, and 60 % of the way from 4.1 to 4.0
    assert epochs["common"].tolist() == [[pytest.approx(2 + 0.16 / 2.2), pytest.approx(1.6)]]
    assert epochs["own"].tolist() == [[pytest.approx(3.99), pytest.approx(1.6)]]  # to 1.01: 99 % from 2 to 1
    assert curves.epochs_to_converge(make_study(a=[make_run(0, 0.0)], b=[make_run(1, 0.0)]), "a", "b") == {}


def test_speed_has_an_interval_over_seeds():
    quick = [with_losses(seed, [3.0, 1.0 + seed / 100, 1.0, 1.0]) for seed in range(3)]
    slow = [with_losses(seed, [3.0, 2.5, 2.0 + seed / 100, 1.0]) for seed in range(3)]
    study, claim = make_study(a=quick, b=slow), (5, "the first converges faster")
    assert verdicts.faster(study, claim, "a", "b")["verdict"] == verdicts.HOLDS
    assert verdicts.faster(study, claim, "b", "a")["verdict"] == verdicts.FAILS


def test_a_curve_that_still_falls_has_a_slope_below_zero_and_a_flat_one_has_not():
    falling = make_study(a=[with_losses(seed, [2.0, 1.0, 0.9 + seed / 1000]) for seed in range(3)])
    flat = make_study(a=[with_losses(seed, [2.0, 1.0, 1.0 + (seed - 1) / 1000]) for seed in range(3)])
    assert curves.slope(falling, "a")[2] < 0 and curves.slope(flat, "a")[1] < 0 < curves.slope(flat, "a")[2]
    assert np.isnan(curves.slope(make_study(a=[with_losses(0, [1.0])]), "a")).all()


def test_the_gain_is_a_curve():
    study = make_study(a=[with_losses(0, [1.0, 1.0])], b=[with_losses(0, [2.0, 1.0], backbone="none")])
    assert gains.by_epoch(study, "a", "b").gain.tolist() == [-0.5, 0.0]


def test_the_last_learning_rate_is_the_historys():
    assert curves.last_rate(make_study(a=[make_run(0, 0.0)]), "a") == 0.5


def test_the_gain_over_photographs_is_that_of_each_pair():
    studies = []
    for count, shift in ((40_000, -0.2), (2_500, -1.0)):
        own, none = make_run(0, shift), make_run(0, 0.0, backbone="none")
        own.result["photographs"]["train"] = count
        studies.append(make_study(own=[own], none=[none]))
    table = gains.by_photographs(*studies)
    assert table.photographs.tolist() == [2_500, 40_000] and table.difference.tolist() == pytest.approx(
        [-1.0, -0.2]
    )
    assert list(gains.curves(studies[0])) == ["own minus none"]
    assert not len(gains.by_photographs(make_study(alone=[make_run(0, 0.0)])))
