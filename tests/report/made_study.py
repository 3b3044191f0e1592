"""A study for pages: synthetic runs with a known shift for each experiment, and what pages need beside their numbers."""

from pathlib import Path

from synthetic import make_run

from koala import study
from koala.config import RunConfig
from koala.experiment import artefacts
from koala.experiment.artefacts import Run
from koala.report.tables import METRICS
from koala.study.finished import FinishedStudy

SHIFTS = {"efficientnet": -2.0, "inception-distilled": -1.0, "no-extractor": 0.0, "untrained": 0.1}
SETTINGS = {
    "inception-distilled": {"backbone": "inception"},
    "no-extractor": {"backbone": "none"},
    "untrained": {"weights": "untrained"},
}


def made_study(**shifts) -> FinishedStudy:
    """Two seeds of each experiment in SHIFTS; shifts: experiment -> CIEDE2000 above that of the network without extractor. A dash in a
    name is written as two underscores."""
    data = {"source": "somewhere", "name": "scenes", "image_size": RunConfig.image_size}
    names = list(SHIFTS)
    plan = study.Study("test", "Test", names, [0, 1], data, {}, about="What it is for.")
    for name, seed in plan.runs():
        plan.folder.mkdir(parents=True, exist_ok=True)
        plan.result_file(name, seed).write_text('{"status": "finished"}')
    shifts = SHIFTS | {name.replace("__", "-"): shift for name, shift in shifts.items()}
    runs = {(name, seed): _run(name, seed, shifts[name]) for name, seed in plan.runs()}
    return FinishedStudy(plan, runs, [])


def _run(name: str, seed: int, shift: float) -> Run:
    origin = "distilled here" if name == "inception-distilled" else "a file"
    run = make_run(seed, shift, name != "untrained", origin, noise=1.0, **SETTINGS.get(name, {}))
    for key in METRICS:
        if key not in run.per_image:
            run.per_image[key] = 0.5
    run.per_image["colourfulness_true"] = 40.0
    means = {method: values.to_dict() for method, values in artefacts.means(run.per_image).iterrows()}
    run.result |= {"test": means, "last_val_loss": 0.015, "train_seconds": 61.0}
    run.folder = Path(f"{name}-s{seed}")
    return run
