"""A study's numbers in git: the same tables, claims and photographs without runs, in few bytes, and damage is noticed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import make_run, make_study

from koala.experiment import artefacts
from koala.study import claims, compare, contrasts, export, hues, loading, outcomes, packing
from koala.system import paths
from koala.system.errors import KoalaError

RNG = np.random.default_rng(0)
PHOTOGRAPHS = RNG.integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
DRAWN = np.arange(6)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A study of two experiments and two seeds that was trained here, its tables rounded as they are read."""
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    photos = SimpleNamespace(images=PHOTOGRAPHS, fingerprint="f")
    monkeypatch.setattr(export.data, "load", lambda name: photos)
    shown = {"drawn_rows": DRAWN, "drawn": PHOTOGRAPHS[DRAWN] // 2}
    monkeypatch.setattr(export.artefacts, "load_pictures", lambda run: shown)
    study = make_study(
        own=[make_run(seed, 0.0, noise=0.3) for seed in (0, 1)],
        none=[make_run(seed, 2.0, backbone="none") for seed in (0, 1)],
    )
    for run in study.runs.values():
        run.config["result_file"] = "/machine/result.json"
        run.result = {
            "photographs": {"test": 300},
            "parameters": 5,
            "sha256": {"model": "x"},
            "status": "finished",
        }
        for column in ("psnr", "ssim", "auc", "colourfulness", "colourfulness_true"):
            run.per_image[column] = np.random.default_rng(len(column)).uniform(0, 1, len(run.per_image))
        run.per_image = packing.rounded(run.per_image)
    monkeypatch.setattr(export.plans, "parameters", lambda plan, *key: study.runs[key].config)
    study.plan = study.plan.__class__(
        "test", "Test", ["own", "none"], [0, 1], {"source": "somewhere", "name": "scenes"}, {}
    )
    return study


@pytest.fixture
def again(trained, monkeypatch):
    """The same study from its export, where nothing was trained."""
    export.write(trained)
    monkeypatch.setattr(loading.plans, "load", lambda name: trained.plan)
    missing = [{"experiment": name, "seed": seed, "status": "missing"} for name, seed in trained.plan.runs()]
    monkeypatch.setattr(outcomes, "results", lambda plan: missing)
    return lambda: loading.load("test")


def test_a_run_that_was_exported_with_other_parameters_is_not_there(trained, again, monkeypatch):
    asked = export.plans.parameters
    for other in ({"epochs": 9}, {"weights": "untrained"}):
        changed = {"own": other, "none": {}}
        monkeypatch.setattr(
            export.plans, "parameters", lambda plan, *key, it=changed: asked(plan, *key) | it[key[0]]
        )
        assert again().experiments == ["none"] and {row["experiment"] for row in again().failed} == {"own"}


def test_seeds_of_two_extractors_are_never_one_experiment(trained, again, monkeypatch):
    """One seed was trained again, with an extractor that was taught anew; the other one is as it was exported."""
    anew = trained.runs["own", 0]
    anew.env["weights"] = anew.env["weights"] | {"sha256": "another"}
    monkeypatch.setattr(
        loading, "_trained", lambda row: anew if (row["experiment"], row["seed"]) == ("own", 0) else None
    )
    study = again()
    assert study.seeds("own") == [0] and study.seeds("none") == [0, 1]
    assert [row["error"] for row in study.failed] == [loading.OLDER]


def test_tables_and_claims_are_the_same_to_the_last_digit(trained, again):
    names = ["ciede2000", "ab_rmse", "psnr", "ssim", "auc", "colourfulness", "chroma_ratio"]
    pd.testing.assert_frame_equal(compare.summary(trained, names), compare.summary(again(), names))
    for name in trained.experiments:  # what needs no network stands beside each experiment alone, too
        own, others = (compare.summary(study.only(name), names) for study in (trained, again()))
        pd.testing.assert_frame_equal(own, others)
        assert "gray (no colour)" in set(own.label)
    pd.testing.assert_frame_equal(hues.table(trained), hues.table(again()))
    for make in (claims.table, contrasts.controls, contrasts.earned):
        assert make(trained) == make(again())
    assert list(again().runs) == [("own", 0), ("none", 0), ("own", 1), ("none", 1)]


def test_photographs_of_the_draw_are_the_same_when_they_are_read_back(trained, again):
    rows, shown = export.drawn(trained)
    other_rows, other = export.drawn(again())
    assert rows.tolist() == other_rows.tolist() == DRAWN.tolist() and shown.keys() == other.keys()
    assert all(np.array_equal(shown[name], other[name]) for name in shown)
    assert list(shown) == ["truth", "own", "none"] and shown["truth"].shape == (6, 16, 16, 3)


def test_rounding_is_to_a_step_and_keeps_what_is_missing():
    table = pd.DataFrame({"ciede2000": [1.2345, np.nan, 40.0], "auc": [0.12345, 1.0, 0.0], "row": [1, 2, 3]})
    rounded = packing.rounded(table)
    assert rounded.ciede2000.tolist()[::2] == [1.23, 40.0] and np.isnan(rounded.ciede2000[1])
    assert rounded.auc.tolist() == [0.123, 1.0, 0.0] and rounded.row.tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(packing.rounded(rounded), rounded)


def test_what_is_packed_comes_back(tmp_path):
    table = pd.DataFrame({name: RNG.uniform(0, 1, 50) for name in packing.STEPS if name != "psnr"})
    table.loc[::7, "red_recall"] = np.nan
    (tmp_path / "x").write_bytes(packing.packed(table, packing.STEPS))
    pd.testing.assert_frame_equal(packing.unpacked(tmp_path / "x", packing.STEPS), packing.rounded(table))


def test_a_hues_metrics_are_kept_of_the_photographs_that_have_it(tmp_path):
    """The last photograph's share is so small that it is rounded to none, and with it what is said of its pixels."""
    there = np.arange(40) % 3 == 0
    table = pd.DataFrame({"ciede2000": RNG.uniform(5, 20, 40), "red_share": np.where(there, 0.2, 0)})
    table.loc[39, "red_share"] = 0.00001
    for metric in ("ciede2000", "recall"):
        table[f"red_{metric}"] = np.where(table.red_share > 0, RNG.uniform(0, 1, 40), np.nan)
    table = packing.rounded(table)
    assert table.red_recall.notna().tolist() == [*there[:39], False]
    (tmp_path / "x").write_bytes(packing.packed(table, packing.STEPS))
    assert packing.photographs(tmp_path / "x") == 40
    again = packing.unpacked(tmp_path / "x", packing.STEPS, table[["red_share"]])
    pd.testing.assert_frame_equal(again, table.drop(columns="red_share")[list(again)])
    assert list(again) == ["ciede2000", "red_ciede2000", "red_recall"]


def test_a_run_of_ten_thousand_photographs_takes_less_than_200_kilobytes():
    """Forty runs stay below 10 MB with what they have in common: most photographs have two or three hues."""
    n = 10_000
    table = pd.DataFrame(
        {name: RNG.normal(12, 4, n).clip(0) for name in ("ciede2000", "ab_rmse", "colourfulness", "chroma")}
    )
    table["psnr"], table["ssim"], table["auc"] = RNG.normal(22, 3, n), RNG.beta(20, 2, n), RNG.beta(20, 2, n)
    for hue in packing.metrics.HUES:
        there = RNG.uniform(size=n) < 0.45
        table[f"{hue}_share"] = there * RNG.uniform(0.01, 0.3, n)
        table[f"{hue}_painted"] = RNG.beta(1, 5, n) * (RNG.uniform(size=n) < 0.35)
        table[f"{hue}_ciede2000"] = np.where(there, RNG.normal(14, 5, n).clip(0), np.nan)
        table[f"{hue}_recall"] = np.where(there, RNG.beta(0.4, 0.8, n), np.nan)
    assert len(packing.packed(table, packing.STEPS)) < 200_000


def test_a_changed_file_is_refused(again, trained):
    again()
    file = export.folder(trained.plan) / "own-s0" / "per_image.npy.xz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(KoalaError, match=r"per_image\.npy\.xz missing or not what was written"):
        again()


def test_nothing_is_written_over_by_an_export_of_what_was_read_back(again, trained):
    folder = export.folder(trained.plan)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    export.write(again())
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not any(b"/machine" in content for content in before.values())


def test_photographs_of_a_study_of_several_sizes_are_those_that_drew_alike(trained, again):
    small = trained.runs["none", 0]
    small.config["image_size"] = 32
    export.write(trained)
    assert set(export.drawn(again())[1]) == {"truth", "own"}


def test_runs_of_other_photographs_than_those_prepared_here_are_not_there(trained, again):
    paths.write_json(paths.data_dir() / "scenes" / "meta.json", {"fingerprint": "f"})
    assert len(again().runs) == 4 and len(loading.finished(trained.plan)) == 4
    paths.write_json(paths.data_dir() / "scenes" / "meta.json", {"fingerprint": "of another"})
    assert not loading.finished(trained.plan)
    with pytest.raises(loading.Unfinished):
        again()


def test_what_needs_no_network_has_one_holder(trained, again):
    """It stood beside the second experiment while the first had failed; then that is trained."""
    whole = dict(trained.runs)
    del trained.runs["own", 0], trained.runs["own", 1]
    folder = export.folder(trained.plan)
    export.write(trained)
    trained.runs = {key: whole[key] for key in trained.plan.runs()}
    export.write(trained)
    held = {file.name.split("@")[0] for file in folder.glob("without-network/*@gray.*")}
    assert held == {"own"} and len(again().lines("none", 0, "gray")) == len(PHOTOGRAPHS)


def test_categories_are_names_whatever_they_look_like(tmp_path):
    table = pd.DataFrame({"path": ["1", "2"], "category": ["NA", "1"], "psnr": [np.nan, 2.0]})
    table.to_csv(tmp_path / "x.csv", index=False)
    read = artefacts.read_lines(tmp_path / "x.csv")
    assert (
        read.category.tolist() == ["NA", "1"] and read.path.tolist() == ["1", "2"] and np.isnan(read.psnr[0])
    )


def test_a_run_whose_folder_is_gone_is_not_finished(trained, monkeypatch):
    rows = [{"experiment": "own", "seed": 0, "status": "finished", "run_id": "gone"}]
    monkeypatch.setattr(outcomes, "results", lambda plan: rows)
    assert loading.finished(trained.plan) == set()
    export.write(trained)
    assert loading.finished(trained.plan) == set(trained.plan.runs())
