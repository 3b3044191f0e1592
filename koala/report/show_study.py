"""What the analysis displays: the runs of a study side by side. HTML that loads nothing."""

import numpy as np
import pandas as pd
from IPython.display import HTML

from koala import metrics
from koala.experiment import evaluate
from koala.report import answers, pairs, pictures, tables, words
from koala.report.charts import against, forest, show_svg
from koala.report.show_run import gray
from koala.study import claims, compare, contrasts, export, gains, hues
from koala.study import elsewhere as others
from koala.study import fusion as terms
from koala.study.finished import FinishedStudy, plain
from koala.system.progress import format_seconds


def answer(study: FinishedStudy, summary: pd.DataFrame) -> HTML:
    """The study's question answered in a box. summary: of koala.study.compare."""
    if study.plan.demo:
        return tables.banner(tables.DEMO, "demo")
    return tables.box(answers.sentences(study, pairs.compared(study), summary))


def answered(study: FinishedStudy, asked) -> HTML:
    """A question of koala.study.questions with what the report says and what is seen here."""
    if study.plan.demo:
        here = tables.DEMO
    else:
        here = answers.beside(study, asked.experiment, asked.against)
    rows = {asked.title: asked.question, "What the report says": asked.expectation, "What is seen here": here}
    return HTML(tables.render("question.html.j2", rows=rows))


def status(study: FinishedStudy) -> HTML:
    """The experiments of a study with their seeds, weights and time; what failed, and why."""
    rows = []
    for name in study.experiments:
        runs = [study.runs[name, seed] for seed in study.seeds(name)]
        weights = runs[0].env["weights"]["weights"]
        rows.append(
            {
                "experiment": name,
                "seeds": len(runs),
                "extractor's weights": "no extractor" if runs[0].config["backbone"] == "none" else weights,
                "precision": runs[0].env["machine"]["precision"],
                "epochs": runs[0].config["epochs"],
                "code": ", ".join(sorted({run.env["commit"] for run in runs})),
                "training time per run": format_seconds(np.mean([r.result["train_seconds"] for r in runs])),
            }
        )
    text = tables.table(rows).data
    untrained = [name for name in study.experiments if study.untrained(name)]
    if untrained:
        text += tables.banner(f"UNTRAINED extractors in this study: {', '.join(untrained)}").data
    failed, missing = tables.unfinished(study.failed)
    return HTML(text + tables.render("failed.html.j2", failed=failed, missing=missing))


def summary(frame: pd.DataFrame) -> HTML:
    """koala.study.compare.summary as a table: mean with its interval, and the spread between seeds for CIEDE2000."""
    rows = []
    for line in frame.to_dict("records"):
        low, high = (f"{line[f'ciede2000_{end}']:.2f}" for end in ("low", "high"))
        spread = line["ciede2000_seeds"]
        rows.append(
            {
                "method": line["label"],
                "seeds": "" if line["trivial"] else line["seeds"],
                **tables.numbers(line),
                "CIEDE2000, 95 % interval": f"{low} to {high}",
                "between seeds": "" if line["trivial"] or np.isnan(spread) else f"{spread:.2f}",
            }
        )
    best = {metric.heading: metric.best for metric in tables.METRICS.values() if metric.best}
    return HTML(
        tables.table(rows, best=best, apart=np.flatnonzero(frame.told)).data
        + f'<p class="note">{tables.READING}</p>'
    )


def as_bars(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """koala.study.compare.summary in the form that koala.report.charts.bars draws."""
    names = {f"{metric}_low": "low", f"{metric}_high": "high", "trivial": "baseline"}
    columns = {"label": "method", metric: "mean", **names}
    return frame[list(columns)].rename(columns=columns)


def controls(study: FinishedStudy) -> HTML:
    """Every experiment with an extractor against its controls, in CIEDE2000 (see koala.study.contrasts.controls)."""
    return _compared(contrasts.controls(study), "pair of runs that differ in nothing but their features")


def encoders(study: FinishedStudy) -> HTML:
    """The extractor as an encoder beside one vector of it, and beside none (see koala.study.contrasts.encoders)."""
    return _compared(contrasts.encoders(study), "pyramid beside the report's network")


def _compared(rows: list[dict], what: str) -> HTML:
    if not rows:
        return HTML(f"<p>This study has no {what}.</p>")
    return tables.table(rows, {"difference": "{:+z.2f}"} | dict.fromkeys(("low", "high"), "{:+.2f}"))


def differences(study: FinishedStudy):
    """The same as a figure: trained extractors minus none first, controls below."""
    rows = sorted(pairs.compared(study), key=lambda row: row["kind"] != "extractor")
    if not rows:
        return HTML("<p>This study has no pair of runs that differ in nothing but their features.</p>")
    return show_svg(forest({"": rows}, "difference in CIEDE2000 (left of 0: the first is better)"))


def gain_by_photographs(study: FinishedStudy):
    """What an extractor gains, by the number of training photographs, where the study has pairs of several."""
    rows = gains.by_photographs(study)
    if not len(rows) or rows.photographs.nunique() == 1:
        return HTML("<p>All pairs of this study have the same number of photographs.</p>")
    lines = [
        {
            **row,
            "label": f"{row['label']}: {row['photographs']:,} photographs, {row['steps']:,} steps",
            "kind": "extractor",
        }
        for row in rows.to_dict("records")
    ]
    return show_svg(forest({"": lines}, "difference in CIEDE2000 (left of 0: the extractor helps)"))


def fusion(study: FinishedStudy) -> HTML:
    """koala.study.fusion.table: the terms after each epoch, and after how many the encoder was silent."""
    rows = [
        {
            "experiment": line["label"],
            "seed": line["seed"],
            "training loss, first epoch": f"{line['loss']:.4f}",
            "encoder's term after each epoch": _terms(line["encoder"]),
            "embedding's, at the end": f"{line['embedding'][-1]:.2f}" if any(line["embedding"]) else "",
            "epochs with the encoder silent": line["silent"] or "",
        }
        for line in terms.table(study).to_dict("records")
    ]
    return tables.table(rows) if rows else HTML("<p>This study has no network with a fusion.</p>")


def _terms(values: list[float]) -> str:
    """The first six and the last of more."""
    shown = [f"{value:.2g}" if value < 100 else f"{value:.0f}" for value in values]
    return " ".join(shown if len(shown) <= 7 else [*shown[:6], "…", shown[-1]])


def costs(study: FinishedStudy, summary: pd.DataFrame):
    """CIEDE2000 of the networks with mean squared error against their trained parameters and the time of their training."""
    rows = []
    for line in summary[~summary.trivial].to_dict("records"):
        runs = [study.runs[line["experiment"], seed] for seed in study.seeds(line["experiment"])]
        if runs[0].config["loss"] == "mse":
            minutes = np.mean([run.result["train_seconds"] for run in runs]) / 60
            ends = {end: line[f"ciede2000_{end}"] for end in ("low", "high")}
            cost = {"parameters": runs[0].parameters / 1e6, "minutes": minutes}
            rows.append({"label": line["label"], "mean": line["ciede2000"], **ends, **cost})
    if not rows:
        return HTML("<p>This study has no network with mean squared error.</p>")
    names = {"parameters": "trained parameters, millions", "minutes": "minutes of training per run"}
    return show_svg(against(pd.DataFrame(rows), "CIEDE2000 (lower is better)", names))


def claims_table(study: FinishedStudy) -> HTML:
    """The report's claims put to the test; the embedded photographs are no evidence for or against them."""
    if study.plan.demo:
        return HTML("<p>Not judged: the embedded photographs are a check of the chain, never evidence.</p>")
    return tables.table(claims.table(study))


def biases(study: FinishedStudy) -> HTML:
    """koala.study.hues.biases: the true shares, and below them signed differences."""
    first, *others = hues.biases(study).to_dict("records")
    rows = [
        row | {hue: format(row[hue], form) for hue in metrics.HUES}
        for form, members in ((".1%", [first]), ("+.1%", others))
        for row in members
    ]
    return tables.table(rows)


def elsewhere(study: FinishedStudy) -> HTML:
    """The networks on other data sets, where they were judged there: means, differences, and the share painted in each hue."""
    parts = []
    for name, judged in others.studies(study).items():
        count = judged.tested(judged.experiments[0])
        parts.append(
            f"<h3>{name}: {count:,} photographs</h3>"
            + summary(compare.summary(judged, list(tables.METRICS))).data
        )
        parts.append(
            "<p>Runs that differ in nothing but their features, with intervals over categories:</p>"
            + controls(judged).data
        )
        by_category = gains.by_category(judged)
        if len(by_category.columns) > 2:
            form = dict.fromkeys(by_category.columns[2:], "{:+z.2f}")
            parts.append(
                "<p>What the extractors give, by category:</p>" + tables.table(by_category, form).data
            )
        if contrasts.encoders(judged):
            parts.append(
                "<p>Maps at every scale beside one vector, and beside none:</p>" + encoders(judged).data
            )
        parts.append(
            "<p>The share of all pixels that is painted in each hue, minus the share that has it:</p>"
        )
        parts.append(biases(judged).data)
        parts += _by_category(judged)
    return HTML("".join(parts) or "<p>This study was judged on no other photographs.</p>")


def _by_category(study: FinishedStudy) -> list[str]:
    """By category, the true share of the pixels in each hue and the painted one, of the first network with a trained extractor and
    of the same without."""
    rows = words.of(pairs.compared(study), "extractor")
    if not rows:
        return []
    means = {row["label"]: row for row in compare.summary(study, ["ciede2000"]).to_dict("records")}
    leading, names, parts = pairs.leading(study, rows, words.means(means))[0], pairs.names(study), []
    for label in (leading["experiment"], leading["minus"]):
        rows = [
            line | {hue: "{:.0%} → {:.0%}".format(*line[hue]) for hue in metrics.HUES}
            for line in hues.by_category(study, names[label]).to_dict("records")
        ]
        told = f"By category, the share of the pixels that has a hue → the share that {label} paints in it:"
        parts.append(f"<p>{told}</p>{tables.table(rows).data}")
    return parts


def grid(study: FinishedStudy, count: int) -> pictures.Photographs:
    """Gray, the first seed of every experiment, and the truth, for `count` photographs of the seeded draw:
    the first of each category before the second of any."""
    drawn, shown = export.drawn(study)
    names = study.photographs(study.experiments[0]).set_index("row").category.reindex(drawn).to_numpy()
    chosen = evaluate.of_each(names, count)
    columns = {"input": gray(shown["truth"][chosen])} | {
        study.label(name): shown[name][chosen] for name in study.experiments if name in shown
    }
    captions = [plain(str(name)).replace("_", " ") for name in names[chosen]]
    truth = shown["truth"][chosen]
    title = f"{len(chosen)} photographs of the test split"
    return pictures.grid(columns | {"truth": truth}, captions, title, study.label(compare.lowest(study)))
