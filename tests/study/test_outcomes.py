"""What a study says at its end."""

from koala import study
from koala.study import outcomes, questions
from koala.system import paths


def test_verdict_exits_with_one_where_a_run_failed(capsys):
    plan = study.load("demo")
    first, second = plan.runs()[:2]
    paths.write_json(plan.result_file(*first), {"status": "finished"})
    paths.write_json(plan.result_file(*second), {"status": "failed", "error": "KoalaError: <why>"})
    for part in ("analysis", "colorize"):
        paths.write_json(plan.folder / f"{part}.json", {"status": "finished"})
    assert outcomes.verdict(plan) == 1
    assert "FAILED 2-convnext, seed 0: KoalaError: <why>" in capsys.readouterr().out


def test_verdict_exits_with_one_where_any_part_failed(monkeypatch, capsys):
    plan = study.load("replica")
    monkeypatch.setattr(outcomes, "is_here", lambda photographs: True)
    monkeypatch.setattr(outcomes, "results", lambda plan: [])
    parts = [
        "analysis",
        "probe",
        "elsewhere",
        *(f"experiment-{one.experiment}" for one in questions.asked(plan)),
    ]
    for part in parts:
        paths.write_json(plan.folder / f"{part}.json", {"status": "finished"})
    assert outcomes.verdict(plan) == 0
    for part in parts:
        paths.write_json(plan.folder / f"{part}.json", {"status": "failed", "error": "why"})
        assert outcomes.verdict(plan) == 1 and f"FAILED {part}: why" in capsys.readouterr().out
        paths.write_json(plan.folder / f"{part}.json", {"status": "finished"})
