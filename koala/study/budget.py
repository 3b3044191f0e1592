"""What a study costs on this machine, before it starts: steps, disk, memory and hours."""

import dataclasses
import math
import shutil
from collections.abc import Iterator

import psutil
import torch

from koala import data, extractors
from koala.data import sources
from koala.study import cost, outcomes, ready
from koala.study import plan as plans
from koala.system import device as devices
from koala.system import paths
from koala.system.errors import KoalaError

GB = 10**9
TRAIN = 0.8  # share of the photographs
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
                f"{self.steps:,} steps, extractors and what they are taught: {_roughly(self.seconds)} with all cores, by a few "
                "photographs measured now; beside other work it is more."
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
        each = measured[key] = measured.get(key) or cost.step(config, stored, device)
        trained = _used(config.train_images, int(_used(config.max_images, total) * TRAIN))
        batches = trained / config.batch_size  # the last one is not full
        steps += config.epochs * math.ceil(batches)
        seconds += config.epochs * batches * each.seconds
        memory, weights = max(memory, each.memory), max(weights, each.weights)
    if open_runs:
        seconds += sum(
            cost.extracting(values, _used(values.get("max_images"), total), device)
            for values in _to_extract(study)
        )
    for backbone in study.distill if total else ():
        if outcomes.outcome(study, f"distilled-{backbone}")["status"] != "finished":
            seconds += cost.teaching(plans.distillation(study, backbone), round(total * TRAIN), device)
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


def _to_extract(study) -> list[dict]:
    """Parameters of the extractors that have not yet run."""
    wanted = plans.extractors(study).items()
    return [
        values
        for name, values in wanted
        if outcomes.outcome(study, f"features-{name}")["status"] != "finished"
    ]


def _disk(study, total: int, stored: int) -> int:
    """Bytes for the prepared photographs, twice while they are put together, and for the extractors' features."""
    photographs = 0 if _is_prepared(study) else 2 * total * stored**2 * 3
    widths = (extractors.width(v["backbone"], v.get("layer", "logits")) for v in _to_extract(study))
    return photographs + sum(2 * total * width for width in widths)


def _free_disk() -> int:
    place = paths.home()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _roughly(seconds: float) -> str:
    """ "about 26 hours": no more digits than a few photographs can tell."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"about {float(f'{seconds / size:.2g}'):g} {unit}s"
    return "a minute or two"
