"""Studies in parts: their order, names, seeds and scales, and what is refused."""

import itertools

import pytest

from koala import study
from koala.system.errors import KoalaError

PARTS = """
data: {source: photos, name: photos, image_size: 64}
scale: {image_size: 32, epochs: 6, lr_step: 1}
parts:
  - experiments: [no-extractor, efficientnet]
    seeds: [0, 1]
  - experiments: [no-extractor]
    suffix: 20-epochs
    seeds: [0]
    scale: {epochs: 20, lr_step: 2}
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        (tmp_path / "mine.yaml").write_text(text)
        return str(tmp_path / "mine.yaml")

    return written


def test_parts_run_in_their_order_each_with_its_seeds_and_scale(write):
    plan = study.load(write(PARTS))
    first = [("no-extractor", 0), ("efficientnet", 0), ("no-extractor", 1), ("efficientnet", 1)]
    assert plan.runs() == [*first, ("no-extractor-20-epochs", 0)]
    assert plan.experiments == ["no-extractor", "efficientnet", "no-extractor-20-epochs"] and plan.seeds == [
        0,
        1,
    ]
    short, full = (study.parameters(plan, name, 0) for name in ("no-extractor", "no-extractor-20-epochs"))
    assert (short["epochs"], short["lr_step"], full["epochs"], full["lr_step"]) == (6, 1, 20, 2)
    assert {key for key in short if short[key] != full[key]} == {"epochs", "lr_step"}


def test_the_network_may_be_smaller_than_what_the_extractor_sees(write):
    plan = study.load(write(PARTS))
    assert study.parameters(plan, "efficientnet", 0)["image_size"] == 32
    assert [values["image_size"] for values in study.extractors(plan).values()] == [64]


def test_a_study_without_parts_runs_every_experiment_over_every_seed():
    plan = study.load("demo")
    assert sorted(plan.runs()) == sorted(itertools.product(plan.experiments, plan.seeds))


def test_other_photographs_are_a_second_data_set_that_may_be_missing(write, tmp_path):
    other = "elsewhere: {source: %s, name: %s}\n"
    plan = study.load(write(PARTS + other % (tmp_path / "gone.zip", "others")))
    assert not study.is_here(plan.elsewhere) and not study.is_here({})
    (tmp_path / "gone.zip").touch()
    assert study.is_here(plan.elsewhere)
    with pytest.raises(KoalaError, match="must have another name than 'data'"):
        study.load(write(PARTS + other % (tmp_path / "gone.zip", "photos")))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    suffix: 20-epochs\n", "", "no-extractor would run twice"),
        ("parts:", "seeds: [0]\nparts:", "either parts, or"),
        ("    seeds: [0]\n", "", "'seeds' is missing"),
        ("suffix", "sufix", "'sufix' is no key"),
        ("scale: {epochs: 20", "scale: {epoks: 20", "epoks"),
        ("[no-extractor, efficientnet]", "no-extractor", "'experiments' must be a list"),
        (
            "scale: {epochs",
            "scale: {network: pyramid, weights: distilled, epochs",
            "takes no distilled weights",
        ),
    ],
)
def test_wrong_parts_are_one_sentence(write, old, new, words):
    with pytest.raises(KoalaError, match=words):
        study.load(write(PARTS.replace(old, new)))


def test_what_is_a_default_may_be_left_out(write, monkeypatch, tmp_path):
    plain = "data: {source: photos}\nexperiments: [plain]\nseeds: [0]\n"
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "plain.yaml").write_text("epochs: 2\n")
    monkeypatch.setattr(study.plan, "PARAMS", tmp_path)
    plan = study.load(write(plain))
    assert plan.demo and plan.data == {"source": "photos", "name": "photos", "image_size": 64}
    assert list(study.extractors(plan)) == ["efficientnet-auto-auto"]
    with pytest.raises(KoalaError, match="'distill' must hold parameters"):
        study.load(write(plain + "distill: {resnet18: }\n"))


def test_an_extractor_in_two_precisions_has_two_outputs():
    wanted = study.extractors(study.load("replica"))
    kinds = {name: wanted[f"efficientnet-auto-features-{name}"]["precision"] for name in ("bf16", "fp32")}
    assert kinds == {"bf16": "bf16", "fp32": "fp32"}
