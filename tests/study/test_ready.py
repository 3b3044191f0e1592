"""Before a study starts: what is missing is named at once, and what it costs is counted."""

import collections
import dataclasses
import shutil

import pytest
import torch

from koala import data, study
from koala.extractors import origins
from koala.study import budget, cost, ready
from koala.system import device as devices
from koala.system import paths
from koala.system.errors import KoalaError

CPU = torch.device("cpu")


@pytest.fixture
def plan(photo_folder, tmp_path, monkeypatch):
    """Two experiments without weights from a hub, on a folder that the command line names."""
    monkeypatch.setenv("KOALA_SOURCE", str(photo_folder))
    (tmp_path / "small.yaml").write_text(
        "experiments: [no-extractor, untrained]\nseeds: [0, 1]\ndata: {source: photos, name: photos, image_size: 32}\n"
        "scale: {image_size: 16, epochs: 3, batch_size: 10}\n"
    )
    return study.load(str(tmp_path / "small.yaml"))


def test_the_source_of_the_command_line_takes_the_place_of_the_studys_own(plan, photo_folder, monkeypatch):
    assert plan.data == {"source": str(photo_folder), "name": "small-data", "image_size": 32}
    assert study.parameters(plan, "untrained", 0)["dataset"] == "small-data"
    assert study.load("photographs").data["name"] == "tiny-imagenet"
    monkeypatch.delenv("KOALA_SOURCE")
    assert study.load("photographs").data["source"] == "tiny-imagenet"


@pytest.mark.parametrize("name", ["report", "report-small"])
def test_all_that_the_report_lacks_is_named_in_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(origins, "_from_hub_cache", lambda origin: None)
    with pytest.raises(KoalaError) as caught:
        ready.check(study.load(name))
    for words in (
        f"study '{name}' cannot start",
        "no file or folder 'places-extra69'",
        f"make study STUDY={name} DATA=PATH",
        "weights of convnext, inception, inception_resnet, vit are not available",
        f"inception_v3_google-0cc3c7bd.pth as {tmp_path}",
    ):
        assert words in str(caught.value)
    assert not (paths.home() / "data").exists()


def test_the_reports_study_holds_its_experiments_with_its_values():
    plan = study.load("report")
    runs = ready.configurations(plan)
    assert len(runs) == 12 * 3
    assert {
        (run.image_size, run.epochs, run.batch_size, run.lr, run.lr_decay, run.lr_step)
        for run in runs.values()
    } == {(224, 20, 64, 0.001, 0.5, 2)}
    weights = {name: run.weights for (name, _), run in runs.items() if run.backbone != "none"}
    assert weights.pop("untrained-inception") == "untrained" and set(weights.values()) == {"imagenet"}
    assert {
        runs[f"{name}-inception", 0].backbone
        for name in ("shuffled", "zero", "binned", "rebalanced", "untrained")
    } == {"inception"}
    small = ready.configurations(study.load("report-small"))
    assert {name for name, _ in small} == {name for name, _ in runs} and {seed for _, seed in small} == {0}


def test_a_budget_counts_what_is_left_to_do(plan, photo_folder):
    ready.check(plan)
    before = budget.estimate(plan, CPU)
    assert (before.runs, before.finished, before.photographs) == (4, 0, 60)
    assert before.steps == 4 * 3 * 5  # 48 photographs to train on in batches of 10
    assert before.seconds > 0 and before.disk > 2 * 60 * 32 * 32 * 3 and before.memory > 10**9
    paths.write_json(plan.result_file("untrained", 1), {"status": "finished"})
    data.prepare(str(photo_folder), "small-data", 32)
    after = budget.estimate(plan, CPU)
    assert (after.finished, after.steps, after.photographs) == (1, 3 * 3 * 5, 60)
    assert after.disk < before.disk
    assert any("4 runs (1 finished) on 60 photographs" in line for line in after.lines())


def test_a_study_in_bf16_is_refused_where_that_is_emulated(plan, monkeypatch):
    """Before anything is measured: by emulation that alone takes minutes. What is left to do counts."""
    monkeypatch.setattr(devices, "emulates_bf16", lambda device: True)
    ready.check(plan)
    exact = dataclasses.replace(plan, scale=plan.scale | {"precision": "bf16"})
    taught = dataclasses.replace(plan, distill={"convnext": {"precision": "bf16"}})
    for one in (exact, taught):
        with pytest.raises(KoalaError, match=r"asks for precision: bf16, which cpu .* emulates"):
            ready.check(one)
    for run in exact.runs():
        paths.write_json(exact.result_file(*run), {"status": "finished"})
    ready.check(exact)


@pytest.mark.parametrize(("most", "used"), [(0, 60), (20, 20)])
def test_hours_follow_the_photographs_that_are_shown(plan, monkeypatch, most, used):
    """A last batch that is not full costs less, and extractors see no more photographs than the runs."""
    monkeypatch.setattr(cost, "step", lambda *_: cost.Cost(10.0, 0, 0))  # of ten photographs
    monkeypatch.setattr(cost, "extracting", lambda values, total, device: total)
    costs = budget.estimate(dataclasses.replace(plan, scale=plan.scale | {"max_images": most}), CPU)
    assert costs.seconds == pytest.approx(4 * 3 * 0.8 * used + used)


def test_hours_hold_what_pupils_are_taught(plan, monkeypatch):
    pupil = {"resnet10t": {"teacher": "efficientnet", "size": 32, "epochs": 2, "precision": "fp32"}}
    teaching = dataclasses.replace(plan, distill=pupil)
    assert cost.teaching(study.distillation(teaching, "resnet10t"), 48, CPU) > 0
    monkeypatch.setattr(cost, "step", lambda *_: cost.Cost(0.0, 0, 0))
    monkeypatch.setattr(cost, "extracting", lambda *_: 0.0)
    monkeypatch.setattr(cost, "teaching", lambda values, photographs, device: values["epochs"] * photographs)
    assert budget.estimate(teaching, CPU).seconds == 2 * 48
    paths.write_json(plan.folder / "distilled-resnet10t.json", {"status": "finished"})
    assert budget.estimate(teaching, CPU).seconds == 0


def test_larger_batches_need_more_memory(plan):
    (config, *_) = ready.configurations(plan).values()
    costs = [
        cost.step(dataclasses.replace(config, batch_size=n, precision="fp32"), 32, CPU) for n in (10, 100)
    ]
    small, large = (each.memory - cost.LIBRARIES - 4 * each.weights for each in costs)
    assert 9 < large / small <= 10.1


def test_what_does_not_fit_is_refused(plan, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**9, 10**9, 10**6))
    costs = budget.estimate(plan, CPU)
    with pytest.raises(KoalaError, match=r"needs 0\.\d GB of disk, and 0\.0 are there: free some"):
        costs.check()
    with pytest.raises(
        KoalaError, match=r"needs 9\.0 GB of memory, and 8\.0 are there: use a smaller batch_size"
    ):
        dataclasses.replace(costs, disk=0, memory=9 * 10**9, memory_free=8 * 10**9).check()
