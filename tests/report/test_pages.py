"""Reports: nothing is loaded from a network, formulas are drawn, failures stand as failures."""

import html
import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from koala import study
from koala.report import pages, render
from koala.system import paths
from koala.system.errors import KoalaError

PIXEL = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="


@pytest.fixture
def executed(tmp_path):
    """An executed notebook with every kind of output that ours have."""
    v4 = nbformat.v4
    cell = v4.new_code_cell("x = 1  # a < b", execution_count=1)
    cell.outputs = [
        v4.new_output("stream", name="stdout", text="printed & kept\n"),
        v4.new_output("display_data", data={"text/html": "<b>a table</b>", "text/plain": "no"}),
        v4.new_output("execute_result", data={"image/jpeg": PIXEL, "text/plain": "no"}, execution_count=1),
        v4.new_output("error", ename="KoalaError", evalue="one <sentence>", traceback=[]),
    ]
    path = tmp_path / "run.ipynb"
    nbformat.write(
        v4.new_notebook(cells=[v4.new_markdown_cell("# Title\nlightness $L^*$ and `$code$`"), cell]), path
    )
    return path


def loads(page: str) -> list[str]:
    """Everything that a browser would fetch."""
    found = re.findall(
        r"<(?:script|link|img|iframe|video|audio|source|object|embed)\b[^>]*?(?:src|href|data)\s*=\s*[\"']([^\"']+)",
        page,
    )
    return [
        url
        for url in found + re.findall(r"url\(([^)]+)\)|@import\s+(\S+)", page)
        if not str(url).startswith("data:")
    ]


def test_a_rendered_notebook_is_whole_and_loads_nothing(executed, tmp_path):
    render.render_notebook(executed, tmp_path / "run.html", "A run")
    page = (tmp_path / "run.html").read_text()
    for text in (
        "printed &amp; kept",
        "<b>a table</b>",
        "data:image/jpeg;base64",
        "KoalaError: one &lt;sentence&gt;",
        "<math",
        "$code$",
    ):
        assert text in page, text
    assert loads(page) == [] and "<script" not in page
    assert len(page) < 100_000


def test_a_notebook_that_never_ran_becomes_a_page_that_says_so(tmp_path):
    render.render_notebook(tmp_path / "none.ipynb", tmp_path / "none.html", "A run")
    assert "has not been run" in (tmp_path / "none.html").read_text()


def test_reports_name_no_place_of_this_machine():
    text = (
        f"{paths.ROOT}/.venv/bin/python {paths.home()}/runs/x {paths.ROOT.parent}/shared/photos.zip /usr/bin"
    )
    assert render.without_places(text) == "./.venv/bin/python KOALA_HOME/runs/x ../shared/photos.zip /usr/bin"


def test_formulas_become_mathml_outside_code():
    assert render.mathml("`$a$` and $b$").startswith("`$a$` and <math")
    assert "$" not in render.mathml("$$\\sum_i x_i$$")


def results(plan):
    """One finished run, one failed, the rest not run yet."""
    test = {
        method: {
            "ciede2000": 9.5,
            "ab_rmse": 20.0,
            "psnr": 20.0,
            "ssim": 0.9,
            "colourfulness": 8.0,
            "colourfulness_true": 30.0,
        }
        for method in ("gray", "mean", "lightness", "model")
    }
    done = {
        "status": "finished",
        "test": test,
        "last_val_loss": 0.01,
        "train_seconds": 61.0,
        "folder": "none",
        "config": dict.fromkeys(pages.SETTINGS, 1) | {"backbone": "convnext"},
        "weights": {"weights": "untrained (seed 0)", "trained": False},
    }
    (first, second), *_ = zip(plan.runs(), plan.runs()[1:], strict=False)
    paths.write_json(plan.result_file(*first), done)
    paths.write_json(plan.result_file(*second), {"status": "failed", "error": "KoalaError: <why>"})


def test_index_shows_failed_runs_untrained_weights_and_baselines(monkeypatch):
    plan = study.load("demo")
    results(plan)
    body = pages.study_body(plan, study.results(plan))
    for text in (
        "failed: KoalaError: &lt;why&gt;",
        "missing: not run yet",
        "gray (no colour)",
        "colour by lightness",
        "9.50",
        "1 min 01 s",
    ):
        assert text in body, text
    assert '<span class="untrained" title="untrained (seed 0)">untrained (seed 0)</span>' in body
    study.forget_failures(plan)
    assert [row["status"] for row in study.results(plan)[:2]] == ["finished", "missing"]


def test_verdict_exits_with_one_where_a_run_failed(capsys):
    plan = study.load("demo")
    results(plan)
    for part in ("analysis", "extractor"):
        paths.write_json(plan.folder / f"{part}.json", {"status": "finished"})
    assert pages.verdict("demo") == 1
    assert "FAILED 2-convnext, seed 0: KoalaError: <why>" in capsys.readouterr().out


def test_why_a_run_failed_is_read_from_its_notebook(executed, tmp_path, capsys):
    study.record_failure(executed, tmp_path / "result.json")
    assert paths.read_json(tmp_path / "result.json")["error"] == "KoalaError: one <sentence>"
    study.record_failure(tmp_path / "none.ipynb", tmp_path / "result.json")
    assert "without a result" in paths.read_json(tmp_path / "result.json")["error"]


def test_unknown_study_names_the_nearest():
    with pytest.raises(KoalaError, match="did you mean 'demo'"):
        study.load("dmo")


def test_tables_wrap_words_and_not_numbers():
    from koala.report import show_run

    text = show_run.table(
        [
            {
                "name": "a < b",
                "value": 1.234,
                "none": float("nan"),
                "reads": "words that go on for longer than a number does",
            }
        ],
        {"value": "{:.2f}"},
    ).data
    assert (
        '<td>a &lt; b</td><td>1.23</td><td></td><td class="text"' in text
        and text.count("text-align:left") == 2
    )
    assert "<td>b</td>" in show_run.table(pd.DataFrame({"kind": pd.Categorical(["a", "b"])})).data


def test_a_draw_shows_as_many_categories_as_it_can():
    from koala.experiment import evaluate

    categories = np.array(list("aaabac"))
    assert evaluate.of_each(categories, 3).tolist() == [0, 3, 5]
    assert evaluate.of_each(categories, 4).tolist() == [0, 1, 3, 5]
    assert evaluate.of_each(categories, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_overview_tells_what_a_study_is_for_and_keeps_speed_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path))
    for name, title in (("controls", "Controls"), ("benchmark-x", "Speed")):
        paths.write_text(paths.reports_dir() / name / "index.html", f"<title>{title}</title>")
    before, _, after = pages.overview_body(paths.reports_dir()).partition("Measurements of speed")
    assert (
        study.load("controls").about[:40] in html.unescape(before)
        and "benchmark-x" in after
        and "benchmark-x" not in before
    )
