"""How fast a training step is: the engine against the literal step, change by change, and against the machine itself.

Every ratio comes from one run: the variants take turns, round by round, so that other load affects all of them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from koala import config as configs
from koala import data, extractors, lab, losses
from koala.experiment import literal, pipeline
from koala.experiment.machine import count_flop, forget_peak, peak, peak_memory, seconds_of, wait
from koala.system import device as devices
from koala.system import processes
from koala.training.batches import make_batches
from koala.training.step import Job, Trainer

PAPER = 84_313 * 20  # photographs of the report's training: 20 epochs of its training split


@dataclass(frozen=True)
class Variant:
    """A way to take the training step; each of `variants` changes one thing of the one before."""

    name: str
    extract: bool = True  # the extractor runs in every step
    skimage: bool = True  # Lab by scikit-image, one photograph at a time, on the CPU
    linear: bool = False  # the embedding enters as a linear term instead of a concatenation
    half: bool = False  # the loss is taken at half resolution
    channels_last: bool = False
    fused: bool = False  # fused Adam
    kept: bool = False  # freed host memory is used again
    precision: str = "fp32"
    compiled: str = "off"


def variants(device: torch.device) -> list[Variant]:
    """The literal step and the engine's changes, cumulative."""
    lines = [Variant("literal: extractor, Lab, concatenation, fp32")]
    changes = [
        ("features cached", {"extract": False}),
        ("Lab in batches", {"skimage": False}),
        ("linear fusion", {"linear": True}),
        ("half-resolution loss", {"half": True}),
        ("channels_last", {"channels_last": True}),
        ("fused Adam", {"fused": True}),
        *([("freed memory kept", {"kept": True})] if device.type == "cpu" else []),
        *([] if devices.emulates_bf16(device) else [("bf16 autocast", {"precision": "bf16"})]),
    ]
    if devices.can_compile(device):
        changes.append(("torch.compile", {"compiled": "on"}))
        changes += [("CUDA graphs", {"compiled": "graphs"})] if device.type == "cuda" else []
    for name, change in changes:
        lines.append(replace(lines[-1], name=f"+ {name}", **change))
    return lines


def photographs(dataset: str, image_size: int, count: int) -> np.ndarray:
    """(count, S, S, 3) uint8, real ones, repeated where the data set has fewer."""
    images = data.find(dataset, image_size).images
    return np.asarray(images[np.arange(count) % len(images)])


def build(variant: Variant, images: np.ndarray, extractor, device: torch.device):
    """A function that takes one training step on all `images` (n,S,S,3), and the network that it trains."""
    model = pipeline.make_model(configs.RunConfig(), 1000)
    model = model if variant.linear else literal.LiteralKoala(model)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    model = model.to(device, memory_format=layout).train()
    features = (
        torch.randn(len(images), 1000, generator=torch.Generator().manual_seed(0)).numpy().astype(np.float16)
    )
    batches, rows = make_batches(images, features, device), np.arange(len(images))
    if variant.half:
        return _engine(variant, model, batches, rows), model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=False)

    def step():
        rgb, vectors = batches(rows)
        L_norm, ab_norm = literal.training_pair(images) if variant.skimage else lab.training_pair(rgb)
        if variant.extract:
            vectors = extractor(lab.luma(rgb))
        optimizer.zero_grad(set_to_none=True)
        literal.mean_squared_error(model(L_norm.to(device), vectors), ab_norm.to(device)).backward()
        optimizer.step()

    return step, model


def _engine(variant, model, batches, rows) -> Callable[[], None]:
    """koala.training.step's own step; without `fused` with Adam's plain loop."""
    job = Job(
        model,
        losses.build("mse"),
        batches,
        configs.RunConfig(batch_size=len(rows)),
        variant.precision,
        variant.compiled,
    )
    trainer = Trainer(job)
    if not variant.fused:
        trainer.optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    return lambda: trainer.take(batches(rows))


def measure(
    dataset: str,
    image_size: int,
    batch_size: int,
    rounds: int,
    backbone: str,
    device: torch.device,
    progress=None,
) -> list[dict]:
    """One dict per variant: variant, ms (median per photograph), times (median over the rounds of literal / variant),
    lowest, highest, and on a GPU its peak MiB."""
    images = photographs(dataset, image_size, batch_size)
    extractor = extractors.build(backbone, "untrained").to(device)
    lines, taken = variants(device), []
    with devices.repeatable():
        steps = [build(line, images, extractor, device)[0] for line in lines]
        peaks = [_warm(step, device) for step in steps]
        for number in range(rounds):
            pairs = zip(lines, steps, strict=True)
            taken.append([_turn(line, step, device) / batch_size for line, step in pairs])
            if progress:
                progress(number + 1, rounds, f"{image_size} px")
    seconds = np.array(taken)  # (rounds, variants)
    ratios = seconds[:, :1] / seconds
    return [
        {
            "variant": line.name,
            "ms": float(np.median(seconds[:, i]) * 1e3),
            "times": float(np.median(ratios[:, i])),
            "lowest": float(ratios[:, i].min()),
            "highest": float(ratios[:, i].max()),
        }
        | ({"peak MiB": peaks[i]} if peaks[i] else {})
        for i, line in enumerate(lines)
    ]


def _turn(line, step, device) -> float:
    """`seconds_of` a step; with line.kept after one step that allocates the memory which is then reused."""
    if not line.kept:
        return seconds_of(step, device)
    with processes.keep_freed_memory():
        step()
        return seconds_of(step, device)


def _warm(step, device) -> float | None:
    """Two calls (compilation, caches); their peak GPU memory in MiB."""
    forget_peak(device)
    for _ in range(2):
        step()
    wait(device)
    return peak_memory(device) if device.type == "cuda" else None


def sustained(
    dataset: str,
    image_size: int,
    batch_size: int,
    steps: int,
    precision: str,
    compiled: str,
    device,
    progress=None,
) -> dict:
    """The engine as a run uses it, over `steps` steps of photographs chosen at random.

    per_second: photographs; paper_hours: of the report's 84,313 x 20 photographs at this rate (None below 200 steps);
    gflop: of one photograph's training step; share: of `peak`'s matrix product in the same precision."""
    forget_peak(device)
    images = photographs(dataset, image_size, max(batch_size, 512))
    batches = make_batches(images, np.zeros((len(images), 1000), np.float16), device)
    config = configs.RunConfig(image_size=image_size, batch_size=batch_size)
    model = pipeline.make_model(config, 1000).to(device, memory_format=torch.channels_last).train()
    precision = devices.pick_precision(precision, device)
    compiled = devices.pick_compile(compiled, device, PAPER // batch_size, image_size)
    job = Job(model, losses.build("mse"), batches, config, precision, compiled)
    trainer, rng = Trainer(job), np.random.default_rng(0)
    pieces = [rng.integers(0, len(images), batch_size) for _ in range(steps)]
    with devices.repeatable(), processes.keep_freed_memory():
        flop = count_flop(job, pieces[0][:1])
        for batch in batches.load(pieces[:3]):
            trainer.take(batch)
        wait(device)
        start = time.perf_counter()
        for number, batch in enumerate(batches.load(pieces)):
            trainer.take(batch)
            if progress:
                progress((number + 1) * batch_size, steps * batch_size, f"{image_size} px, {precision}")
        wait(device)
        rate, held = steps * batch_size / (time.perf_counter() - start), peak_memory(device)
        most = peak(device, precision)
    return {
        "image_size": image_size,
        "batch_size": batch_size,
        "precision": precision,
        "compile": compiled,
        "steps": steps,
        "per_second": rate,
        "gflop": flop / 1e9,
        "share": flop * rate / most,
        "paper_hours": PAPER / rate / 3600 if steps >= 200 else None,
        "peak MiB": held,
    }
