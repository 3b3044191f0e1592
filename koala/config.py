"""Parameters of the notebooks: one dataclass a notebook, and the guard that papermill lacks.

papermill injects an unknown name with one warning line and goes on, and hands `-p x false` over as text.
`check` therefore resolves the notebook's globals against the dataclass before anything else runs.
"""

import ast
import dataclasses
import difflib
import typing
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from koala import paths
from koala.errors import KoalaError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
ImageSize = Annotated[int, Field(ge=16, le=1024, multiple_of=8)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]

# These say where or how a run is computed, or where its summary goes; what is learned does not depend on them.
VOLATILE = ("resume", "device", "compile", "processes", "result_file", "checkpoint_minutes")


class Identified:
    """A configuration whose results are kept under a name that follows from it."""

    def identity(self) -> dict:
        """What is learned from: every parameter but those that only say where and how it is computed."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in VOLATILE}


@dataclasses.dataclass(frozen=True)
class RunConfig(Identified):
    """Parameters of train.ipynb: one training run."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    backbone: str = "efficientnet"
    weights: str = "auto"
    layer: Literal["logits", "probabilities", "features"] = "logits"
    feature_dims: Count = 0
    feature_reduction: Literal["random", "pca"] = "random"
    feature_source: Literal["image", "shuffled", "zero", "category"] = "image"
    loss: Literal["mse", "crossentropy", "binned", "rebalanced"] = "mse"
    bins: Annotated[int, Field(ge=2, le=512)] = 50
    neighbours: Annotated[int, Field(ge=1, le=64)] = 5
    sigma: PositiveFloat = 5.0
    rebalance: Share = 0.5
    temperature: PositiveFloat = 0.38
    decode: Literal["annealed", "mean", "mode"] = "annealed"
    flip: bool = False
    init: Literal["torch", "glorot"] = "torch"
    epochs: Positive = 4
    batch_size: Positive = 64
    lr: PositiveFloat = 0.001
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    lr_step: Positive = 2
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Device = "auto"
    compile: Literal["auto", "off", "on", "graphs"] = "auto"
    processes: Count = 0
    resume: bool = True
    checkpoint_minutes: PositiveFloat = 5.0
    result_file: str = ""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Parameters of data.ipynb: photographs in, one prepared data set out."""

    source: str = "photos"
    name: str = "photos"
    image_size: ImageSize = 64
    fit: Literal["crop", "fit"] = "crop"
    seed: Seed = 0
    keep_gray: bool = False
    workers: Count = 0


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Parameters of features.ipynb: one extractor's outputs for one data set, computed once."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    backbone: str = "efficientnet"
    weights: str = "auto"
    layer: Literal["logits", "probabilities", "features"] = "logits"
    flip: bool = False
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class AnalysisConfig:
    """Parameters of analysis.ipynb: the runs of one study, side by side."""

    study: str = "demo"
    examples: Annotated[int, Field(ge=1, le=24)] = 8
    seed: Seed = 0


@dataclasses.dataclass(frozen=True)
class ExtractorConfig:
    """Parameters of extractor.ipynb: what one run's extractor can do."""

    study: str = "demo"
    experiment: str = "efficientnet"
    seed: Seed = 0
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Parameters of benchmark.ipynb: how fast this machine trains."""

    dataset: str = "photos"
    backbone: str = "inception"
    small: ImageSize = 64
    large: ImageSize = 224
    batch_small: Positive = 64
    batch_large: Positive = 8
    rounds: Positive = 5
    steps: Positive = 200
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "off", "on", "graphs"] = "auto"
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Identified):
    """Parameters of pretrain.ipynb: an extractor trained as a classifier of gray photographs."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    backbone: str = "resnet18"
    size: Count = 64
    epochs: Positive = 3
    batch_size: Positive = 64
    lr: PositiveFloat = 0.001
    weight_decay: Share = 0.05
    smoothing: Share = 0.1
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Device = "auto"
    compile: Literal["auto", "off", "on"] = "auto"
    resume: bool = True
    checkpoint_minutes: PositiveFloat = 5.0


@dataclasses.dataclass(frozen=True)
class ColorizeConfig:
    """Parameters of colorize.ipynb: gray (or colour) pictures in, coloured pictures out."""

    image: str = "examples"
    output: str = ""
    run: str = "auto"
    size: Annotated[int, Field(ge=0, le=4096)] = 0
    device: Device = "auto"


def check(cls, namespace: dict, history: list[str] = ()):
    """The notebook's parameters as an instance of `cls`.

    namespace: the notebook's globals(). history: the kernel's `In`, where papermill's injected cell
    ("# Parameters") stands, so that a name that is no parameter is found.
    Raises KoalaError naming the parameter, the value and what is allowed.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    for name in injected_names(history):
        if name not in names:
            raise KoalaError(
                f"unknown parameter '{name}'{_nearest(name, names)} (parameters: {', '.join(names)})"
            )
    missing = [name for name in names if name not in namespace]
    if missing:
        raise KoalaError(f"parameter '{missing[0]}' has no value: run the notebook's parameters cell first.")
    return from_dict(cls, {name: namespace[name] for name in names})


def from_dict(cls, values: dict):
    """An instance of `cls` from plain values; types are coerced ("false" -> False, "1e-3" -> 0.001), ranges checked."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in values:
        if name not in hints:
            raise KoalaError(f"unknown parameter '{name}'{_nearest(name, hints)}")
    config = cls(**{name: _coerce(name, hints[name], value) for name, value in values.items()})
    if getattr(config, "weights", "auto") not in ("auto", "imagenet", "untrained"):
        _check_weights(config.weights)
    return config


def injected_names(history: list[str]) -> list[str]:
    """Names that papermill set: the assignments of the last cell that opens with "# Parameters"."""
    cells = [cell for cell in history if cell.lstrip().startswith("# Parameters")]
    if not cells:
        return []
    assigns = [node for node in ast.parse(cells[-1]).body if isinstance(node, ast.Assign)]
    return [target.id for node in assigns for target in node.targets if isinstance(target, ast.Name)]


def _coerce(name, hint, value):
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if kind in (int, float) and isinstance(value, bool):
        raise KoalaError(f"parameter '{name}' must be a number, not {value}.")
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # papermill hands `-p dataset 2012` over as a number
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        raise KoalaError(f"parameter '{name}' {_explain(error.errors()[0], hint, value)}") from None


def _explain(error: dict, hint, value) -> str:
    """One plain clause for pydantic's first complaint."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = [str(choice) for choice in typing.get_args(hint)]
        return f"must be one of {', '.join(choices)}, not {value!r}{_nearest(str(value), choices)}."
    limits = {
        "greater_than_equal": ("at least", "ge"),
        "greater_than": ("more than", "gt"),
        "less_than_equal": ("at most", "le"),
        "less_than": ("less than", "lt"),
        "multiple_of": ("a multiple of", "multiple_of"),
    }
    if error["type"] in limits:
        words, key = limits[error["type"]]
        return f"must be {words} {context[key]}, not {value}."
    if error["type"] == "string_pattern_mismatch":
        return f"must be auto, cpu, cuda, cuda:0, cuda:1 ..., not {value!r}."
    kinds = {
        "int": "a whole number",
        "float": "a finite number",
        "fini": "a finite number",
        "bool": "true or false",
        "stri": "text",
    }
    kind = next((text for start, text in kinds.items() if error["type"].startswith(start)), "of another type")
    return f"must be {kind}, not {value!r}."


def _nearest(name: str, names) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else ""


def _check_weights(weights: str) -> None:
    try:
        if paths.resolve(weights).suffix not in (".pth", ".safetensors"):
            raise KoalaError("of another kind")
    except KoalaError:
        close = _nearest(weights, ("auto", "imagenet", "untrained"))
        raise KoalaError(
            f"parameter 'weights' must be auto, imagenet, untrained or an existing .pth or .safetensors file, not {weights!r}{close}"
        ) from None
