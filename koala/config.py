"""The parameters of the notebooks: one dataclass per notebook, with the range of every value.

koala.system.parameters checks a notebook's values against them; `check` and `from_dict` are its face here.
"""

import contextlib
import dataclasses
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from koala.system import paths
from koala.system.errors import KoalaError, nearest
from koala.system.parameters import check, from_dict, shorten

__all__ = ["check", "from_dict"]

Positive = Annotated[int, Field(ge=1, le=1_000_000)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
Count = Annotated[int, Field(ge=0, le=100_000_000)]
Workers = Annotated[int, Field(ge=0, le=1024)]
ImageSize = Annotated[int, Field(ge=16, le=1024, multiple_of=8)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Minutes = Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)]  # a week
# A pattern's description is what an error says that a value must be.
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$", description="auto, cpu, cuda, cuda:0, cuda:1 ...")
]
DataName = Annotated[
    str, Field(pattern=f"^{paths.NAME}$", description="letters, digits, dots, '-' and '_', 100 at most")
]

WEIGHTS = ("auto", "imagenet", "untrained", "distilled")  # of an extractor; or a file


def _known_weights(value: str) -> str:
    """Raises KoalaError where it is none of WEIGHTS and no file of weights."""
    with contextlib.suppress(KoalaError):
        if value in WEIGHTS or paths.resolve(value).suffix in (".pth", ".safetensors"):
            return value
    raise KoalaError(
        f"must be {', '.join(WEIGHTS)} or an existing .pth or .safetensors file, not {shorten(repr(value))}"
        f"{nearest(value, WEIGHTS)}"
    )


Weights = Annotated[str, AfterValidator(_known_weights)]

# These say where or how a run is computed, or where its summary goes; what is learned does not depend on them.
VOLATILE = ("resume", "device", "compile", "processes", "result_file", "checkpoint_minutes")


# Of RunConfig: they do nothing without an extractor.
OF_EXTRACTOR = ("layer", "feature_dims", "centre_features", "feature_source")


class Identified:
    """A configuration whose results are kept under a name that follows from it."""

    def identity(self) -> dict:
        """What decides the result: parameters that differ from their defaults, without those that only say where and
        how it is computed. A parameter that is added later, at its default, therefore renames no finished run."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        values = dataclasses.asdict(self)
        return {
            name: value for name, value in values.items() if name not in VOLATILE and value != defaults[name]
        }


@dataclasses.dataclass(frozen=True)
class RunConfig(Identified):
    """Parameters of train.ipynb: one training run."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    train_images: Count = 0
    network: Literal["koala", "pyramid"] = "koala"
    backbone: str = "efficientnet"
    weights: Weights = "auto"
    layer: Literal["logits", "features"] = "logits"
    feature_dims: Count = 0
    centre_features: bool = False
    feature_source: Literal["image", "shuffled", "zero", "category"] = "image"
    loss: Literal["mse", "crossentropy", "crossentropy_unit", "binned", "rebalanced"] = "mse"
    bins: Annotated[int, Field(ge=2, le=512)] = 50
    init: Literal["torch", "glorot", "he"] = "torch"
    start_from: str = ""
    rehearse: bool = False
    mirror: bool = False
    epochs: Epochs = 4
    batch_size: BatchSize = 64
    lr: PositiveFloat = 0.001
    schedule: Literal["steps", "cosine"] = "steps"
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    lr_step: Epochs = 2
    weight_decay: Share = 0.0
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Device = "auto"
    compile: Literal["auto", "off", "on", "graphs"] = "auto"
    fast: bool = False
    processes: Workers = 0
    resume: bool = True
    checkpoint_minutes: Minutes = 5.0
    result_file: str = ""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Parameters of data.ipynb: photographs in, one prepared data set out."""

    source: str = "photos"
    name: DataName = "photos"
    image_size: ImageSize = 64
    fit: Literal["crop", "fit"] = "crop"
    seed: Seed = 0
    keep_gray: bool = False
    workers: Workers = 0


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Parameters of features.ipynb: one extractor's outputs for one data set, computed once."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    backbone: str = "efficientnet"
    weights: Weights = "auto"
    layer: Literal["logits", "features"] = "logits"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # fp16: a run's; its extractor takes fp32
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class AnalysisConfig:
    """Parameters of analysis.ipynb: the runs of one study, side by side."""

    study: str = "demo"
    examples: Annotated[int, Field(ge=1, le=24)] = 8


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Parameters of experiment.ipynb: one experiment of a study beside the one it is compared with."""

    study: str = "demo"
    experiment: str = "3-reduced"
    examples: Annotated[int, Field(ge=1, le=24)] = 6
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """Parameters of probe.ipynb: what one run's extractor can do."""

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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", "off", "on", "graphs"] = "auto"
    device: Device = "auto"


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Identified):
    """Parameters of pretrain.ipynb: one extractor's network is taught the logits of another."""

    dataset: str = "photos"
    image_size: ImageSize = 64
    max_images: Count = 0
    teacher: str = "efficientnet"
    backbone: str = "resnet18"
    size: Count = 64
    epochs: Epochs = 3
    batch_size: BatchSize = 64
    lr: PositiveFloat = 0.001
    weight_decay: Share = 0.05
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Device = "auto"
    compile: Literal["auto", "off", "on"] = "auto"
    resume: bool = True
    checkpoint_minutes: Minutes = 5.0


@dataclasses.dataclass(frozen=True)
class ColorizeConfig:
    """Parameters of colorize.ipynb: gray (or colour) photographs in, coloured photographs out."""

    image: str = "examples"
    output: str = ""
    run: str = "auto"
    size: Annotated[int, Field(ge=0, le=4096)] = 0
    strength: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] = 1.0
    format: Literal["", "jpg", "png", "tif", "webp"] = ""
    overwrite: bool = False
    device: Device = "auto"
