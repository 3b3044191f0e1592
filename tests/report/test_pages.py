"""Reports: nothing is loaded from a network, formulas are drawn, failures stand as failures."""

import html
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from calling import call
from made_study import made_study
from synthetic import TRUTH

from koala import study
from koala.report import again, answers, facts, overview, pages, pairs, render, tables, words
from koala.study import compare, elsewhere, loading, questions
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
        v4.new_output(
            "execute_result", data={"image/jpeg": PIXEL}, metadata={"image/jpeg": {"alt": "the words"}}
        ),
        v4.new_output("display_data", data={"text/html": '<pre class="koala-progress">once only</pre>'}),
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
        if not str(url).startswith("data:") and "#" not in str(url)
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
    assert loads(page) == [] and "once only" not in page and 'alt="the words"' in page
    assert len(page) < 100_000


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
    (first, second), *_ = zip(plan.runs(), plan.runs()[1:], strict=False)
    paths.write_json(plan.result_file(*first), {"status": "finished"})
    paths.write_json(plan.result_file(*second), {"status": "failed", "error": "KoalaError: <why>"})


def test_a_studys_page_opens_with_its_answer_and_has_a_row_for_each_experiment():
    found = made_study()
    known = json.loads(json.dumps(facts.gather(found)))  # as summary.json holds it
    body = pages.study_body(found.plan, known)
    answer, mean = body[: body.index("</div>")], found.values("efficientnet", "ciede2000").mean()
    assert f"A trained extractor helps: efficientnet reaches CIEDE2000 {mean:.2f} on" in answer
    low, high = (words.signed(known["differences"][0][end], "") for end in ("low", "high"))
    assert f"95 % interval {low} to {high}" in answer
    for text in (
        "gray (no colour)",
        "colour by lightness",
        "the photographs themselves",
        "1 min 01 s",
        "<svg",
    ):
        assert text in body, text
    assert "Control: the extractor" in body[body.index('id="names"') : body.index('id="experiments"')]
    assert "lagging behind other models" in body[body.index('id="claims"') :]
    rows = body[body.index('id="experiments"') : body.index('id="claims"')]
    assert rows.count(">efficientnet<") == 1 and "<td>2</td>" in rows  # one row for two seeds
    assert '<td class="untrained">untrained</td>' in rows and ">inception-distilled (distilled here)<" in rows
    assert "<b>" in rows[rows.index(">efficientnet<") :]


def test_a_studys_page_names_what_failed():
    plan = study.load("demo")
    results(plan)
    body = pages.study_body(plan, {})
    assert "failed: KoalaError: &lt;why&gt;" in body and "3-reduced (seed 0)" in body
    assert "runs have finished" in body
    assert "no evidence" in body  # the embedded photographs
    study.forget_failures(plan)
    assert [row["status"] for row in study.results(plan)[:2]] == ["finished", "missing"]


def test_the_answer_follows_the_numbers():
    def first(**shifts):
        found = made_study(**shifts)
        summary = compare.summary(found, list(tables.METRICS))
        return answers.sentences(found, pairs.compared(found), summary)

    assert first(efficientnet=2.0, inception__distilled=1.0)[0].startswith(
        "No trained extractor is shown to help"
    )
    assert first(efficientnet=2.0)[0].startswith("Not every trained extractor is shown to help: efficientnet")
    short = first(inception__distilled=2.0)[1]
    assert short.startswith(
        "Better than none: 1 of 1 extractor with published weights, 0 of 1 extractor distilled here; not shown to be: "
        "inception-distilled (distilled here) minus"
    )
    assert first()[1].startswith("Likewise inception-distilled (distilled here) minus no-extractor")
    assert not any("more pixels are seen" in text for text in first())
    found = made_study()
    found.plan.data["image_size"] *= 2
    larger = answers.sentences(found, pairs.compared(found), compare.summary(found, list(tables.METRICS)))
    assert any("the photograph at 128 pixels and not 64" in text for text in larger)
    text = " ".join(first())
    assert "not shown to differ (untrained)" in text or "worse (untrained)" in text
    assert "intervals are over photographs (of the same categories) and seeds." in text


def test_how_far_the_category_goes_without_a_network_is_told():
    found = made_study()
    for run in found.runs.values():
        gray = run.per_image[run.per_image.method == "gray"]
        told = gray.assign(method="category", ciede2000=gray.ciede2000 - 4.5)
        run.per_image = pd.concat([run.per_image, told], ignore_index=True)
    (objection,) = [text for text in facts.gather(found)["answers"] if text.startswith("An objection")]
    assert f"Colour by lightness of the true category reaches {TRUTH.mean() - 2.5:.2f}" in objection
    assert "efficientnet minus that +0.4" in objection and ", worse; of the 2 networks" in objection
    assert objection.endswith("none is shown to be better than the table, 2 to be worse.")


def test_what_was_judged_elsewhere_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path))
    found = made_study()
    assert not any("another data set" in text for text in facts.gather(found)["answers"])
    monkeypatch.setattr(elsewhere, "names", lambda _: ["beach"])
    monkeypatch.setattr(elsewhere, "read", lambda *_: made_study(efficientnet=-3.0))
    (told,) = [text for text in facts.gather(found)["answers"] if "another data set" in text]
    assert told.startswith("On 300 photographs of another data set (beach), where gray ones have ")
    assert "efficientnet minus no-extractor \N{MINUS SIGN}3.00, 95 % interval" in told and ", better." in told


def test_the_readme_has_one_row_per_claim_with_the_networks_of_each_verdict():
    gray = {"label": "gray", "trivial": True} | dict.fromkeys(tables.METRICS, 1.0)
    wanted = {"claim": "C1: equal", "networks": "", "verdict": "not tested", "measured": "would need two"}
    judged = [
        {"claim": "C3: worse", "networks": name, "verdict": verdict, "measured": "+0.70 [+0.56, +0.84]"}
        for name, verdict in (
            ("none against one", "holds"),
            ("none against two", "undecided"),
            ("a", "holds"),
        )
    ]
    known = {"experiments": [gray], "truth": 40.0, "answers": ["It helps."], "claims": [wanted, *judged]}
    assert pages.results(known).splitlines()[-2:] == [
        "| C1: equal | not tested: would need two |",
        "| C3: worse | holds (none against one, a); undecided (none against two) |",
    ]


def test_the_index_over_all_studies_is_made_from_their_summaries(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path))
    known = facts.gather(made_study())
    for name, title in (("test", "Test"), ("photographs", "Photographs"), ("benchmark-x", "Speed")):
        paths.write_text(tmp_path / name / "index.html", f"<h1>{title}</h1>")
    paths.write_json(tmp_path / "test" / "summary.json", known)
    overview.write()
    page = (tmp_path / "index.html").read_text()
    assert known["answers"][0] in html.unescape(page) and 'href="test/analysis.html"' in page
    before, _, after = page.partition("Beside the studies")
    assert study.load("photographs").about[:40] in html.unescape(before)
    assert '<a href="benchmark-x/index.html">Speed</a>' in after and "benchmark-x" not in before
    assert loads(page) == [] and "C1: Inception-v3 and ConvNeXt-T end about equal" in before


def test_damaged_numbers_leave_a_studys_page_as_it_was(monkeypatch):
    def damaged(name):
        raise KoalaError("take it from git again")

    monkeypatch.setattr(loading, "load", damaged)
    with pytest.raises(KoalaError, match="take it from git again"):
        pages._numbers("replica")


def test_why_a_run_failed_is_read_from_its_notebook(executed, tmp_path, capsys):
    study.record_failure(executed, tmp_path / "result.json")
    assert paths.read_json(tmp_path / "result.json")["error"] == "KoalaError: one <sentence>"
    for text in (None, "no notebook", '{"cells": [', "[]"):  # killed before, while and after it was written
        log = tmp_path / "other.ipynb"
        if text is not None:
            log.write_text(text)
        (tmp_path / "other.ipynb.stderr").write_text("first\nKoalaError: said last\n")
        study.record_failure(log, tmp_path / "result.json")
        error = paths.read_json(tmp_path / "result.json")["error"]
        assert "without a result" in error and "said last" in error


def test_unknown_study_names_the_nearest():
    with pytest.raises(KoalaError, match="did you mean 'demo'"):
        study.load("dmo")


def test_tables_wrap_words_and_not_numbers():
    text = tables.table(
        [
            {
                "name": "a < b",
                "value": 1.234,
                "none": float("nan"),
                "verdict": "words that go on for longer than a number does",
            }
        ],
        {"value": "{:.2f}"},
    ).data
    assert "a &lt; b</td><td>1.23</td><td></td>" in text and text.count("white-space:normal") == 2
    assert ">b</td>" in tables.table(pd.DataFrame({"kind": pd.Categorical(["a", "b"])})).data


def test_a_draw_shows_as_many_categories_as_it_can():
    from koala.experiment import evaluate

    categories = np.array(list("aaabac"))
    assert evaluate.of_each(categories, 3).tolist() == [0, 3, 5]
    assert evaluate.of_each(categories, 4).tolist() == [0, 1, 3, 5]
    assert evaluate.of_each(categories, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_notebook_that_is_not_there_is_one_sentence(environment, tmp_path):
    done = call(environment, "koala.report", "html", tmp_path / "none.ipynb")
    assert done.returncode == 1 and done.stderr.startswith("koala: there is no file or folder")
    assert "Traceback" not in done.stderr and not (tmp_path / "none.html").exists()


@pytest.mark.parametrize(
    "old", [{}, {"previous": ("a", "a.html")}, {"previous": ("a", "a.html"), "following": ("d", "d.html")}]
)
def test_a_page_whose_notebook_is_not_here_gets_its_new_neighbours(tmp_path, old):
    """Nothing else of it changes."""
    new = {"previous": ("b < \\1", "b.html"), "following": ("c", "c.html")}
    before, after = (
        render.page("A run", "<h2>x</h2></nav>", date="2026-01-01", **links) for links in (old, new)
    )
    target = tmp_path / "run.html"
    target.write_text(before, encoding="utf-8")
    render.relink(target, **new)
    assert target.read_text(encoding="utf-8") == after != before


def test_what_is_rendered_again_trains_nothing(monkeypatch):
    """An experiment's notebook trains the seeds that are missing, so it waits for them."""
    plan, executed = study.load("replica"), []
    done = set(plan.runs()) - {("inception2015", 1)}
    monkeypatch.setattr(again.loading, "finished", lambda plan: done)
    monkeypatch.setattr(again, "_execute", lambda notebook, target, **values: executed.append(target.stem))
    monkeypatch.setattr(pages, "render_study", lambda name: "index.html")
    assert again.render_again("replica") == "index.html" and executed[0] == "analysis"
    waits = {
        one.experiment for one in questions.asked(plan) if "inception2015" in (one.experiment, one.against)
    }
    assert waits and not waits & {name.removeprefix("experiment-") for name in executed}
    assert len(executed) == 1 + len(questions.asked(plan)) - len(waits)
