"""A study's runs: from runs/ where they were trained here, else from what was exported to reports/STUDY/runs."""

import dataclasses

from koala.experiment import artefacts
from koala.study import export, outcomes, packing
from koala.study import plan as plans
from koala.study.finished import FinishedStudy
from koala.system import paths
from koala.system.errors import KoalaError

OLDER = "its extractor had other weights than that of the other seeds: not run again yet"


class Unfinished(KoalaError):
    """A study has no finished run."""


def load(name: str) -> FinishedStudy:
    """Every run of the study that is finished. Raises KoalaError where there is no such study, Unfinished where no run is."""
    plan, runs, failed = plans.load(name), {}, []
    for row in outcomes.results(plan):
        key = row["experiment"], row["seed"]
        try:
            run = _trained(row) or export.read(plan, *key)
        except KoalaError as error:
            run, row = export.read(plan, *key), row | {"status": "lost", "error": str(error)}
        if run is None:
            failed.append(row)
        else:
            runs[key] = run
    for key in _of_other_weights(plan, runs):
        del runs[key]
        failed.append(
            dict(zip(("experiment", "seed"), key, strict=True)) | {"status": "missing", "error": OLDER}
        )
    if not runs:
        raise Unfinished(f"study '{name}' has no finished run yet: make study STUDY={name} trains them.")
    export.complete(plan, runs)
    return FinishedStudy(plan, runs, failed)


def _of_other_weights(plan, runs: dict) -> list[tuple[str, int]]:
    """Runs whose extractor has other weights than that of their experiment's first run, of those trained here if there are any."""
    chosen = {}
    for key in sorted(runs, key=lambda key: (runs[key].folder.parent == export.folder(plan), key)):
        chosen.setdefault(key[0], runs[key].extractor)
    return [key for key in runs if runs[key].extractor != chosen[key[0]]]


def finished(plan: plans.Study) -> set[tuple[str, int]]:
    """Experiment and seed of every run that is finished here, or was exported."""
    done = {
        (row["experiment"], row["seed"])
        for row in outcomes.results(plan)
        if row["status"] == "finished" and artefacts.is_finished(paths.runs_dir() / row["run_id"])
    }
    return done | {key for key in plan.runs() if export.exists(plan, *key)}


def _trained(row: dict) -> artefacts.Run | None:
    """The run that a result file names, its table rounded as an exported one is; None where it did not end well."""
    if row["status"] != "finished":
        return None
    run = artefacts.load(paths.runs_dir() / row["run_id"])
    return dataclasses.replace(run, per_image=packing.rounded(run.per_image))
