"""One run from its inputs to its artefacts."""

import contextlib
import dataclasses
import time
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F

from koala import bins, extractors, lab, losses, training
from koala import config as configs
from koala.experiment import artefacts, baselines, evaluate, launch, provenance, starting
from koala.experiment.inputs import Inputs, load_inputs, load_photos, split_rows
from koala.model import Koala
from koala.pyramid import Pyramid
from koala.system import device as devices
from koala.system import paths, processes
from koala.system.errors import KoalaError
from koala.training import distributed
from koala.training.batches import (
    Batches,
    Resident,
    Streamed,
    at_a_time,
    chunks,
    make_batches,
    steps_per_epoch,
)
from koala.training.step import Job, Rehearsal


def make_model(config, width: int) -> torch.nn.Module:
    """The network with its initial weights, on the CPU: the same on every device. Global random numbers stay as
    they are.

    width: of the features; a pyramid builds its extractor itself."""
    n_logits = losses.build(config.loss, n_bins=config.bins).bins
    with torch.random.fork_rng(devices=[]):
        if config.network == "pyramid":
            extractor = extractors.build(config.backbone, config.weights)
            torch.manual_seed(config.seed)
            return Pyramid(extractor, n_logits)
        torch.manual_seed(config.seed)
        return Koala(width, n_logits, config.init)


def make_job(config, inputs: Inputs, device, trains: bool = True) -> Job:
    """Network, loss and data on the device. The seed decides the initial weights; global random numbers stay as they are.

    trains: else the loss can decode alone, and the training photographs are not read for its prior."""
    batches = _batches(config, inputs, device)
    prior = (lambda: count_colours(batches, inputs.rows["train"])) if trains else None
    loss = losses.build(config.loss, prior, config.bins)
    model = make_model(config, inputs.features.shape[1]).to(device, memory_format=torch.channels_last)
    steps = config.epochs * steps_per_epoch(len(inputs.rows["train"]), config.batch_size)
    compiled = devices.pick_compile(config.compile, device, steps, config.image_size)
    return Job(model, loss, batches, config, devices.pick_precision(config.precision, device), compiled)


def _batches(config, inputs: Inputs, device) -> Batches:
    features = None if config.network == "pyramid" else inputs.features
    images, size = inputs.photos.images[: len(inputs.features)], network_size(config, inputs.photos)
    return make_batches(images, features, device, size, train=inputs.rows["train"])


def network_size(config, photos) -> int:
    """Pixels a side that the network sees: config.image_size, of which the stored size is a multiple."""
    if photos.images.shape[1] % config.image_size:
        raise KoalaError(
            f"image_size {config.image_size} does not divide the {photos.images.shape[1]} pixels of '{photos.name}'."
        )
    return config.image_size


def run(config, inputs: Inputs, device, on_epoch=None, progress=None) -> artefacts.Run | None:
    """Train and evaluate, or read back what is finished; an unfinished run goes on from its checkpoint.

    Where several GPUs are free (or config.processes asks for it), as many processes train it together; all but the first
    of them return None."""
    name = run_name(config, inputs, device)
    folder = paths.runs_dir() / name
    with _only_one(folder):
        if distributed.from_first(lambda: config.resume and artefacts.is_finished(folder)):
            print(f"run {name} is finished: reading it back (resume=false trains it again).")
            return None if distributed.rank() else artefacts.load(folder)
        if not distributed.active() and (team := devices.pick_team(config.processes, device)) > 1:
            precision = devices.pick_precision(config.precision, device)
            launch.start(dataclasses.replace(config, precision=precision), team, device, on_epoch, progress)
            return artefacts.load(folder)
        _train(config, inputs, device, folder, on_epoch, progress)
    return None if distributed.rank() else artefacts.load(folder)


def run_name(config, inputs: Inputs, device) -> str:
    """The run's id. "auto" would give bf16 and fp32 one name, so it is resolved first."""
    resolved = dataclasses.replace(config, precision=devices.pick_precision(config.precision, device))
    labels = config.feature_source == "category"
    data_hash = provenance.labelled(inputs.photos) if labels else inputs.photos.fingerprint
    weights = inputs.extractor["sha256"]
    return provenance.run_id(resolved, data_hash, weights, inputs.photos.name, starting.identity(config))


def _train(config, inputs, device, folder, on_epoch, progress) -> None:
    first, work = not distributed.rank(), artefacts.workplace(folder, config.resume)
    if first:
        precision = devices.pick_precision(config.precision, device)
        used = {**inputs.extractor, **inputs.controls}
        environment = provenance.environment(used, inputs.photos, devices.describe(device), precision)
        environment["machine"]["processes"] = distributed.size()
        environment |= starting.described(config)
        artefacts.start(config, environment, work)
    job = make_job(config, inputs, device)
    starting.begin(config, inputs, job.model)
    if config.rehearse:
        job.rehearsal = _rehearsal(starting.before(config), device)
    if first:
        print(_how(job, device))
    with devices.repeatable(config.fast), processes.keep_freed_memory():
        history = training.fit(job, inputs.rows, work, on_epoch, progress)
        if first:
            _finish(job, work, inputs, history, progress)


def _rehearsal(before: configs.RunConfig, device) -> Rehearsal:
    """The photographs that a run was trained on, as its network saw them."""
    photos = load_photos(before)
    inputs = load_inputs(before, photos, split_rows(before, photos), device)
    return Rehearsal(_batches(before, inputs, device), inputs.rows["train"])


def _how(job, device) -> str:
    """What `auto` has been resolved to, in one line."""
    kinds = {Streamed: "streamed", Resident: "for training resident"}
    where = kinds.get(type(job.batches.images), "resident")
    team = f", {distributed.size()} processes" if distributed.active() else ""
    return f"{devices.describe(device)}{team}; precision {job.precision}; compile {job.compiled}; photographs {where}"


def reopen(run: artefacts.Run, device) -> tuple[Inputs, Job]:
    """A finished run's inputs and its job with the trained network.

    Raises KoalaError where it has no extractor that gives one vector, where its network is not here, or where its data or its
    extractor's weights are no longer the same."""
    config = run.resolved
    if config.backbone == "none" or config.network == "pyramid":
        raise KoalaError(
            f"{run.folder.name} has no extractor with one vector to look into: name an experiment that has one."
        )
    photos = load_photos(config)
    run.check_photographs(photos)
    if not (run.folder / "model.safetensors").exists():
        raise KoalaError(f"{run.folder.name}: its network is not here, only its numbers: train it first.")
    inputs = load_inputs(config, photos, split_rows(config, photos), device)
    run.check_extractor(inputs.extractor)
    return inputs, trained_job(run, inputs, device)


def trained_job(run: artefacts.Run, inputs: Inputs, device) -> Job:
    """The job of a finished run with its trained network; its inputs, or other photographs with features like its own."""
    job = make_job(run.resolved, inputs, device, trains=False)
    job.model.load_state_dict(safetensors.torch.load_file(run.folder / "model.safetensors"))
    return job


def _finish(job, folder, inputs, history, progress) -> None:
    rows, photos, started = inputs.rows, inputs.photos, time.monotonic()
    table = evaluate.per_image(job, rows["test"], photos.files, progress)
    trivial = baselines.table(job.batches, rows, photos.files, photos.fingerprint, inputs.features, progress)
    selections = {"drawn": evaluate.drawn(rows["test"]), **evaluate.ranked(table)}
    table = pd.concat([table, trivial], ignore_index=True)
    pictures = {f"{name}_rows": members for name, members in selections.items()}
    pictures |= {name: evaluate.coloured(job, members) for name, members in selections.items()}
    summary = {
        "train_seconds": round(job.seconds, 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "train_photographs_per_second": round(
            len(rows["train"]) * job.config.epochs * (1 + job.config.rehearse) / max(job.seconds, 1e-9), 1
        ),
        "photographs": {split: len(members) for split, members in rows.items()},
        "last_val_loss": history[-1]["val_loss"],
        "micro_batch": job.micro_batch,
        "test": {method: values.to_dict() for method, values in artefacts.means(table).iterrows()},
    }
    artefacts.finish(folder, job.model, history, table, pictures, summary)


def count_colours(batches: Batches, train_rows) -> torch.Tensor:
    """The number of training targets (means of 2x2 pixels) in each cell of the a*b* gamut, (Q,)."""
    parts = batches.load(list(chunks(train_rows, at_a_time(batches.images))))
    return sum(bins.count_bins(F.avg_pool2d(lab.rgb_to_lab(rgb)[:, 1:], 2)) for rgb, _ in parts)


def write_result(config, run: artefacts.Run) -> None:
    """The run's summary at config.result_file, where a study looks for it."""
    if config.result_file:
        weights = {key: run.env["weights"].get(key) for key in ("weights", "trained", "sha256")}
        paths.write_json(config.result_file, {**run.result, "config": run.config, "weights": weights})


def _only_one(folder: Path):
    """The run's lock; of a team that trains together, the first process holds it."""
    return (
        contextlib.nullcontext() if distributed.rank() or distributed.launched() else artefacts.locked(folder)
    )
