"""Each experiment's page asks the report's question and compares with the experiment that it differs from."""

import pytest

from koala import study
from koala.study import questions
from koala.system.errors import KoalaError


def test_the_reports_four_experiments_are_asked_in_the_studies_order():
    asked = questions.asked(study.load("demo"))
    assert [(one.experiment, one.against) for one in asked] == [
        ("1-inception", "no-extractor"),
        ("2-convnext", "1-inception"),
        ("3-reduced", "1-inception"),
        ("4-crossentropy", "1-inception"),
    ]
    assert all(one.question.endswith("?") for one in asked)


def test_an_experiment_is_compared_with_what_is_nearest_to_it():
    against = {one.experiment: one.against for one in questions.asked(study.load("replica"))}
    assert against["efficientnet-crossentropy"] == "efficientnet-features"
    assert against["convnext-distilled"] == "inception-distilled"
    assert against["inception2015-256"] == "inception2015"


def test_what_differs_is_what_the_experiment_changes():
    plan = study.load("demo")
    rows = questions.differing(plan, "3-reduced", "1-inception")
    assert rows == [{"parameter": "feature_dims", "3-reduced": 256, "1-inception": 0}]
    assert [row["parameter"] for row in questions.differing(plan, "4-crossentropy", "1-inception")] == [
        "loss"
    ]
    beside_none = questions.differing(study.load("replica"), "inception2015", "no-extractor")
    assert [row["parameter"] for row in beside_none] == ["backbone"]


def test_an_experiment_without_a_question_is_told_those_that_have_one():
    with pytest.raises(KoalaError, match=r"no experiment 'efficientnet' with a question.*3-reduced"):
        questions.find(study.load("demo"), "efficientnet")
