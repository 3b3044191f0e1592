"""A study's numbers as one JSON file, reports/STUDY/summary.json: what its index and the index over all studies show."""

import hashlib

from koala import config as configs
from koala.data import catalog
from koala.experiment import inputs
from koala.report import answers, pairs, tables
from koala.study import claims, compare
from koala.study.finished import FinishedStudy
from koala.system import paths

MAKERS = ("notebooks/analysis.ipynb", "notebooks/experiment.ipynb", "koala/report/templates/**/*.*")

SETTINGS = (
    "network",
    "backbone",
    "weights",
    "layer",
    "feature_dims",
    "centre_features",
    "feature_source",
    "loss",
    "init",
    "image_size",
    "max_images",
    "train_images",
    "epochs",
    "batch_size",
    "lr",
    "lr_step",
    "precision",
)


def gather(study: FinishedStudy) -> dict:
    """Everything that the pages say about a study, in plain values."""
    plan, demo = study.plan, study.plan.demo
    summary = compare.summary(study, list(tables.METRICS))
    compared = pairs.compared(study)
    first = next(iter(study.runs.values()))
    return {
        "name": plan.name,
        "made_from": made_from(),
        "title": plan.title,
        "about": plan.about,
        "demo": demo,
        "answers": [] if demo else answers.sentences(study, compared, summary),
        "experiments": [_experiment(study, row) for row in summary.to_dict("records")],
        "truth": float(study.values(study.experiments[0], "colourfulness_true").mean()),
        "differences": compared,
        "encoders": pairs.encoders(study),
        "claims": [] if demo else claims.table(study),
        "runs": [_run(study, name, seed) for name, seed in study.runs],
        "failed": [
            {key: row.get(key) for key in ("experiment", "seed", "status", "error")} for row in study.failed
        ],
        "settings": {
            name: {key: _setting(study.config(name), key) for key in SETTINGS} for name in study.experiments
        },
        "photographs": first.result["photographs"],
        "machines": sorted(
            {f"{r.env['machine']['device']}, {r.env['machine']['precision']}" for r in study.runs.values()}
        ),
        "commits": sorted({run.env["commit"] for run in study.runs.values()}),
        "repeat": repeat(plan),
    }


def repeat(plan) -> str:
    """The command that runs a study anew on another machine."""
    source, name = plan.data.get("source", "photos"), plan.data["name"]
    if "/" not in source:
        return f"make study STUDY={plan.name}"
    return f"make study STUDY={plan.name} DATA={name if name in catalog.SOURCES else '/path/to/photographs'}"


def _setting(config: dict, key: str):
    """A parameter of a run; empty where it does nothing."""
    known = config | {"weights": "auto"}  # a file of weights may be on another machine
    if key in inputs.idle(configs.from_dict(configs.RunConfig, known)):
        return ""
    if key == "weights" and config["backbone"] == "none":
        return ""
    return (
        "all"
        if key in ("feature_dims", "max_images", "train_images") and not config[key]
        else config.get(key)
    )


def made_from() -> str:
    """Hash of the notebooks and templates that a study's pages are made from: pages with another one are older or newer."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MAKERS for path in paths.ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _experiment(study, row: dict) -> dict:
    own = {"untrained": not row["trivial"] and study.untrained(row["experiment"])}
    kept = {key: row[key] for key in ("label", "experiment", "seeds", "trivial", "told")}
    numbers = {key + end: row[key + end] for key in tables.METRICS for end in ("", "_low", "_high", "_seeds")}
    return (
        kept | own | {key: None if value != value else value for key, value in numbers.items()}
    )  # JSON has no NaN


def _run(study, name: str, seed: int) -> dict:
    run = study.runs[name, seed]
    means = run.result["test"]["model"]
    return {
        "experiment": name,
        "label": study.label(name),
        "seed": seed,
        "run_id": run.result["run_id"],
        "means": {key: means.get(key) for key in tables.METRICS},
        "last_val_loss": run.result["last_val_loss"],
        "seconds": run.result["train_seconds"],
        "weights": "no extractor" if run.config["backbone"] == "none" else run.env["weights"]["weights"],
        "untrained": run.untrained,
    }
