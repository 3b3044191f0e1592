"""What the analysis displays: the runs of a study side by side. HTML that loads nothing."""

import html

import numpy as np
import pandas as pd
from IPython.display import HTML

from koala import data
from koala.experiment import artefacts, evaluate
from koala.report import pictures
from koala.report.show_run import METRICS, READING, banner, gray, number, table
from koala.study import compare
from koala.system.errors import KoalaError


def status(found) -> HTML:
    """The experiments of a study (koala.study.compare.Study) with their seeds, weights and time; what failed, and why."""
    rows = []
    for name in found.experiments:
        runs = [found.runs[name, seed] for seed in found.seeds(name)]
        seconds = [run.result["train_seconds"] for run in runs]
        weights = (
            runs[0].env["weights"]["weights"] if runs[0].config["backbone"] != "none" else "no extractor"
        )
        rows.append(
            {
                "experiment": name,
                "seeds": len(runs),
                "extractor's weights": weights,
                "precision": runs[0].env["machine"]["precision"],
                "epochs": runs[0].config["epochs"],
                "code": ", ".join(sorted({run.env["commit"] for run in runs})),
                "training, s a run": f"{np.mean(seconds):.0f}",
            }
        )
    text = table(rows).data
    untrained = [name for name in found.experiments if found.untrained(name)]
    if untrained:
        text = banner(f"UNTRAINED extractors in this study: {', '.join(untrained)}").data + text
    for row in found.failed:
        text += f'<p class="koala-failed">{html.escape(row["experiment"])}, seed {row["seed"]}: {row["status"]}, {html.escape(row["error"])}</p>'
    return HTML(text)


def summary(frame: pd.DataFrame) -> HTML:
    """koala.study.compare.summary as a table: mean with its interval, and the spread between seeds for CIEDE2000."""
    rows = []
    for line in frame.to_dict("records"):
        row = {"method": line["label"], "seeds": "" if line["trivial"] else line["seeds"]}
        for key, head in METRICS.items():
            row[head] = number(line, key)
        low, high = (number(line, f"ciede2000_{end}") for end in ("low", "high"))
        row["CIEDE2000, 95 % interval"] = f"{low} to {high}"
        row["between seeds"] = "" if line["trivial"] else number(line, "ciede2000_seeds")
        rows.append(row)
    return HTML(table(rows).data + f'<p class="note">{READING}</p>')


def as_bars(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """koala.study.compare.summary in the form that koala.report.charts.bars draws."""
    columns = {
        "label": "method",
        metric: "mean",
        f"{metric}_low": "low",
        f"{metric}_high": "high",
        "trivial": "baseline",
    }
    return frame[list(columns)].rename(columns=columns)


def contrasts(found) -> HTML:
    """Every experiment with an extractor against its controls, in CIEDE2000 (see koala.study.compare.contrasts)."""
    rows = compare.contrasts(found)
    if not rows:
        return HTML("<p>This study has no pair of runs that differ in nothing else.</p>")
    return table(rows, dict.fromkeys(("difference", "low", "high"), "{:+.2f}"))


def grid(found, count: int):
    """Gray, the first seed of every experiment, and the truth, for `count` photographs of the seeded draw:
    the first of each category before the second of any."""
    known = next(iter(found.runs.values())).env["data"]
    photos = data.load(known["name"])
    if photos.fingerprint != known["fingerprint"]:
        raise KoalaError(
            f"'{known['name']}' has been prepared anew since these runs: prepare it as it was, or train them again."
        )
    shown = {
        name: artefacts.load_pictures(found.runs[name, found.seeds(name)[0]]) for name in found.experiments
    }
    drawn = next(iter(shown.values()))["drawn_rows"]
    chosen = evaluate.of_each(photos.files["category"].to_numpy()[drawn], count)
    numbers = drawn[chosen]
    truth = np.asarray(photos.images[numbers])
    columns = {"input": gray(truth)} | {
        found.label(name): kept["drawn"][chosen] for name, kept in shown.items()
    }
    return pictures.grid(
        columns | {"truth": truth}, [""] * len(numbers), f"{len(numbers)} photographs of the test split"
    )
