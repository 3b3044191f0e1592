"""A study: which experiments, seeds, data and scale. params/studies/NAME.yaml, and where its parts are kept."""

import dataclasses
import json
import sys
from pathlib import Path

import yaml

from koala import config
from koala.system import paths
from koala.system.errors import KoalaError, nearest

PARAMS = paths.ROOT / "params"
KEYS = {"title", "about", "experiments", "seeds", "data", "scale", "probe"}

_NAMES, _VALUES = (list, "a list: [one, two]"), (dict, "parameters with their values, one a line")
KINDS = {
    "experiments": _NAMES,
    "seeds": _NAMES,
    "data": _VALUES,
    "scale": _VALUES,
    "title": (str, "text"),
    "about": (str, "text"),
    "probe": (str, "an experiment's name, or empty quotes for none"),
}


@dataclasses.dataclass(frozen=True)
class Study:
    """experiments: names of files in params/experiments. data: parameters of data.ipynb. scale: overrides for all runs.
    probe: the experiment whose extractor extractor.ipynb looks into, or "". about: what the study is for, and what it
    cannot show, in one to three sentences for its pages."""

    name: str
    title: str
    experiments: list
    seeds: list
    data: dict
    scale: dict
    probe: str = ""
    about: str = ""

    @property
    def folder(self) -> Path:
        """Executed notebooks and one result file a run."""
        return paths.runs_dir() / "studies" / self.name

    @property
    def reports(self) -> Path:
        return paths.reports_dir() / self.name

    def runs(self) -> list[tuple[str, int]]:
        return [(experiment, seed) for seed in self.seeds for experiment in self.experiments]

    def result_file(self, experiment: str, seed: int) -> Path:
        return self.folder / f"{experiment}-s{seed}.json"


def load(name: str) -> Study:
    """Read and check params/studies/NAME.yaml, or a study file by its path, with every experiment that it names.

    Raises KoalaError that names the file and the entry."""
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else _named("studies", name)
    values = _read_yaml(path)
    for key in sorted(set(values) - KEYS) or sorted({"experiments", "seeds", "data"} - set(values)):
        raise KoalaError(
            f"{path}: '{key}' is {'no key of a study file' if key in values else 'missing'} (keys: {', '.join(sorted(KEYS))})."
        )
    values = {"title": path.stem, "probe": ""} | values | {"scale": values.get("scale") or {}}
    for key, (kind, words) in KINDS.items():
        if key in values and not isinstance(values[key], kind):
            raise KoalaError(f"{path}: '{key}' must be {words}, not {values[key]!r}.")
    study = Study(name=path.stem, **values)
    if not study.experiments or not study.seeds:
        raise KoalaError(f"{path}: a study needs at least one experiment and one seed.")
    config.from_dict(config.DataConfig, study.data)
    for experiment, seed in study.runs():
        config.from_dict(config.RunConfig, parameters(study, experiment, seed))
    if study.probe and study.probe not in study.experiments:
        raise KoalaError(f"{path}: probe '{study.probe}' is not one of its experiments.")
    if study.probe and parameters(study, study.probe, 0).get("backbone") == "none":
        raise KoalaError(f"{path}: probe '{study.probe}' has no extractor to look into.")
    return study


def parameters(study: Study, experiment: str, seed: int) -> dict:
    """All parameters of one run of train.ipynb: the experiment's, over them the study's scale, data and seed.

    One process a run, unless the study says otherwise: several runs at a time are what fills several GPUs."""
    values = {"processes": 1} | _read_yaml(_named("experiments", experiment)) | study.scale
    shared = {"dataset": study.data.get("name", "photos"), "image_size": study.data.get("image_size", 64)}
    return values | shared | {"seed": seed}


def extractors(study: Study) -> dict[str, dict]:
    """The distinct extractor outputs that a study needs: name -> parameters of features.ipynb."""
    wanted = {}
    names = {field.name for field in dataclasses.fields(config.FeaturesConfig)}
    for experiment in study.experiments:
        values = {k: v for k, v in parameters(study, experiment, 0).items() if k in names}
        if values.get("backbone") != "none":
            key = "-".join(str(values.get(k, "auto")) for k in ("backbone", "weights", "layer")).replace(
                "/", "_"
            )
            wanted[key] = values
    return wanted


def results(study: Study) -> list[dict]:
    """One dict a run, in the study's order: its result, or status "failed" or "missing" with the error."""
    rows = []
    for experiment, seed in study.runs():
        path = study.result_file(experiment, seed)
        row = paths.read_json(path) if path.exists() else {"status": "missing", "error": "not run yet"}
        rows.append({"experiment": experiment, "seed": seed, **row})
    return rows


def record_failure(notebook, result_file) -> None:
    """Write a result file that says why a run failed: papermill's record of the exception, or that there is none."""
    path = Path(notebook)
    error = "the run ended without a result: its process was killed or papermill could not start"
    if path.exists():
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    error = f"{output['ename']}: {output['evalue']}"
    paths.write_json(result_file, {"status": "failed", "error": error})
    print(f"failed: {error}", file=sys.stderr)


def forget_failures(study: Study) -> None:
    """Remove the result files of what failed or is no longer there, so that the next call tries it again."""
    for path in study.folder.glob("*.json"):
        try:
            row = paths.read_json(path)
            lost = "run_id" in row and not (paths.runs_dir() / row["run_id"] / "result.json").exists()
        except ValueError:  # cut off by a kill
            row, lost = {}, True
        if lost or row.get("status") == "failed":
            path.unlink()


def command_line(values: dict) -> list[str]:
    """Parameters as papermill's -p arguments."""
    return [part for name, value in values.items() for part in ("-p", name, str(value))]


def _named(kind: str, name: str) -> Path:
    path = PARAMS / kind / f"{name}.yaml"
    if not path.exists():
        names = sorted(p.stem for p in (PARAMS / kind).glob("*.yaml"))
        raise KoalaError(
            f"there is no params/{kind}/{name}.yaml{nearest(name, names)} (there are: {', '.join(names)})"
        )
    return path


def _read_yaml(path: Path) -> dict:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise KoalaError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise KoalaError(f"{path} must hold 'name: value' lines.")
    return values
