"""A study: which experiments, seeds, data and scale. params/studies/NAME.yaml, and where its parts are kept."""

import dataclasses
import os
import re
from pathlib import Path

from koala import config
from koala.study import entries
from koala.system import paths, yaml_files
from koala.system.errors import KoalaError, nearest

PARAMS = paths.ROOT / "params"


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs of a study that come one after another: experiments, each over the seeds. scale: overrides for these runs,
    over the study's own. suffix: follows the names of the experiments' files in these runs' names."""

    experiments: list
    seeds: list
    scale: dict = dataclasses.field(default_factory=dict)
    suffix: str = ""

    def runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for seed in self.seeds for name in self.files()]

    def files(self) -> dict[str, str]:
        """Name of each experiment in the study -> name of its file in params/experiments."""
        return {f"{name}-{self.suffix}" if self.suffix else name: name for name in self.experiments}


@dataclasses.dataclass(frozen=True)
class Study:
    """experiments: names of files in params/experiments, or of a part's, with its suffix. parts: what runs, in this order; where it
    is empty, every experiment over every seed. data: parameters of data.ipynb. scale: overrides for all runs.
    distill: backbone -> parameters of pretrain.ipynb, for experiments with weights=distilled.
    elsewhere: parameters of data.ipynb for other photographs, on which the networks are judged once they are trained.
    probe: the experiment whose extractor probe.ipynb looks into, or "". about: what the study is for, and what it
    cannot show, in one to three sentences for its pages."""

    name: str
    title: str
    experiments: list
    seeds: list
    data: dict
    scale: dict
    probe: str = ""
    about: str = ""
    parts: list = dataclasses.field(default_factory=list)
    distill: dict = dataclasses.field(default_factory=dict)
    elsewhere: dict = dataclasses.field(default_factory=dict)

    @property
    def demo(self) -> bool:
        """Whether its photographs are the embedded ones, which are no evidence."""
        return self.data.get("source", "photos") == "photos"

    @property
    def folder(self) -> Path:
        """Executed notebooks and one result file per run."""
        return paths.runs_dir() / "studies" / self.name

    @property
    def reports(self) -> Path:
        return paths.reports_dir() / self.name

    def runs(self) -> list[tuple[str, int]]:
        return [run for part in self._parts() for run in part.runs()]

    def part(self, experiment: str) -> Part:
        """The part that an experiment's runs belong to. Raises KoalaError where there is none."""
        for part in self._parts():
            if experiment in part.files():
                return part
        names = [name for name, _ in self.runs()]
        raise KoalaError(f"study '{self.name}' has no experiment '{experiment}'{nearest(experiment, names)}.")

    def _parts(self) -> list[Part]:
        return self.parts or [Part(self.experiments, self.seeds)]

    def result_file(self, experiment: str, seed: int) -> Path:
        return self.folder / f"{experiment}-s{seed}.json"


def load(name: str) -> Study:
    """Read and check params/studies/NAME.yaml, or a study file by its path, with every experiment that it names.

    Raises KoalaError that names the file and the entry."""
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else _named("studies", name)
    if not re.fullmatch(paths.NAME, path.stem):
        raise KoalaError(f"{path}: name a study's file with letters, digits, dots, '-' and '_'.")
    values = yaml_files.read(path)
    entries.check(path, values, entries.KEYS, {"data"} | ({"parts"} if "parts" in values else entries.RUNS))
    values = {"title": path.stem, "probe": ""} | values | {"scale": values.get("scale") or {}}
    plain = config.DataConfig
    values["data"] = _chosen({"name": plain.name, "image_size": plain.image_size} | values["data"], path.stem)
    study = Study(name=path.stem, **(_with_parts(path, values) if "parts" in values else values))
    if not study.experiments or not study.seeds:
        raise KoalaError(f"{path}: a study needs at least one experiment and one seed.")
    for photographs in (study.data, study.elsewhere):
        config.from_dict(config.DataConfig, photographs)
    if study.elsewhere and dataset(study.elsewhere) == dataset(study.data):
        raise KoalaError(f"{path}: 'elsewhere' must have another name than 'data': they are two data sets.")
    for backbone, lesson in study.distill.items():
        if not isinstance(lesson, dict):
            raise KoalaError(
                f"{path}: 'distill' must hold parameters of pretrain.ipynb for {backbone}, not {lesson!r}."
            )
        config.from_dict(config.PretrainConfig, distillation(study, backbone))
    for seed in study.seeds:
        config.from_dict(config.RunConfig, {"seed": seed})
    for experiment in study.experiments:
        values = parameters(study, experiment, study.seeds[0])
        config.from_dict(config.RunConfig, values)
        if values.get("network") == "pyramid" and values.get("weights") == "distilled":
            raise KoalaError(f"{path}: {experiment}: a pyramid takes no distilled weights; name others.")
    distilled = {one["backbone"] for one in extractors(study).values() if one.get("weights") == "distilled"}
    if apart := ", ".join(sorted(distilled ^ set(study.distill))):
        told = "must say how distilled weights are made, and of no other"
        raise KoalaError(f"{path}: 'distill' {told}; it does not for {apart}.")
    if study.probe and study.probe not in study.experiments:
        raise KoalaError(f"{path}: probe '{study.probe}' is not one of its experiments.")
    if study.probe and not features_of(study, study.probe):
        raise KoalaError(f"{path}: probe '{study.probe}' has no extractor with one vector to look into.")
    return study


def _chosen(values: dict, study: str) -> dict:
    """A study's data, with the source that the environment variable KOALA_SOURCE names in place of its own.

    `make study DATA=PATH` sets it. What a study does with the embedded photographs gets a name of its own."""
    source = os.environ.get("KOALA_SOURCE")
    if not source:
        return values
    name = dataset(values)
    return values | {
        "source": source,
        "name": f"{study}-data" if name == "photos" and source != "photos" else name,
    }


def dataset(photographs: dict) -> str:
    """The name that a study's photographs, parameters of data.ipynb, are prepared under."""
    return photographs.get("name", "photos")


def parameters(study: Study, experiment: str, seed: int) -> dict:
    """All parameters of one run of train.ipynb: the experiment's, over them the study's scale, data and seed.

    One process per run, unless the study says otherwise: several GPUs are used by several runs at a time."""
    part = study.part(experiment)
    values = {"processes": 1, "backbone": config.RunConfig.backbone}
    values |= yaml_files.read(_named("experiments", part.files()[experiment]))
    shared = {"dataset": dataset(study.data), "image_size": study.data["image_size"]}
    return values | shared | study.scale | part.scale | {"seed": seed}


def described(study: Study) -> dict[str, str]:
    """experiment -> what the opening comment of its file says, and what its part of the study sets besides."""
    told = {}
    for experiment in study.experiments:
        part = study.part(experiment)
        words = yaml_files.opening(_named("experiments", part.files()[experiment]))
        besides = ", ".join(f"{name} {value}" for name, value in part.scale.items())
        told[experiment] = words + f" Here with {besides}." * bool(besides)
    return told


def extractors(study: Study) -> dict[str, dict]:
    """The distinct extractor outputs that a study needs: name -> parameters of features.ipynb."""
    names = {field.name for field in dataclasses.fields(config.FeaturesConfig)}
    wanted = {}
    for experiment in study.experiments:
        if key := features_of(study, experiment):
            values = {k: v for k, v in parameters(study, experiment, 0).items() if k in names}
            most = [one.get("max_images", 0) for one in (values, wanted.get(key, values))]
            values["max_images"] = max(most) if all(most) else 0
            values["image_size"] = study.data["image_size"]  # the extractor sees what is prepared
            wanted[key] = values
    return wanted


def features_of(study: Study, experiment: str) -> str:
    """Name of the extractor outputs that an experiment needs; empty without an extractor, or where the network runs it."""
    values = parameters(study, experiment, 0)
    if values.get("backbone") == "none" or values.get("network") == "pyramid":
        return ""
    parts = [str(values.get(key, "auto")) for key in ("backbone", "weights", "layer")]
    parts += [values["precision"]] if values.get("precision", "auto") != "auto" else []
    return "-".join(parts).replace("/", "_")


def distillation(study: Study, backbone: str) -> dict:
    """Parameters of pretrain.ipynb that make the distilled weights of a backbone on the study's photographs."""
    shared = {"dataset": dataset(study.data), "image_size": study.data["image_size"], "backbone": backbone}
    return shared | study.distill[backbone]


def is_here(photographs: dict) -> bool:
    """Whether the source of a data set is a path that exists, or a name; False for none. A light check, for the graph."""
    parts = photographs.get("source", "").split(",")
    return all(part and ("/" not in part or paths.matches(part.strip())) for part in parts)


def command_line(values: dict) -> list[str]:
    """Parameters as papermill's -p arguments."""
    return [part for name, value in values.items() for part in ("-p", name, str(value))]


def _named(kind: str, name: str) -> Path:
    names = sorted(path.stem for path in (PARAMS / kind).glob("*.yaml"))
    if name not in names:  # and so no path to somewhere else
        shown = f"params/{kind}/{str(name)[:60]}.yaml"
        raise KoalaError(f"there is no {shown}{nearest(name, names)} (there are: {', '.join(names)})")
    return PARAMS / kind / f"{name}.yaml"


def _with_parts(path: Path, values: dict) -> dict:
    """A study's values with its parts as `Part`s, and all their experiments and seeds. Raises KoalaError on a wrong part."""
    for part in values["parts"]:
        if not isinstance(part, dict):
            raise KoalaError(f"{path}: a part must hold experiments and seeds, not {part!r}.")
        entries.check(path, part, entries.PART_KEYS, entries.RUNS)
    if "experiments" in values or "seeds" in values:
        raise KoalaError(f"{path}: a study has either parts, or experiments and seeds of its own.")
    parts = [Part(**part) for part in values["parts"]]
    runs = [run for part in parts for run in part.runs()]
    if twice := sorted({name for name, seed in runs if runs.count((name, seed)) > 1}):
        raise KoalaError(f"{path}: {', '.join(twice)} would run twice with a seed: give one part a suffix.")
    names = list(dict.fromkeys(name for name, _ in runs))
    return values | {"parts": parts, "experiments": names, "seeds": sorted({seed for _, seed in runs})}
