"""Before a study starts: is everything available that it needs? Nothing is prepared or trained here."""

from koala import config as configs
from koala.data import catalog, sources
from koala.experiment import inputs
from koala.extractors import backbones, origins
from koala.study import outcomes
from koala.study import plan as plans
from koala.system import device as devices
from koala.system.errors import KoalaError


def check(study: plans.Study, progress=None) -> None:
    """Raises KoalaError that names all that is missing: the photographs, weights that a run insists on, hardware for bf16.

    ImageNet weights are fetched where they are not there yet: only that shows whether they are available."""
    runs = configurations(study)
    for config in runs.values():
        inputs.check(config)
    problems = [
        *_missing_photographs(study),
        *_missing_weights(runs.values(), progress),
        *_missing_bf16(study, runs),
    ]
    if problems:
        raise KoalaError(f"study '{study.name}' cannot start: {' '.join(problems)}")


def configurations(study: plans.Study) -> dict[tuple[str, int], configs.RunConfig]:
    """Parameters of each run, by experiment and seed."""
    return {run: configs.from_dict(configs.RunConfig, plans.parameters(study, *run)) for run in study.runs()}


def to_fetch(study: plans.Study) -> list[str]:
    """The archives known by name that are fetched when the photographs are prepared."""
    names = sources.names(study.data.get("source", "photos"))
    return [name for name in names if name in catalog.SOURCES and not catalog.is_here(name)]


def _missing_photographs(study):
    fetched = to_fetch(study)
    rest = [name for name in sources.names(study.data.get("source", "photos")) if name not in fetched]
    try:
        if rest or not fetched:
            sources.expand(",".join(rest))
    except KoalaError as error:
        yield (
            f"Its photographs are not here: {str(error).rstrip('.')}. To do: name your folder or archive, make study "
            f"STUDY={study.name} DATA=PATH, or what is fetched by name: {', '.join(catalog.SOURCES)}. Places-Extra69, "
            "the report's, is given on request (http://places2.csail.mit.edu)."
        )


def _missing_weights(runs, progress):
    missing, reasons = {}, []
    for backbone in sorted({config.backbone for config in runs if config.weights == "imagenet"} - {"none"}):
        origin = backbones.find_row(backbone).origin
        try:
            origins.imagenet(origin, patient=False, progress=progress)
        except origins.NoWeights as error:
            missing[backbone] = origins.remedy(origin)
            reasons.append(error.why)
    if missing:
        ways = "; ".join(f"{backbone}: {way}" for backbone, way in missing.items())
        yield (
            f"ImageNet weights of {', '.join(missing)} are not available ({reasons[0]}) "
            f"To do: connect to the network once, or bring them here: {ways}."
        )


def _missing_bf16(study, runs):
    ends = {(row["experiment"], row["seed"]): row["status"] for row in outcomes.results(study)}
    asked = {config.precision for run, config in runs.items() if ends[run] != "finished"}
    asked |= {values.get("precision") for values in study.distill.values()} if asked else set()
    device = devices.pick()
    if "bf16" in asked and devices.emulates_bf16(device):
        yield (
            f"It asks for precision: bf16, which {devices.describe(device)} emulates: {devices.SLOWLY}. To do: run it on a CPU "
            "with AVX512_BF16 or AMX, or on a GPU (Ampere or newer); or write precision: auto in its place into a copy of the "
            "study's file and name that, make study STUDY=PATH."
        )
