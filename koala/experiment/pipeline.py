"""One run from its configuration to its artefacts: what train.ipynb does between its pictures."""

import contextlib
import dataclasses
import fcntl
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

from koala import bins, data, extractors, lab, losses, training
from koala import config as configs
from koala.data import SPLITS
from koala.experiment import artefacts, evaluate, launch
from koala.extractors import controls
from koala.model import Koala
from koala.system import device as devices
from koala.system import paths, processes
from koala.system.errors import KoalaError
from koala.training import distributed
from koala.training.batches import Batches, Streamed, at_a_time, chunks, make_batches
from koala.training.step import Job

# What a parameter takes to count: elsewhere it would do nothing, and the same run would be trained again under a new name.
COUNTS = {
    "layer": ("backbone", lambda config: config.backbone != "none"),
    "feature_dims": ("backbone", lambda config: config.backbone != "none"),
    "feature_source": ("backbone", lambda config: config.backbone != "none"),
    "feature_reduction": ("feature_dims", lambda config: config.feature_dims > 0),
    "bins": ("loss", lambda config: config.loss == "binned"),
    "neighbours": ("loss", lambda config: config.loss in ("binned", "rebalanced")),
    "sigma": ("loss", lambda config: config.loss == "rebalanced"),
    "rebalance": ("loss", lambda config: config.loss == "rebalanced"),
    "decode": ("loss", lambda config: config.loss in ("binned", "rebalanced")),
    "temperature": (
        "loss",
        lambda config: config.loss in ("binned", "rebalanced") and config.decode == "annealed",
    ),
}


def check(config) -> None:
    """What a run's configuration can be refused for before any photograph is read. Raises KoalaError."""
    width = extractors.width(config.backbone, config.layer)
    make_loss(config)
    for name, (cause, counts) in COUNTS.items():
        if getattr(config, name) != getattr(configs.RunConfig, name) and not counts(config):
            raise KoalaError(
                f"parameter '{name}' does nothing with {cause}={getattr(config, cause)}: leave it out, or change {cause}."
            )
    if config.backbone != "none" and config.feature_dims > width:
        raise KoalaError(
            f"parameter 'feature_dims' must be at most {width}, the width of {config.backbone}, not {config.feature_dims}."
        )


def load_photos(config, progress=None) -> data.Photos:
    """The prepared data set that `config.dataset` names, prepared now if need be. A wrong backbone stops here first."""
    extractors.width(config.backbone, config.layer)  # raises KoalaError
    return data.find(config.dataset, config.image_size, progress=progress)


def split_rows(config, photos) -> dict[str, np.ndarray]:
    """Row numbers of train, val and test among the first max_images rows (all where it is 0)."""
    count = min(config.max_images or len(photos.files), len(photos.files))
    rows = {split: photos.rows(split, count) for split in SPLITS}
    for split, members in rows.items():
        if not len(members):
            raise KoalaError(
                f"max_images={config.max_images} leaves no photograph in the {split} split of '{photos.name}': use more."
            )
    return rows


def load_features(config, photos, rows, device, progress=None) -> tuple[np.ndarray, dict, dict]:
    """(matrix (n, D) float16 in row order, what the extractor was, what the controls did to its output)."""
    outputs, info = _outputs(config, photos, rows, device, progress)
    if config.backbone == "none":
        return outputs, info, {}
    matrix, chosen = controls.apply(
        outputs,
        rows,
        config.feature_source,
        config.feature_dims,
        config.feature_reduction,
        config.seed,
        _categories(photos, outputs),
    )
    return matrix, info, chosen


def load_mirrored(config, photos, rows, chosen, device, progress=None) -> np.ndarray | None:
    """The matrix of `load_features` for the mirrored photographs, where the run mirrors and has an extractor."""
    if not config.flip or config.backbone == "none":
        return None
    outputs, _ = _outputs(config, photos, rows, device, progress, mirrored=True)
    return controls.repeat(outputs, rows, chosen, config.seed, _categories(photos, outputs))


def _categories(photos, outputs) -> np.ndarray:
    """(n,) the categories of the photographs that have outputs."""
    return photos.files["category"].to_numpy()[: len(outputs)]


def _outputs(config, photos, rows, device, progress, mirrored=False) -> tuple[np.ndarray, dict]:
    """The extractor's outputs (n, D) float16 up to the last row that the run uses, and what the extractor was."""
    count = 1 + max(members.max() for members in rows.values())
    cached = extractors.compute(
        photos,
        config.backbone,
        config.weights,
        count,
        config.layer,
        device,
        progress=progress,
        mirrored=mirrored,
    )
    return cached.array[:count], cached.info


def make_model(config, width: int) -> Koala:
    """The network with its first weights, on the CPU: the same on every device. Nothing outside is seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Koala(width, make_loss(config).bins, config.init)


def make_job(config, photos, rows, matrix, device, mirrored=None) -> Job:
    """Network, loss and data on the device. The seed decides the weights, and nothing outside is disturbed."""
    given = make_batches(photos.images[: len(matrix)], matrix, device, mirrored)
    loss = make_loss(config, lambda: count_colours(given, rows["train"]))
    model = make_model(config, matrix.shape[1]).to(device, memory_format=torch.channels_last)
    steps = config.epochs * -(-len(rows["train"]) // config.batch_size)
    compiled = devices.pick_compile(config.compile, device, steps, config.image_size)
    return Job(model, loss, given, config, devices.pick_precision(config.precision, device), compiled)


def run(config, photos, rows, matrix, info, chosen, device, on_epoch=None, progress=None) -> artefacts.Run:
    """Train and evaluate, or read back what is finished; an unfinished run goes on from its checkpoint.

    Where several GPUs are free (or config.processes asks for it), as many processes train it together."""
    precision = devices.pick_precision(config.precision, device)
    resolved = dataclasses.replace(config, precision=precision)  # "auto" would give bf16 and fp32 one name
    data_hash = artefacts.labelled(photos) if config.feature_source == "category" else photos.fingerprint
    name = artefacts.run_id(resolved, data_hash, info["sha256"], photos.name)
    folder = paths.runs_dir() / name
    with _only_one(folder):
        if distributed.from_first(lambda: config.resume and artefacts.is_finished(folder)):
            print(f"run {name} is finished: reading it back (resume=false trains it again).")
            return artefacts.load(folder)
        if not distributed.active() and (team := devices.pick_team(config.processes, device)) > 1:
            launch.start(resolved, team, device, on_epoch, progress)
            return artefacts.load(folder)
        environment = artefacts.environment({**info, **chosen}, photos, devices.describe(device), precision)
        environment["machine"]["processes"] = distributed.size()
        work = artefacts.workplace(folder, config.resume)
        if not distributed.rank():
            artefacts.start(config, environment, work)
        mirrored = load_mirrored(config, photos, rows, chosen, device, progress)
        job = make_job(config, photos, rows, matrix, device, mirrored)
        if not distributed.rank():
            print(_how(job, device))
        with devices.repeatable(), processes.kept():
            history = training.fit(job, rows, work, on_epoch, progress)
            if not distributed.rank():
                _finish(job, work, photos, rows, history, progress)
    return None if distributed.rank() else artefacts.load(folder)


def _how(job, device) -> str:
    """What `auto` came to, in one line."""
    where = "streamed" if isinstance(job.batches.images, Streamed) else "resident"
    team = f", {distributed.size()} processes" if distributed.active() else ""
    return f"{devices.describe(device)}{team}; precision {job.precision}; compile {job.compiled}; photographs {where}"


def reopen(run: artefacts.Run, device):
    """(photos, rows, matrix, job) of a finished run: its data, its features (n,D) and its trained network.

    Raises KoalaError where it has no extractor, or where its data or its extractor's weights are no longer the same."""
    config = configs.from_dict(configs.RunConfig, run.config)
    if config.backbone == "none":
        raise KoalaError(f"{run.folder.name} has no extractor to look into: name an experiment that has one.")
    if not run.env["weights"]["trained"]:
        config = dataclasses.replace(
            config, weights="untrained"
        )  # also where auto would find trained ones by now
    photos = load_photos(config)
    rows = split_rows(config, photos)
    matrix, info, _ = load_features(config, photos, rows, device)
    if photos.fingerprint != run.env["data"]["fingerprint"] or info["sha256"] != run.env["weights"]["sha256"]:
        raise KoalaError(
            f"{run.folder.name}: its photographs or its extractor's weights are not those it was trained with; train it again."
        )
    job = make_job(config, photos, rows, matrix, device)
    job.model.load_state_dict(safetensors.torch.load_file(run.folder / "model.safetensors"))
    return photos, rows, matrix, job


def _finish(job, folder, photos, rows, history, progress) -> None:
    baselines = evaluate.fit_baselines(job, rows["train"])
    started = time.monotonic()
    table = evaluate.per_image(job, rows["test"], photos.files, baselines, progress)
    selections = {"drawn": evaluate.drawn(rows["test"]), **evaluate.ranked(table)}
    pictures = {f"{name}_rows": members for name, members in selections.items()}
    pictures |= {name: evaluate.pictures(job, members) for name, members in selections.items()}
    summary = {
        "train_seconds": round(job.seconds, 1),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "train_photographs_per_second": round(
            len(rows["train"]) * job.config.epochs / max(job.seconds, 1e-9), 1
        ),
        "photographs": {split: len(members) for split, members in rows.items()},
        "last_val_loss": history[-1]["val_loss"],
        "micro_batch": job.micro_batch or job.config.batch_size,
        "test": {method: values.to_dict() for method, values in artefacts.means(table).iterrows()},
    }
    artefacts.finish(folder, job.model, history, table, pictures, summary)


def make_loss(config, histogram=None) -> losses.Loss:
    """The loss that `config` names; histogram() is called where it weighs classes by the training split's colours.

    Without histogram such a loss can decode, but not train."""
    parameters = {
        "n_bins": config.bins,
        "sigma": config.sigma,
        "neighbours": config.neighbours,
        "lam": config.rebalance,
        "temperature": config.temperature,
        "decode": config.decode,
    }
    loss = losses.build(config.loss, **parameters)
    if loss.needs_prior and histogram:
        return losses.build(config.loss, prior=histogram(), **parameters)
    return loss


def count_colours(given: Batches, train_rows) -> torch.Tensor:
    """How many training targets (means of 2x2 pixels) fall into each cell of the a*b* gamut, (Q,)."""
    parts = chunks(train_rows, at_a_time(given.images))
    targets = (F.avg_pool2d(lab.rgb_to_lab(given(part)[0])[:, 1:], 2) for part in parts)
    return sum(bins.count_bins(ab) for ab in targets)


def write_result(config, run: artefacts.Run) -> None:
    """The run's summary at config.result_file, where a study looks for it."""
    if config.result_file:
        weights = {key: run.env["weights"].get(key) for key in ("weights", "trained", "sha256")}
        paths.write_json(config.result_file, {**run.result, "config": run.config, "weights": weights})


@contextlib.contextmanager
def _only_one(folder: Path):
    """Two processes never train the same run: the second waits, and then reads the first one's back. Of a team that
    trains together, the first locks."""
    if distributed.rank() or distributed.launched():
        yield
        return
    with paths.open_lock(folder / ".lock") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"run {folder.name} is being trained by another process: waiting for it.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(".*.tmp"):  # of a process that was killed while writing
            left.unlink()
        yield
