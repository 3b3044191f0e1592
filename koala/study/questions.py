"""What an experiment asks (params/questions.yaml), and what it is compared with. Light enough for the Snakefile."""

import dataclasses

import yaml

from koala import config as configs
from koala.config import OF_EXTRACTOR, VOLATILE
from koala.study import plan as plans
from koala.system.errors import KoalaError


@dataclasses.dataclass(frozen=True)
class Question:
    """An experiment of a study: number of the report's that it runs, what it asks, what the report says, and `against`, the
    experiment it is compared with."""

    number: str
    experiment: str
    against: str
    title: str
    question: str
    expectation: str


def asked(plan: plans.Study) -> list[Question]:
    """The study's experiments that run one of the report's and have something to be compared with, in its order: of what it
    holds, with what differs in the fewest parameters."""
    held = list(dict.fromkeys(name for name, _ in plan.runs()))
    questions = []
    for number, entry in yaml.safe_load(
        (plans.PARAMS / "questions.yaml").read_text(encoding="utf-8")
    ).items():
        words = {key: entry[key] for key in ("title", "question", "expectation")}
        others = [name for name in entry["against"] if name in held]
        for name in (name for name in entry["experiments"] if name in held and others):
            nearest = min(others, key=lambda other: len(differing(plan, name, other)))
            questions.append(Question(number, name, nearest, **words))
    return sorted(questions, key=lambda one: held.index(one.experiment))


def parts(plan: plans.Study) -> list[str]:
    """What a study makes of its runs, by the names of notebooks and result files."""
    names = ["analysis"] + ["probe"] * bool(plan.probe) + ["colorize"] * plan.demo
    return names + [f"experiment-{one.experiment}" for one in asked(plan) if not plan.demo]


def find(plan: plans.Study, name: str) -> Question:
    """The question of one experiment. Raises KoalaError that names those that have one."""
    for one in asked(plan):
        if one.experiment == name:
            return one
    known = ", ".join(one.experiment for one in asked(plan)) or "none"
    raise KoalaError(f"study '{plan.name}' has no experiment '{name}' with a question (it has: {known}).")


def differing(plan: plans.Study, first: str, second: str) -> list[dict]:
    """Parameters of train.ipynb in which two experiments of a study differ: one dict per parameter. Beside a network without an
    extractor that is the backbone: what the other's extractor is follows from having one."""
    own, other = (
        configs.from_dict(configs.RunConfig, plans.parameters(plan, name, 0)) for name in (first, second)
    )
    idle = {"weights", *OF_EXTRACTOR} if "none" in (own.backbone, other.backbone) else ()
    return [
        {"parameter": key, first: getattr(own, key), second: getattr(other, key)}
        for key in (field.name for field in dataclasses.fields(own))
        if key not in (*VOLATILE, *idle) and getattr(own, key) != getattr(other, key)
    ]
