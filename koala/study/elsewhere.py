"""A study's networks on photographs that neither they nor their extractors were trained on: do they generalize?

The networks stay as they are. Gray needs nothing; mean colour, colour by lightness and linear colour are those of the
study's own training split. What is judged is kept in data/baselines and exported to reports/STUDY/runs/elsewhere-NAME, and
read back it is a study like any other, with which everything else in this room works. Its intervals are over categories: what a
network does for skies says little about kitchens.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from koala import data, extractors, metrics
from koala.experiment import baselines, evaluate, inputs, pipeline, starting
from koala.experiment.memo import memoized
from koala.extractors import controls
from koala.study import export, packing
from koala.study.finished import FinishedStudy
from koala.system import paths
from koala.system.errors import KoalaError
from koala.training.batches import make_batches
from koala.training.step import Job

RUNS = "judged.json"
METHODS = ("gray", "mean", "lightness", "linear")


def judge(study: FinishedStudy, photos: data.Photos, device, progress=None) -> FinishedStudy:
    """The study with per_image of all of `photos` instead of its test split, of the networks with their own features or with none.

    Raises KoalaError where no network is here, where one was trained on one of photos, or where an extractor's weights are no
    longer the same."""
    runs, seen, own = {}, set(), {}
    for (name, seed), run in study.runs.items():
        if run.config["feature_source"] in ("image", "zero") and (run.folder / "model.safetensors").exists():
            _check_unseen(run, photos, own)
            lines = [_lines(run, photos, device, progress)]
            extractor = study.extractor(name)
            if extractor not in seen and run.own_features:
                seen.add(extractor)
                lines.append(_without_network(run, photos, device, progress))
            runs[name, seed] = dataclasses.replace(
                run, per_image=packing.rounded(pd.concat(lines, ignore_index=True))
            )
    if not runs:
        raise KoalaError(
            f"no network of study '{study.plan.name}' is here, only their numbers: train it first."
        )
    return FinishedStudy(study.plan, runs, [], over_categories=True)


def _check_unseen(run, photos, known: dict) -> None:
    """KoalaError where the run was trained on files of `photos`. known: what was read of other runs' data sets."""
    trained_on = json.dumps([run.config["dataset"], run.config["image_size"], run.env.get("start")])
    if trained_on not in known:
        known[trained_on] = starting.seen(run.config, run.env)
    if count := int(photos.files["sha256"].isin(known[trained_on]).sum()):
        raise KoalaError(
            f"'{photos.name}' holds {count:,} photographs that the study's networks were trained on: name another data set."
        )


def write(study: FinishedStudy, judged: FinishedStudy, name: str) -> None:
    """Export what `judge` found for the study on the data set `name`. What needs no network stays once, as in
    FinishedStudy.methods, also beside what was exported before."""
    target = _folder(study, name)
    tables = {
        (experiment, seed, method): lines
        for experiment, seed in judged.runs
        for method in ("model", *METHODS)
        if len(lines := judged.lines(experiment, seed, method))
    }
    export.write_table(target, tables)
    ids = {f"{name}-s{seed}": _identity(run) for (name, seed), run in judged.runs.items()}
    paths.write_json(target / RUNS, _ids(target) | ids)
    once = read(study, name).methods()
    for file, *of in export.files(target):
        if of[-1] != "model" and tuple(of) not in once:
            file.unlink()


def _folder(study: FinishedStudy, name: str) -> Path:
    return export.folder(study.plan) / f"elsewhere-{name}"


def names(study: FinishedStudy) -> list[str]:
    """The data sets that runs of the study were judged on, besides its own."""
    folders = sorted(export.folder(study.plan).glob("elsewhere-*"))
    return [path.name.partition("-")[2] for path in folders if any(_files(study, path))]


def studies(study: FinishedStudy) -> dict[str, FinishedStudy]:
    """data set -> the study as it was judged there, of `names`."""
    return {name: read(study, name) for name in names(study)}


def read(study: FinishedStudy, name: str) -> FinishedStudy:
    """What was exported, as a study. Raises KoalaError where nothing was."""
    target, parts = _folder(study, name), {}
    for file, *key, method in _files(study, target):
        parts.setdefault(tuple(key), []).append(export.read_lines(target, file, method))
    if not export.files(target):
        raise KoalaError(
            f"study '{study.plan.name}' was not judged on '{name}': python -m koala.study elsewhere STUDY {name}."
        )
    runs = {
        key: dataclasses.replace(run, per_image=pd.concat(parts[key], ignore_index=True))
        for key, run in study.runs.items()
        if key in parts
    }
    if not runs:
        raise KoalaError(
            f"study '{study.plan.name}' has other runs than those that were judged on '{name}': judge them again."
        )
    return FinishedStudy(study.plan, runs, [], over_categories=True)


def _files(study: FinishedStudy, target: Path):
    """Those of koala.study.export.files that are of networks which the study has now."""
    ids = _ids(target)
    for file, experiment, seed, method in export.files(target):
        run = study.runs.get((experiment, seed))
        if run and ids.get(f"{experiment}-s{seed}") == _identity(run):
            yield file, experiment, seed, method


def _ids(target: Path) -> dict[str, str]:
    """What each network's lines are of, by `_identity`: another one of the same experiment and seed may have come since."""
    return paths.read_json(target / RUNS) if (target / RUNS).exists() else {}


def _identity(run) -> str:
    """The run and its network's weights, which differ where it is trained again elsewhere; of older exports the run alone."""
    return f"{run.result['run_id']} {run.network}".strip()


def _lines(run, photos, device, progress) -> pd.DataFrame:
    """The network's lines on all photographs, as per_image.csv has them."""

    def compute():
        job = _reopened(run, photos, device, progress)
        table = evaluate.per_image(job, np.arange(len(photos.images)), photos.files, progress)
        return {name: table[name].to_numpy() for name in table if name not in ("path", "category", "method")}

    return _named(
        pd.DataFrame(memoized(f"elsewhere-{_key(run, photos)}", compute)).assign(method="model"), photos
    )


def _key(run, photos) -> str:
    """Of what is judged: the network's weights, since a run that is trained again keeps its name."""
    parts = (baselines.FORMAT, run.result["run_id"], run.network, photos.fingerprint)
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]


def _named(lines: pd.DataFrame, photos) -> pd.DataFrame:
    return photos.files[["row", "path", "category"]].merge(lines, on="row")


def _reopened(run, photos, device, progress) -> Job:
    """The run's network with the features that its extractor has for other photographs."""
    config = run.resolved
    features = _features(config, run, photos, device, progress)
    if config.network != "pyramid":
        features = controls.project(features, run.env["weights"] | {"feature_source": config.feature_source})
    rows = dict.fromkeys(data.SPLITS, np.arange(len(photos.images)))
    job = pipeline.trained_job(run, inputs.Inputs(photos, rows, features, run.env["weights"], {}), device)
    if config.network == "pyramid":
        run.check_extractor(job.model.encoder.extractor.info)
    return job


def _features(config, run, photos, device, progress) -> np.ndarray:
    """(N,D) of other photographs; KoalaError where the extractor is not the one that the run had."""
    if config.network == "pyramid":
        return np.zeros((len(photos.images), 0), np.float16)
    computed = extractors.compute(
        photos,
        config.backbone,
        config.weights,
        None,
        config.layer,
        device,
        progress=progress,
        precision=config.precision,
    )
    run.check_extractor(computed.info)
    return computed.array


def _without_network(run, photos, device, progress) -> pd.DataFrame:
    """Lines of METHODS, fitted on the photographs that the run was trained on."""
    config = run.resolved
    source = inputs.load_photos(config)
    run.check_photographs(source)
    rows = inputs.split_rows(config, source)

    def compute():
        as_they_come = dataclasses.replace(config, feature_source="image", centre_features=False)
        own = inputs.load_inputs(as_they_come, source, rows, device, progress)
        known = make_batches(source.images, None, device, config.image_size)
        colours = baselines.fit(known, rows, source.files, source.fingerprint, progress)
        moved = None
        if own.features.shape[1]:
            there = _features(config, run, photos, device, progress)
            moved = baselines.linear_colour(colours, rows, own.features, there)
        return _judged(colours, moved, make_batches(photos.images, None, device, config.image_size))

    return _named(pd.DataFrame(memoized(f"elsewhere-plain-{_key(run, photos)}", compute)), photos)


def _judged(colours, moved, batches) -> dict[str, np.ndarray]:
    def predict(rows, L):
        predictions = {name: colours.everyone.predict(name, L) for name in metrics.BASELINES}
        return predictions | ({"linear": baselines.shifted(colours, L, moved(rows))} if moved else {})

    return baselines.judged(batches, np.arange(len(batches.images)), predict)
