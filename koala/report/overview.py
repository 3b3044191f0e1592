"""reports/index.html: the question, its answer from the largest study, and what each of the others is for."""

import html
import re
from pathlib import Path

import yaml

from koala import study
from koala.report import render, tables
from koala.system import paths

HOME = ("koala", "../index.html")
TITLE = "Does the feature extractor help in automatic image colorization?"


def write() -> None:
    """Write the index over all studies from their summary.json, and from their plans where they have none."""
    folder = paths.reports_dir()
    known = {path.parent.name: _known(path.parent) for path in sorted(folder.glob("*/index.html"))}
    studies = [facts for facts in known.values() if facts and not facts["demo"]]
    titles = {name: _title(folder / name / "index.html") for name, facts in known.items() if not facts}
    body = overview_body(folder, studies, titles)
    paths.write_text(folder / "index.html", render.page(TITLE, body, kicker="koala"))


def overview_body(folder: Path, studies: list[dict], others: dict[str, str]) -> str:
    """The page's content. studies: summaries, or name, title and about alone. others: titles of the pages of no study, by folder."""
    judged = sorted((facts for facts in studies if facts.get("answers")), key=_weight, reverse=True)
    main = judged[0] if judged else None
    groups = {facts["title"]: against_none(facts) for facts in judged}
    return tables.render(
        "overview.html.j2",
        main=main,
        claims=tables.by_claim(main["claims"]) if main else [],
        across=across(judged),
        chart=render.chart(groups),
        picture=main and (folder / main["name"] / "photographs.jpg").exists(),
        studies=judged + [facts for facts in studies if facts not in judged],
        others=others,
    )


def against_none(facts: dict) -> list[dict]:
    """A study's differences between an experiment and a network without an extractor, pyramids' with the same budget too."""
    none = {name for name, settings in facts["settings"].items() if settings["backbone"] == "none"}
    rows = [row for row in facts["differences"] if row["kind"] in ("extractor", "control", "told")]
    return [row for row in rows + facts.get("encoders", []) if row["minus"] in none]


def across(judged: list[dict]) -> str:
    """One sentence over all studies that compare a trained extractor, or its controls, with none."""
    words = []
    for kind, name in (("extractor", "a trained extractor"), ("control", "a control")):
        rows = [row for facts in judged for row in facts["differences"] if row["kind"] == kind]
        better = sum(row["high"] < 0 for row in rows)
        if rows:
            words.append(f"{name} is better than none in {better} of {len(rows)} comparisons")
    return f"Over {len(judged)} studies, {'; '.join(words)}." if words and len(judged) > 1 else ""


def _title(page: Path) -> str:
    """A page's title, without what it is a part of."""
    found = re.search(r"<h1[^>]*>(.*?)(?:<a\b.*?)?</h1>", page.read_text(encoding="utf-8"), flags=re.S)
    return html.unescape(found[1].strip()) if found else page.parent.name


def _weight(facts: dict) -> int:
    """How much a study has seen: its test photographs times its runs."""
    return facts["photographs"]["test"] * len(facts["runs"])


def _known(folder: Path) -> dict | None:
    """A study's summary, or what its file says; None where the folder is no study's."""
    if (folder / "summary.json").exists():
        return paths.read_json(folder / "summary.json")
    plan = study.PARAMS / "studies" / f"{folder.name}.yaml"
    if not plan.exists():
        return None
    values = yaml.safe_load(plan.read_text(encoding="utf-8"))
    kept = {key: values.get(key, "") for key in ("title", "about")}
    return {"name": folder.name, "demo": values["data"].get("source", "photos") == "photos", **kept}
