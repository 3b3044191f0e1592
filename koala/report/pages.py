"""A study's reports: every executed notebook rendered, and the index page that opens with the study's answer."""

import re
from pathlib import Path

import pandas as pd

from koala import study
from koala.report import facts, overview, pictures, render, tables
from koala.report.pictures import MIME
from koala.study import loading, questions, said
from koala.system import paths
from koala.system.progress import format_seconds

INDEX = "index.html"


def render_study(name: str) -> Path:
    """Every page of a study and the index over all studies; returns the study's index page."""
    plan = study.load(name)
    home = [overview.HOME, (plan.name, INDEX)]
    pages = made(plan)
    for i, (_, title, source) in enumerate(pages):
        around = {
            "previous": pages[i - 1] if i else None,
            "following": pages[i + 1] if pages[i + 1 :] else None,
        }
        links = {where: page and (page[0], f"{page[2].stem}.html") for where, page in around.items()}
        files = downloads(plan.reports, source.stem)
        target = plan.reports / f"{source.stem}.html"
        if _executed(source):
            render.render_notebook(source, target, title, home=home, downloads=files, **links)
        else:
            render.relink(target, **links)
    known = _numbers(name)
    if known:
        paths.write_json(plan.reports / "summary.json", known)
        paths.write_text(plan.reports / "results.md", results(known))
    write_index(plan, known)
    if not plan.demo:  # it is no part of the study, and its pages are not in git
        overview.write()
    return plan.reports / INDEX


def render_page(notebook: Path, name: str, title: str) -> Path:
    """An executed notebook as reports/NAME/index.html, linked from the index over all studies."""
    target = paths.reports_dir() / name / INDEX
    render.render_notebook(notebook, target, title, home=[overview.HOME])
    overview.write()
    return target


def notebooks(plan: study.Study) -> list[tuple[str, str, Path]]:
    """Short name, title and executed notebook of everything that a study renders, in reading order."""
    pages = [
        ("Analysis", f"Analysis: {plan.title}", "analysis"),
        ("Photographs", f"The photographs: {plan.title}", "data"),
    ]
    if plan.probe:
        pages.append(("Probe", f"What can the extractor of {plan.probe} do? {plan.title}", "probe"))
    for backbone in plan.distill:
        title = f"{backbone}, distilled here ({plan.name})"
        pages.append((f"{backbone}, distilled here", title, f"distilled-{backbone}"))
    for name, values in study.extractors(plan).items() if plan.distill else ():
        if values.get("weights") == "distilled":
            title = f"What {values['backbone']} says, distilled here ({plan.name})"
            pages.append((f"What {values['backbone']} says", title, f"features-{name}"))
    for one in questions.asked(plan):
        title = f"Experiment {one.number}: {one.title} ({one.experiment}, {plan.name})"
        pages.append((one.experiment, title, f"experiment-{one.experiment}"))
    for name, seed in plan.runs():
        label = f"{name}, seed {seed}"
        pages.append((label, f"{label}, {plan.name}", f"{name}-s{seed}"))
    return [(short, title, plan.folder / f"{stem}.ipynb") for short, title, stem in pages]


def made(plan: study.Study) -> list[tuple[str, str, Path]]:
    """Those of `notebooks` that were executed here, or have a page already: they were executed elsewhere."""
    return [
        page
        for page in notebooks(plan)
        if _executed(page[2]) or (plan.reports / f"{page[2].stem}.html").exists()
    ]


def _executed(notebook: Path) -> bool:
    """Whether it was executed to its end: papermill writes it while it runs, and its result file comes last. What compares
    runs is also executed without one (koala.report.again)."""
    compares = notebook.stem == "analysis" or notebook.stem.startswith("experiment-")
    return notebook.exists() and (compares or notebook.with_suffix(".json").exists())


def downloads(folder: Path, stem: str) -> list[tuple[str, str]]:
    """Words and links of the files of a page's run: its history, its table of photographs and what it was trained with."""
    return [(path.name, str(path.relative_to(folder))) for path in sorted(folder.glob(f"runs/{stem}/*"))]


def study_body(plan: study.Study, known: dict) -> str:
    """The study's page: its answer, the differences as a figure, photographs, experiments, claims, runs."""
    unfinished = known["failed"] if known else [r for r in study.results(plan) if r["status"] != "finished"]
    failed, missing = tables.unfinished(unfinished)
    shown = photographs(plan)
    return tables.render(
        "study.html.j2",
        plan=plan,
        known=known,
        demo=tables.DEMO if plan.demo else "",
        pages={source.stem for _, _, source in made(plan)},
        asked=questions.asked(plan),
        said=said.SAID,
        described=study.described(plan),
        exported={path.parent.name for path in plan.reports.glob("runs/*/history.csv")},
        settings=facts.SETTINGS,
        total=len(plan.runs()),
        failed=failed,
        missing=missing,
        metrics=tables.METRICS,
        number=tables.number,
        reading=tables.READING,
        seconds=format_seconds,
        best=best(known) if known else {},
        chart=render.chart({"": known["differences"]}) if known else "",
        **{name: grid and render.photographs(grid) for name, grid in shown.items()},
    )


def photographs(plan: study.Study) -> dict[str, dict | None]:
    """Grids that executed notebooks hold: what colorize.ipynb made, the test split by every experiment, and what the
    demo's run with a trained extractor makes of photographs that it has seen."""
    sources = {"coloured": "colorize", "compared": "analysis", "seen": "efficientnet-s0"}
    grids = {
        name: render.outputs(render.read(plan.folder / f"{stem}.ipynb"), MIME)
        for name, stem in sources.items()
    }
    return {name: (shown or [None])[-1] for name, shown in grids.items()}


def sheet(shown: dict, known: dict) -> bytes:
    """A grid of photographs as JPEG for the overview, which is narrow: its first and last columns, the experiments of most seeds
    and the one that it opens on."""
    rows = [row for row in known.get("experiments", ()) if not row["trivial"]]
    most = max((row["seeds"] for row in rows), default=0)
    names = {row["label"] for row in rows if row["seeds"] == most} | {shown["show"]}
    first, *others, last = shown["columns"]
    return pictures.jpeg(shown, [first, *(name for name in others if name in names), last])


def best(known: dict) -> dict[str, float]:
    """The best value of each metric over the rows that are not told the true category."""
    choose, rows = {"low": min, "high": max}, [row for row in known["experiments"] if not row["told"]]
    return {
        key: choose[one.best](row[key] for row in rows if row[key] == row[key])
        for key, one in tables.METRICS.items()
        if one.best
    }


def results(known: dict) -> str:
    """A study's answer, means over seeds (those without a network first) and the claims' verdicts as Markdown: what the README
    shows."""
    rows = [
        {"": row["label"], "seeds": "" if row["trivial"] else row["seeds"], **tables.numbers(row)}
        for row in known["experiments"]
    ]
    photographs = {
        "": "the photographs themselves",
        tables.METRICS["colourfulness"].heading: f"{known['truth']:.1f}",
    }
    rows.append(dict.fromkeys(rows[0], "") | photographs)
    answers = "\n".join(f"- {sentence}" for sentence in known["answers"])
    parts = [answers, _markdown(rows), _markdown(tables.by_claim(known["claims"]))]
    return re.sub(r"\*(?=[ab])|(?<=[ab])\*", r"\\*", "\n\n".join(part for part in parts if part)) + "\n"


def _markdown(rows: list[dict]) -> str:
    """A Markdown table without padding, so that a changed value changes its own line alone."""
    text = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) if rows else ""
    return re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", text))


def _numbers(name: str) -> dict:
    """The study's numbers; {} where no run is finished. KoalaError where one is damaged: what was rendered before stays."""
    try:
        return facts.gather(loading.load(name))
    except loading.Unfinished:
        return {}


def write_index(plan: study.Study, known: dict) -> None:
    """Write the study's index page and photographs.jpg. known: koala.report.facts.gather's, {} where nothing is finished."""
    analysis = render.read(plan.folder / "analysis.ipynb")
    grids = [data[MIME] for data in render.bundles(analysis) if MIME in data]
    if grids:
        paths.write_bytes(plan.reports / "photographs.jpg", sheet(grids[-1], known))
    files = (
        [("all numbers of this page", "summary.json"), ("the same for Markdown", "results.md")]
        if known
        else []
    )
    body, date = study_body(plan, known), render.executed(analysis)
    around = {"home": [overview.HOME], "kicker": plan.name, "downloads": files}
    paths.write_text(plan.reports / INDEX, render.page(plan.title, body, date, **around))
