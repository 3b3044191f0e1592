"""What stands in reports/ follows from the numbers beside it: a study's summary is made again from reports/STUDY/runs, without
photographs and without runs, and is the one that its pages were made from."""

import json

import pytest

from koala.report import facts
from koala.study import compare
from koala.system import paths

STUDIES = sorted(
    path.parent.name for path in (paths.ROOT / "reports").glob("*/runs") if path.parent.name != "demo"
)


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_summary_is_made_again_from_its_exported_numbers(name):
    again = json.loads(json.dumps(facts.gather(compare.load(name)), default=str))
    kept = paths.read_json(paths.ROOT / "reports" / name / "summary.json")
    assert again == kept


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_numbers_stay_small(name):
    folder = paths.ROOT / "reports" / name / "runs"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10e6
