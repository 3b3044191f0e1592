"""What stands in reports/ follows from the numbers beside it: a study's summary is made again from reports/STUDY/runs, without
photographs and without runs, and is the one that its pages were made from, by the notebooks and templates of today. What README
says of a study is what stands there."""

import json
import re

import pytest

from koala.report import facts, pages, render
from koala.study import loading
from koala.system import paths

STUDIES = sorted(
    path.parent.name for path in (paths.ROOT / "reports").glob("*/runs") if path.parent.name != "demo"
)


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_summary_is_made_again_from_its_exported_numbers(name):
    again = json.loads(json.dumps(facts.gather(loading.load(name)), default=str))
    kept = paths.read_json(paths.ROOT / "reports" / name / "summary.json")
    for key in again.keys() - {"made_from"}:
        one, other = (json.dumps(numbers[key], sort_keys=True) for numbers in (again, kept))
        assert one == other, key  # as text: NaN is no NaN's equal
    assert again["made_from"] == kept["made_from"], (
        f"older than notebooks or templates: make report STUDY={name}"
    )
    text = (paths.ROOT / "reports" / name / "results.md").read_text(encoding="utf-8")
    assert text == pages.results(kept)


@pytest.mark.parametrize(
    "page",
    [
        page
        for name in STUDIES
        for page in sorted((paths.ROOT / "reports" / name).glob("*.html"))
        if page.name != "index.html"  # of no notebook
    ],
    ids=lambda page: page.stem,
)
def test_a_page_is_made_by_todays_notebook(page):
    made = re.search(r'<meta name="koala-notebook" content="(\w+) (\w+)">', page.read_text(encoding="utf-8"))
    assert made, "it says not by which notebook: run it again, or delete it"
    name, made_by = made.groups()
    today = render.read(paths.ROOT / "notebooks" / f"{name}.ipynb")
    assert render.cells_hash(today) == made_by, (
        f"older than notebooks/{name}.ipynb: run it again, or delete it"
    )


def test_the_readme_says_what_the_main_study_says():
    """Of studies whose numbers are exported; README shows the one whose sentences it begins its results with."""
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    shown = [name for name in STUDIES if f"<!-- reports/{name}/results.md -->" in readme]
    assert bool(shown) == bool(STUDIES)
    for name in shown:
        assert (paths.ROOT / "reports" / name / "results.md").read_text(encoding="utf-8") in readme


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_numbers_stay_small(name):
    folder = paths.ROOT / "reports" / name / "runs"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10e6
