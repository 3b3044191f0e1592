"""A study's reports: every executed notebook rendered, an index page, and the index over all studies."""

import base64
import html
import re
from pathlib import Path

import nbformat

from koala import metrics, study
from koala.report.render import page, render_notebook
from koala.system import paths
from koala.system.progress import format_seconds

DEMO = '<p class="note">The demo that <code>make study</code> runs is at <code>reports/demo/index.html</code> then.</p>'
COLUMNS = {
    "ciede2000": ("CIEDE2000 ↓", 2),
    "ab_rmse": ("a*b* RMSE ↓", 2),
    "psnr": ("PSNR, dB ↑", 2),
    "ssim": ("SSIM ↑", 3),
    "colourfulness": ("colourfulness", 1),
}
SETTINGS = (
    "backbone",
    "feature_dims",
    "feature_source",
    "loss",
    "init",
    "image_size",
    "epochs",
    "batch_size",
    "lr",
    "precision",
)


def render_study(name: str) -> Path:
    """Every page of a study and the index over all studies; returns the study's index page."""
    plan = study.load(name)
    home = '<a href="../index.html">all studies</a> · <a href="index.html">this study</a>'
    rows = study.results(plan)
    for row in rows:
        label = f"{row['experiment']}-s{row['seed']}"
        render_notebook(
            plan.folder / f"{label}.ipynb",
            plan.reports / f"{label}.html",
            f"{row['experiment']}, seed {row['seed']}",
            home,
        )
    parts = {"data": "data", "analysis": "analysis"}
    parts |= {"extractor": f"extractor of {plan.probe}, seed {plan.seeds[0]}"} if plan.probe else {}
    for part, words in parts.items():
        render_notebook(
            plan.folder / f"{part}.ipynb", plan.reports / f"{part}.html", f"{plan.title}: {words}", home
        )
    with paths.atomic_path(plan.reports / "photographs.jpg") as temporary:
        temporary.write_bytes(picture(plan.folder / "analysis.ipynb"))
    if any(row["status"] == "finished" for row in rows):
        paths.write_text(plan.reports / "results.md", markdown_table(rows))
    index = plan.reports / "index.html"
    paths.write_text(
        index, page(plan.title, study_body(plan, rows), '<a href="../index.html">all studies</a>')
    )
    _write_overview()
    return index


def render_page(notebook: Path, name: str, title: str) -> Path:
    """An executed notebook as reports/NAME/index.html, linked from the index over all studies."""
    target = paths.reports_dir() / name / "index.html"
    render_notebook(notebook, target, title, '<a href="../index.html">all studies</a>')
    _write_overview()
    return target


def _write_overview() -> None:
    folder = paths.reports_dir()
    paths.write_text(folder / "index.html", page("koala: studies", overview_body(folder)))


def study_body(plan: study.Study, rows: list[dict]) -> str:
    """The study's page: what it is, links, one table of all runs under the trivial baselines."""
    finished = [row for row in rows if row["status"] == "finished"]
    failed = [row for row in rows if row["status"] != "finished"]
    lines = [
        f"<p>{html.escape(plan.about)}</p>" if plan.about else "",
        f"<p>{len(rows)} runs: {len(finished)} finished"
        + (f', <span class="koala-failed">{len(failed)} failed</span>' if failed else "")
        + ".</p>",
    ]
    links = [
        '<a href="analysis.html"><b>Analysis: all runs side by side</b></a>',
        '<a href="data.html">The photographs</a>',
    ]
    links += [f'<a href="extractor.html">What the extractor can do ({plan.probe})</a>'] if plan.probe else []
    lines.append(f"<p>{' · '.join(links)}</p>")
    if any(is_untrained(row) for row in finished):
        lines.append(
            '<p><span class="untrained">untrained</span>: the weights of this extractor were never trained, because a control asks for it or because no ImageNet weights could be had where the study ran. Its features are a random function of the picture, and such a run says nothing about the trained extractor.</p>'
        )
    lines.append(
        f'<h2>Runs</h2><p class="note">Mean over the held-out test photographs. ↓ lower is better, ↑ higher is better; colourfulness should come near that of the photographs. Each row links to its report.</p><div class="scroll">{runs_table(rows)}</div>'
    )
    if picture(plan.folder / "analysis.ipynb"):
        alt = "Test photographs: input, every experiment, truth"
        lines.append(
            f'<h2>The same photographs by every experiment</h2><img alt="{alt}" src="photographs.jpg">'
        )
    lines.append(f'<h2>Parameters</h2><div class="scroll">{settings_table(finished)}</div>')
    return "\n".join(lines)


def picture(notebook: Path) -> bytes:
    """The last picture of the executed analysis, as JPEG: the same photographs by every experiment. b"" if none."""
    if not notebook.exists():
        return b""
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    found = [data["image/jpeg"] for data in outputs if "image/jpeg" in data]
    return base64.b64decode(found[-1]) if found else b""


def markdown_table(rows: list[dict]) -> str:
    """Means over seeds as a Markdown table, trivial baselines first: what the README shows."""
    finished = [row for row in rows if row["status"] == "finished"]
    lines = [["", "seeds", *(head for head, _ in COLUMNS.values())], ["---"] * (2 + len(COLUMNS))]
    lines += [[text, "", *_numbers(finished[0]["test"][key])] for key, text in metrics.BASELINES.items()]
    for name in dict.fromkeys(row["experiment"] for row in finished):
        own = [row for row in finished if row["experiment"] == name]
        means = {key: sum(row["test"]["model"][key] for row in own) / len(own) for key in COLUMNS}
        lines.append(
            [
                name + " (untrained)" * (is_untrained(own[0]) and "untrained" not in name),
                str(len(own)),
                *_numbers(means),
            ]
        )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def runs_table(rows: list[dict]) -> str:
    """Trivial baselines first, then a line a run; a failed run says why across the columns of numbers."""
    heads = [
        "run",
        "seed",
        *(head for head, _ in COLUMNS.values()),
        "last validation loss",
        "training",
        "extractor's weights",
    ]
    lines = [_tr(heads, cell="th")]
    finished = [row for row in rows if row["status"] == "finished"]
    if finished:
        test = finished[0]["test"]
        truth = {
            "ciede2000": 0.0,
            "ab_rmse": 0.0,
            "ssim": 1.0,
            "colourfulness": test["model"]["colourfulness_true"],
        }
        for label, values in [
            *((text, test[key]) for key, text in metrics.BASELINES.items()),
            ("the photographs themselves", truth),
        ]:
            lines.append(_tr([label, "", *_numbers(values), "", "", ""], "baseline"))
    for row in rows:
        link = f'<a href="{row["experiment"]}-s{row["seed"]}.html">{row["experiment"]}</a>'
        if row["status"] != "finished":
            error = html.escape(row["error"])
            lines.append(
                f'<tr><td>{link}</td><td>{row["seed"]}</td><td class="text koala-failed" colspan="{len(heads) - 2}">{row["status"]}: {error}</td></tr>'
            )
            continue
        weights = _weights(row)
        numbers = [
            *_numbers(row["test"]["model"]),
            f"{row['last_val_loss']:.5f}",
            format_seconds(row["train_seconds"]),
        ]
        lines.append(_tr([link, row["seed"], *numbers, weights], text=1))
    return f"<table>{''.join(lines)}</table>"


def _weights(row: dict) -> str:
    """The weights in a word; the whole name shows under the pointer and stands in the run's report."""
    if row["config"]["backbone"] == "none":
        return "no extractor"
    name = html.escape(row["weights"]["weights"])
    css = "untrained" if is_untrained(row) else "weights"
    return (
        f'<span class="{css}" title="{name}">{name if is_untrained(row) else name.partition(" (")[0]}</span>'
    )


def settings_table(rows: list[dict]) -> str:
    """The parameters of each experiment (its first seed's)."""
    first = {row["experiment"]: row["config"] for row in reversed(rows)}
    lines = [_tr(["experiment", *SETTINGS], cell="th")]
    for name in dict.fromkeys(row["experiment"] for row in rows):
        values = first[name] | {"feature_dims": first[name]["feature_dims"] or "all"}
        lines.append(_tr([name, *(values[key] for key in SETTINGS)]))
    return f"<table>{''.join(lines)}</table>"


def overview_body(reports: Path) -> str:
    """Links to every study's index that is there with what it is for, and to the measurements of speed. The demo's is
    not in git, so neither is its link."""
    studies, others = [], []
    for index in sorted(set(reports.glob("*/index.html")) - {reports / "demo" / "index.html"}):
        name, title = index.parent.name, re.search(r"<title>(.*?)</title>", index.read_text())[1]
        known = (study.PARAMS / "studies" / f"{name}.yaml").exists()
        about = f"<br>{html.escape(study.load(name).about)}" if known else ""
        (studies if known else others).append(f'<li><a href="{name}/index.html">{title}</a>{about}</li>')
    text = f"<p>Each study trains several experiments on the same photographs with the same budget.</p><ul>{''.join(studies)}</ul>{DEMO}"
    return text + (f"<h2>Measurements of speed</h2><ul>{''.join(others)}</ul>" if others else "")


def verdict(name: str) -> int:
    """Say what to open and what failed; 1 where a run or the analysis failed."""
    plan = study.load(name)
    failed = [
        f"{row['experiment']}, seed {row['seed']}: {row['error']}"
        for row in study.results(plan)
        if row["status"] != "finished"
    ]
    for part in ("analysis", *(["extractor"] if plan.probe else [])):
        outcome = paths.read_json(plan.folder / f"{part}.json")
        if outcome["status"] == "failed":
            failed.append(f"{part}: {outcome['error']}")
    print(f"Study '{name}' is done: open {plan.reports / 'index.html'}")
    for text in failed:
        print(f"FAILED {text}")
    return 1 if failed else 0


def is_untrained(row: dict) -> bool:
    return row["config"]["backbone"] != "none" and not row["weights"]["trained"]


def _numbers(values: dict) -> list[str]:
    return [
        f"{values[key]:.{digits}f}" if values.get(key) is not None else ""
        for key, (_, digits) in COLUMNS.items()
    ]


def _tr(cells, css: str = "", cell: str = "td", text: int = 0) -> str:
    """A table row; its last `text` cells hold words, which may wrap."""
    kinds = [""] * (len(cells) - text) + [' class="text"'] * text
    row = "".join(f"<{cell}{kind}>{value}</{cell}>" for kind, value in zip(kinds, cells, strict=True))
    return f'<tr class="{css}">{row}</tr>'
