"""An extractor without a hub: its network learns another extractor's logits ("distilled here").

The pupil sees gray photographs of the training split alone and learns all 1,000 logits that the teacher, whose ImageNet
weights come with a package, gives for them (Hinton, Vinyals & Dean 2015). A study on the same data set with the same
split thus uses features of photographs that its pupil was not trained on. It is never called an ImageNet network.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from koala import extractors
from koala.experiment import artefacts, inputs, provenance
from koala.experiment.lesson import Lesson, agreement, fit
from koala.extractors import classes, quantize, untrained
from koala.extractors.backbones import classifier_of
from koala.extractors.weights import distilled_file
from koala.system import device as devices
from koala.system import paths, processes
from koala.system.errors import KoalaError
from koala.training.batches import make_batches, steps_per_epoch

RECIPE = 3  # raise it where the same settings would give another pupil


def teach(config, photos, rows, device, progress=None) -> extractors.Features:
    """The teacher's logits of all photographs that are used, from the cache or computed now.

    Raises KoalaError where the teacher is untrained or has other logits than the pupil."""
    if extractors.width(config.teacher) != extractors.width(config.backbone):
        raise KoalaError(
            f"teacher '{config.teacher}' and backbone '{config.backbone}' have different logits."
        )
    return extractors.compute(
        photos,
        config.teacher,
        "imagenet",
        inputs.used(rows),
        device=device,
        progress=progress,
        precision=pick_precision(config, device),
    )


def pick_precision(config, device) -> str:
    """fp32 where `auto` means fp16: a lesson's loss is not scaled."""
    picked = devices.pick_precision(config.precision, device)
    return "fp32" if picked == "fp16" else picked


def run(config, photos, rows, device, on_epoch=None, progress=None) -> dict:
    """Train, measure and write runs/RUN_ID/, or read back what is finished; returns result.json with its folder.

    weights.safetensors holds the network in 8 bits a weight; a copy goes where `-p weights distilled` looks for it."""
    taught = teach(config, photos, rows, device, progress)
    extractor = extractors.build(config.backbone, "untrained", size=config.size or None).to(device)
    precision = pick_precision(config, device)
    resolved = dataclasses.replace(config, precision=precision)
    hashes = f"{RECIPE} {extractor.info['sha256']} {taught.info['sha256']}"
    folder = paths.runs_dir() / provenance.run_id(resolved, photos.fingerprint, hashes, photos.name)
    with artefacts.locked(folder):
        if not (config.resume and artefacts.is_finished(folder)):
            lesson = _lesson(config, photos, taught, rows, extractor, device, precision)
            _train(
                lesson, photos, taught, rows, artefacts.workplace(folder, config.resume), on_epoch, progress
            )
        _publish(folder, config.backbone)
    return paths.read_json(folder / "result.json") | {
        "folder": folder,
        "history": pd.read_csv(folder / "history.csv"),
    }


def _train(lesson, photos, taught, rows, work, on_epoch, progress) -> None:
    info, device = lesson.extractor.info, devices.describe(lesson.batches.device)
    environment = provenance.environment(info, photos, device, lesson.precision)
    artefacts.start(lesson.config, environment | {"teacher": taught.info}, work)
    print(
        f"{device}; precision {lesson.precision}; compile {lesson.compiled}; {lesson.extractor.row.size} px"
    )
    with devices.repeatable(), processes.keep_freed_memory():
        history = fit(lesson, rows, work, on_epoch, progress)
        _finish(lesson, work, rows, history, photos.fingerprint)


def begin(extractor: extractors.Extractor, logits: torch.Tensor) -> None:
    """Let a network answer every photograph with the same logits (K,), in place: its classifier's weights are 0.

    A classifier of random weights says something at random about each photograph, and dropout adds more. In its third epoch
    Inception-v3 had a training loss of 0.91 with it, and begun so of 0.72; a constant answer has 0.93."""
    row, net = extractor.row, extractor.net
    with torch.no_grad():
        for layer in untrained.last_layers(classifier_of(row, net), row.logits):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.copy_(logits)


def _lesson(config, photos, taught, rows, extractor, device, precision) -> Lesson:
    count = inputs.used(rows)
    begin(extractor, torch.from_numpy(taught.array[rows["train"]].mean(0, dtype=np.float64)))
    batches = make_batches(photos.images[:count], taught.array[:count], device)
    labels = classes.of(photos.files["category"])
    steps = config.epochs * steps_per_epoch(len(rows["train"]), config.batch_size)
    compiled = devices.pick_compile(config.compile, device, steps, extractor.row.size)
    return Lesson(
        extractor,
        batches,
        None if labels is None else torch.from_numpy(labels).to(device),
        config,
        precision,
        "on" if compiled == "graphs" else compiled,
    )


def _finish(lesson, folder, rows, history, fingerprint) -> None:
    """Measure the network as trained and as packed on the test split, and write both measures with the packed weights."""
    whole = agreement(lesson, rows["test"])
    packed = quantize.quantize({name: value.cpu() for name, value in lesson.net.state_dict().items()})
    lesson.net.load_state_dict(quantize.dequantize(packed))
    measured = agreement(lesson, rows["test"])
    note = {
        "backbone": lesson.config.backbone,
        "size": lesson.extractor.row.size,
        "data": fingerprint,
        "teacher": lesson.config.teacher,
        "test": measured,
    }
    stored = safetensors.torch.save(packed, {"koala": json.dumps(note)})
    paths.write_bytes(folder / "weights.safetensors", stored)
    paths.write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
    summary = {
        "test": {"in 8 bits": measured, "as trained": whole},
        "photographs": {split: len(members) for split, members in rows.items()},
    }
    artefacts.seal(folder, ("config.json", "env.json", "history.csv", "weights.safetensors"), summary)


def _publish(folder, backbone: str) -> None:
    target = distilled_file(backbone)
    data = (folder / "weights.safetensors").read_bytes()
    if not target.exists() or target.read_bytes() != data:
        paths.write_bytes(target, data)
