"""What the parts of a study take on this machine, measured on a few photographs of noise."""

import dataclasses
import time

import numpy as np
import torch

from koala import config as configs
from koala import extractors, losses
from koala.experiment import pipeline, pretrain
from koala.experiment.lesson import Lesson
from koala.extractors import backbones
from koala.extractors.extractor import Extractor
from koala.system import device as devices
from koala.training.batches import make_batches
from koala.training.step import Job, Trainer

LIBRARIES = 1.5e9  # host memory of a notebook's kernel with torch, and what it reads ahead
PIXELS = 2**18  # of the photographs of a measured step on a CPU: 64 at 64 pixels, 5 at 224


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one training step: seconds; bytes of memory that a run needs at least; bytes of the network's weights."""

    seconds: float
    memory: int
    weights: int


def step(config: configs.RunConfig, stored: int, device) -> Cost:
    """A step on photographs of noise: as many as a batch, or on a CPU, where large ones take long, as PIXELS holds."""
    n = config.batch_size
    if device.type == "cpu":
        n = min(n, max(4, PIXELS // config.image_size**2))
    images = np.random.default_rng(0).integers(0, 256, (n, stored, stored, 3), dtype=np.uint8)
    width = (
        0
        if config.backbone == "none"
        else config.feature_dims or extractors.width(config.backbone, config.layer)
    )
    features = None if config.network == "pyramid" else np.zeros((n, width), np.float16)
    batches = make_batches(images, features, device, config.image_size)
    loss = losses.build(config.loss, lambda: pipeline.count_colours(batches, np.arange(n)), config.bins)
    model = pipeline.make_model(config, width).to(device, memory_format=torch.channels_last)
    trainer = Trainer(Job(model, loss, batches, config, devices.pick_precision(config.precision, device)))
    batch = batches(np.arange(n))
    kept = _kept_for_backward(trainer, batch)
    seconds = _seconds(lambda: trainer.take(batch), device)
    weights = sum(p.nbytes for p in model.parameters())
    at_once = (
        config.batch_size if device.type == "cpu" else 1
    )  # a GPU that is too small takes smaller micro-batches
    memory = 4 * weights + kept * at_once // n + (LIBRARIES if device.type == "cpu" else 0)
    return Cost(seconds * config.batch_size / n, int(memory), weights)


def _kept_for_backward(trainer, batch) -> int:
    """Bytes that the forward pass keeps for the backward pass beside the weights, each storage once; takes the step that warms
    up, too."""
    kept = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in trainer.job.model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trainer.take(batch)
    return sum(kept.values())


def extracting(values: dict, total: int, device) -> float:
    """Seconds of one extractor over all photographs."""
    n = 8 if device.type == "cpu" else 64
    row = backbones.find_row(values["backbone"])
    precision = devices.pick_precision(values.get("precision", "auto"), device)
    extractor = Extractor(row, backbones.create(row), values.get("layer", "logits"), precision).to(device)
    gray = torch.rand(n, 1, row.size, row.size, device=device)
    extractor(gray)
    return _seconds(lambda: extractor(gray), device) * total / n


def teaching(values: dict, total: int, device) -> float:
    """Seconds of a distillation, its teacher's logits included, with `total` training photographs. values: pretrain.ipynb's."""
    config = configs.from_dict(configs.PretrainConfig, values)
    n = config.batch_size  # the optimizer's part of a step is not small beside that of a few photographs
    extractor = extractors.build(config.backbone, "untrained", size=config.size or None).to(device)
    images = np.random.default_rng(0).integers(0, 256, (n, config.image_size, config.image_size, 3), np.uint8)
    taught = np.zeros((n, extractors.width(config.backbone)), np.float16)
    lesson = Lesson(
        extractor,
        make_batches(images, taught, device),
        None,
        config,
        pretrain.pick_precision(config, device),
        "off",
    )
    batch = lesson.batches(np.arange(n))
    lesson.step(batch, 0, 9)  # warms up
    seconds = _seconds(lambda: lesson.step(batch, 1, 9), device)
    logits = extracting({"backbone": config.teacher, "precision": config.precision}, total, device)
    return logits + config.epochs * total * seconds / n


def _seconds(call, device) -> float:
    """The quickest of three: what else the machine does only adds."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
    return min(took)
