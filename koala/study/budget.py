"""What a study costs on this machine, before it starts: steps, disk, memory and hours, measured on a few photographs."""

import dataclasses
import math
import shutil
import time
from collections.abc import Iterator

import numpy as np
import psutil
import torch

from koala import config as configs
from koala import data, extractors, losses
from koala.data import sources
from koala.experiment import pipeline
from koala.extractors import backbones
from koala.extractors.extractor import Extractor
from koala.study import outcomes, ready
from koala.study import plan as plans
from koala.system import device as devices
from koala.system import paths
from koala.system.errors import KoalaError
from koala.training.batches import make_batches
from koala.training.step import Job, Trainer

GB = 10**9
TRAIN = 0.8  # share of the photographs
LIBRARIES = 1.5 * GB  # host memory of a notebook's kernel with torch, and what it reads ahead
PIXELS = 2**18  # of the photographs of a measured step on a CPU: 64 at 64 pixels, 5 at 224
COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz")


@dataclasses.dataclass(frozen=True)
class Budget:
    """photographs: how many are used at most; 0 where only preparing them tells. steps and seconds: of what is not yet
    finished; seconds of training and of the extractors. disk and memory: bytes."""

    runs: int
    finished: int
    photographs: int
    steps: int
    seconds: float
    disk: int
    memory: int
    device: str
    disk_free: int
    memory_free: int

    def lines(self) -> Iterator[str]:
        known = f"{self.photographs:,}" if self.photographs else "a number, known once they are prepared, of"
        yield f"{self.runs} runs ({self.finished} finished) on {known} photographs; {self.device}."
        yield (
            f"Disk: {self.disk / GB:.1f} GB more, {self.disk_free / GB:.1f} GB are free. "
            f"Memory: {self.memory / GB:.1f} GB a run, {self.memory_free / GB:.1f} GB are available."
        )
        if self.steps:
            yield (
                f"{self.steps:,} steps and the extractors: {_roughly(self.seconds)} with all cores, by a few photographs "
                "measured now; beside other work it is more."
            )

    def check(self) -> None:
        """Raises KoalaError where the study does not fit this machine."""
        for what, needed, free, remedy in (
            ("GB of disk", self.disk, self.disk_free, "free some, or name another place in KOALA_HOME"),
            ("GB of memory", self.memory, self.memory_free, "use a smaller batch_size or image_size"),
        ):
            if needed > free:
                raise KoalaError(
                    f"this study needs {needed / GB:.1f} {what}, and {free / GB:.1f} are there: {remedy}."
                )


def estimate(study: plans.Study, device: torch.device) -> Budget:
    """The budget of a study that can start (koala.study.ready)."""
    runs = ready.configurations(study)
    ends = {(row["experiment"], row["seed"]): row["status"] for row in outcomes.results(study)}
    open_runs = [config for run, config in runs.items() if ends[run] != "finished"]
    total, stored = count(study), study.data["image_size"]
    steps, seconds, memory, weights = 0, 0.0, 0, 0
    measured = {}
    for config in open_runs:
        key = (config.network, config.loss, config.image_size, config.batch_size, config.precision)
        key += (config.backbone,) if config.network == "pyramid" else ()
        cost = measured[key] = measured.get(key) or _step(config, stored, device)
        batches = _used(config.max_images, total) * TRAIN / config.batch_size  # the last one is not full
        steps += config.epochs * math.ceil(batches)
        seconds += config.epochs * batches * cost.seconds
        memory, weights = max(memory, cost.memory), max(weights, cost.weights)
    if open_runs:
        seconds += sum(
            _extracting(values, _used(values.get("max_images"), total), device)
            for values in plans.extractors(study).values()
        )
    teams = max(1, torch.cuda.device_count()) if device.type == "cuda" else 1
    return Budget(
        len(runs),
        len(runs) - len(open_runs),
        max((_used(config.max_images, total) for config in runs.values()), default=0),
        steps,
        seconds / teams,
        _disk(study, total, stored) + len(open_runs) * weights + 9 * weights * bool(open_runs),
        memory,
        devices.describe(device),
        _free_disk(),
        torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available,
    )


def count(study: plans.Study) -> int:
    """Photographs of a study's data: those that are prepared, else the files that look like some; 0 where it takes too
    long to know (compressed archives, what is still to be fetched)."""
    name, source = plans.dataset(study.data), study.data.get("source", "photos")
    if _is_prepared(study):
        return len(data.load(name))
    if ready.to_fetch(study):
        return 0
    places = [str(place) for place in sources.expand(source)]
    if any(place.lower().endswith(COMPRESSED) for place in places):
        return 0
    return sum(
        not entry.problem and (source == "photos" or entry.path.lower().endswith(sources.IMAGES))
        for entry in sources.entries(source)
    )


def _is_prepared(study) -> bool:
    name = plans.dataset(study.data)
    try:
        return data.load(name).images.shape[1] == study.data["image_size"]
    except KoalaError:
        return False


def _used(most: int | None, total: int) -> int:
    return min(most or total, total)


def _disk(study, total: int, stored: int) -> int:
    """Bytes for the prepared photographs, twice while they are put together, and for the extractors' features."""
    photographs = 0 if _is_prepared(study) else 2 * total * stored**2 * 3
    widths = (
        extractors.width(v["backbone"], v.get("layer", "logits")) for v in plans.extractors(study).values()
    )
    return photographs + sum(2 * total * width for width in widths)


def _free_disk() -> int:
    place = paths.home()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one training step: seconds; bytes of memory that a run needs at least; bytes of the network's weights."""

    seconds: float
    memory: int
    weights: int


def _step(config: configs.RunConfig, stored: int, device) -> Cost:
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


def _extracting(values: dict, total: int, device) -> float:
    """Seconds of one extractor over all photographs."""
    n = 8 if device.type == "cpu" else 64
    row = backbones.find_row(values["backbone"])
    precision = devices.pick_precision(values.get("precision", "auto"), device)
    extractor = Extractor(row, backbones.create(row), values.get("layer", "logits"), precision).to(device)
    gray = torch.rand(n, 1, row.size, row.size, device=device)
    extractor(gray)
    return _seconds(lambda: extractor(gray), device) * total / n


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


def _roughly(seconds: float) -> str:
    """ "about 26 hours": no more digits than a few photographs can tell."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"about {float(f'{seconds / size:.2g}'):g} {unit}s"
    return "a minute or two"
