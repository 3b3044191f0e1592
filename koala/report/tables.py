"""Tables and boxes as HTML that loads nothing, and the metrics' names, digits and meaning: stated here and nowhere else."""

import dataclasses
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from IPython.display import HTML

from koala.experiment.provenance import DISTILLED

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates" / "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a column of per_image.csv is headed and written; best: "low", "high" or "" where neither is better."""

    heading: str
    digits: int
    best: str


METRICS = {
    "ciede2000": Metric("CIEDE2000 ↓", 2, "low"),
    "ab_rmse": Metric("a*b* RMSE ↓", 2, "low"),
    "psnr": Metric("PSNR, dB ↑", 2, "high"),
    "ssim": Metric("SSIM ↑", 3, "high"),
    "auc": Metric("AuC ↑", 3, "high"),
    "colourfulness": Metric("colourfulness", 1, ""),
    "chroma_ratio": Metric("chroma / true chroma", 2, ""),
}
TRUTH = "the photographs themselves"
READING = (
    "CIEDE2000: colour difference as people see it, the mean over pixels. a*b* RMSE: in units of a* and b*. AuC: share of pixels within an a*b* error, averaged over errors of "
    "0 to 150. Colourfulness (Hasler and Süsstrunk) should come near that of the photographs."
)
DEMO = (
    "A check of the chain on crops of eight pictures, tested on one of them: no evidence for or against any network. "
    "Gray or brown results are expected. What the study found is in the other reports."
)
WORDS = 32  # characters from which a cell holds words rather than a number or a name


def render(template: str, **values) -> str:
    """A template of koala/report/templates/pages as HTML; values are escaped unless they are markup."""
    return TEMPLATES.get_template(template).render(**values)


def table(rows, formats: dict | None = None, best: dict | None = None, apart=()) -> HTML:
    """Rows (a DataFrame or a list of dicts) as a table. formats: column -> "{:.2f}"-like text. best: column -> "low" or
    "high", whose best number is bold; apart: numbers of rows that do not compete. Columns of names stand left, those of
    longer words wrap, too; columns of numbers do neither."""
    frame = pd.DataFrame(rows).astype(object).reset_index(drop=True)
    texts = {name: (formats or {}).get(name, "{}") for name in frame}
    ranked = frame.drop(index=frame.index[list(apart)])
    bold = {name: _best(ranked[name], side) for name, side in (best or {}).items() if name in frame}
    lines = [
        [
            ("" if pd.isna(value) else texts[name].format(value), bool(i in bold.get(name, ())))
            for name, value in zip(frame, values, strict=True)
        ]
        for i, values in enumerate(frame.itertuples(index=False, name=None))
    ]
    words = [any(len(line[i][0]) > WORDS for line in lines) for i in range(frame.shape[1])]
    names = [any(isinstance(value, str) and value[:1].isalpha() for value in frame[name]) for name in frame]
    return HTML(render("table.html.j2", heads=list(frame.columns), lines=lines, words=words, names=names))


def banner(text: str, kind: str = "untrained") -> HTML:
    """A box across the page that nobody overlooks. kind: "untrained" (red) or "demo" (yellow)."""
    return HTML(render("banner.html.j2", text=text, kind=kind))


def box(sentences: list[str]) -> HTML:
    """Sentences that answer a page's question, in a box."""
    return HTML(render("answer.html.j2", sentences=sentences))


def number(values, key: str) -> str:
    """A metric of a row with its digits; empty where there is none."""
    value = values.get(key)
    return "" if value is None or not np.isfinite(value) else f"{value:.{METRICS[key].digits}f}"


def numbers(values) -> dict[str, str]:
    """heading -> `number` for each metric."""
    return {metric.heading: number(values, key) for key, metric in METRICS.items()}


def by_claim(judged: list[dict]) -> list[dict]:
    """One row per claim (koala.study.claims): each verdict with the networks that have it. What was measured is on the study's
    page."""
    verdicts: dict[str, dict[str, list[str]]] = {}
    for row in judged:
        told = row["verdict"] if row["networks"] else f"{row['verdict']}: {row['measured']}"
        verdicts.setdefault(row["claim"], {}).setdefault(told, []).append(row["networks"])
    return [
        {
            "claim": claim,
            "verdict": "; ".join(
                told + f" ({', '.join(names)})" * any(names)
                for told, names in sorted(members.items(), key=lambda one: one[0].startswith(DISTILLED))
            ),
        }
        for claim, members in verdicts.items()
    ]


def _best(column, side: str) -> set:
    values = pd.to_numeric(column, errors="coerce")
    if values.isna().all():
        return set()
    best = values.min() if side == "low" else values.max()
    return set(values.index[values == best])


def unfinished(rows: list[dict]) -> tuple[list[dict], dict[str, list[int]]]:
    """Runs that have not ended well (experiment, seed, status, error): those that failed, and the seeds by experiment of
    those that have not run."""
    missing = {}
    for row in rows:
        if row["status"] == "missing":
            missing.setdefault(row["experiment"], []).append(row["seed"])
    return [row for row in rows if row["status"] != "missing"], missing
