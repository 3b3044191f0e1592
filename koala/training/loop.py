"""The training loop: it can be stopped and resumed at any moment, with the same bits as a result.

Nothing random is carried over between steps: the order of an epoch follows from (seed, epoch) and the learning rate
from the position, so a state is only weights, optimizer, position and the sums so far.
"""

import contextlib
import math
import signal
import time

import numpy as np
import torch

from koala import lab, model
from koala.system.errors import KoalaError
from koala.training import checkpoint, distributed
from koala.training.batches import at_a_time, chunks, steps_per_epoch
from koala.training.step import Job, Trainer, deal, mean_loss

WARM_UP = 0.05  # share of the steps in which the cosine schedule rises
TERMS = 64  # validation photographs whose fusion terms go into the history


def learning_rate(config, step: int, per_epoch: int) -> float:
    """The learning rate of a step (counted from 0 over the whole run) where an epoch has `per_epoch` steps.

    schedule "steps": config.lr, multiplied by config.lr_decay every config.lr_step epochs. "cosine": see `cosine`."""
    if config.schedule == "cosine":
        return cosine(config.lr, step, config.epochs * per_epoch)
    return config.lr * config.lr_decay ** (step // per_epoch // config.lr_step)


def cosine(highest: float, step: int, steps: int) -> float:
    """Up to `highest` over the first WARM_UP of the steps, then down to 0 as a half cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return highest * (step + 1) / warm
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def epoch_order(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The training rows in the order of this epoch: a permutation that (seed, epoch) alone decide."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def mirrored_rows(count: int, config, epoch: int) -> np.ndarray | None:
    """(count,) bool: which photographs are mirrored, half of them by (seed, epoch); None without config.mirror."""
    if not config.mirror:
        return None
    return np.random.default_rng([config.seed, epoch, 1]).integers(0, 2, count, dtype=bool)


def fit(job: Job, rows: dict, folder, on_epoch=None, progress=None) -> list[dict]:
    """Train to config.epochs; returns the history, a row per epoch: epoch, lr, train_loss, val_loss and the fusion's terms.

    rows: row numbers of "train" and "validation". folder: where checkpoints go; with config.resume a good one there is
    continued. on_epoch(history) after each epoch; progress(photographs so far, in the epoch, text) at every step.
    train_loss is the mean over the epoch while the weights move, val_loss the mean afterwards, both per photograph.
    SIGTERM or an interrupt writes a checkpoint and raises KoalaError: the same call goes on from there.
    """
    config, trainer = job.config, Trainer(job)
    state = (_restore(trainer, folder) if config.resume else None) or fresh()
    if state["epoch"] < config.epochs and (distributed.active() or job.compiled != "off"):
        mine, _ = distributed.share(rows["train"][: config.batch_size])
        trainer.warm_up(job.batches(mine))
    return run_epochs(
        config,
        state,
        steps=lambda: _steps(trainer, rows["train"], state, progress),
        record=lambda: _record(job, rows, state),
        save=lambda: _save(trainer, folder, state),
        on_epoch=on_epoch,
    )


def run_epochs(config, state: dict, steps, record, save, on_epoch=None) -> list[dict]:
    """Go on from `state` (`fresh`, or a checkpoint's) to config.epochs; returns the history.

    steps() takes one step of the epoch per iteration and counts it in state; record() -> the history's line of an epoch that
    has ended; save() writes a checkpoint: every config.checkpoint_minutes, after each epoch, and when a signal asks to stop."""
    with stop_signals() as stopped:
        while state["epoch"] < config.epochs:
            number = state["epoch"] + 1
            for _ in steps():
                if stopped() or time.monotonic() - state["saved"] > 60 * config.checkpoint_minutes:
                    save()
                if stopped():
                    raise _stopped("in", number)
            state["history"].append(record())
            state.update(epoch=number, step=0, sum=torch.zeros((), dtype=torch.float64))
            save()
            if on_epoch:
                on_epoch(state["history"])
            if stopped():  # while the epoch was judged
                raise _stopped("after", number)
    return state["history"]


def _stopped(when: str, epoch: int) -> KoalaError:
    return KoalaError(f"stopped {when} epoch {epoch}; the state is kept: run the same command to go on.")


def fresh() -> dict:
    """Where training begins: no epoch, no step of the next one, no sum of its losses; saved: when a checkpoint was last
    written, by time.monotonic()."""
    zero = torch.zeros((), dtype=torch.float64)
    return {"epoch": 0, "step": 0, "sum": zero, "history": [], "saved": time.monotonic()}


def _record(job, rows, state) -> dict:
    """The history's line for the epoch that has just ended."""
    epoch = state["epoch"]
    losses = {
        "train_loss": state["sum"].item() / len(rows["train"]),
        "val_loss": mean_loss(job, rows["validation"]),
    }
    for name, loss in zip(("training", "validation"), losses.values(), strict=True):
        if not np.isfinite(loss):
            raise KoalaError(
                f"the {name} loss is {loss} in epoch {epoch + 1}: lower the learning rate or use precision=fp32."
            )
    per_epoch = steps_per_epoch(len(rows["train"]), job.config.batch_size)
    rate = learning_rate(job.config, epoch * per_epoch, per_epoch)  # of the epoch's first step
    return {"epoch": epoch + 1, "lr": rate, **losses, **first_terms(job, rows["validation"])}


def first_terms(job, rows) -> dict[str, float]:
    """koala.model.fusion_terms of the first TERMS photographs of `rows`, of fewer where they are large; empty for a
    network without a fusion."""
    if not isinstance(job.model, model.Koala):
        return {}
    rgb, features = job.batches(rows[: at_a_time(job.batches.images, TERMS)])
    return model.fusion_terms(job.model.eval(), lab.training_pair(rgb)[0], features)


def _steps(trainer, rows, state, progress):
    """The rest of this epoch, one step per iteration; `state` holds the position and the sum of the losses so far."""
    job, config, epoch = trainer.job, trainer.job.config, state["epoch"]
    job.model.train()
    order = epoch_order(rows, config.seed, epoch)
    mirror = mirrored_rows(len(job.batches.images), config, epoch)
    state["sum"] = state["sum"].to(job.batches.device)
    pieces = list(chunks(order, config.batch_size))
    for count, batch, factor in deal(job, pieces[state["step"] :], mirror):
        for group in trainer.optimizer.param_groups:
            group["lr"] = learning_rate(config, epoch * len(pieces) + state["step"], len(pieces))
        state["sum"] += trainer.take(batch, factor).double() * count
        if job.rehearsal:
            trainer.take(*job.rehearsal.batch(config, epoch, state["step"]))
        state["step"] += 1
        if progress:
            seen = min(state["step"] * config.batch_size, len(order))
            progress(seen, len(order), f"epoch {epoch + 1} of {config.epochs}")
        yield


def _save(trainer, folder, state) -> None:
    job, now = trainer.job, time.monotonic()
    job.seconds += now - state["saved"]
    state["saved"] = now
    if distributed.rank():
        return
    parts = {"model": job.model, "optimizer": trainer.optimizer, "scaler": trainer.scaler}
    kept = {name: part.state_dict() for name, part in parts.items()}
    kept |= {"sum": state["sum"].cpu(), "seconds": job.seconds, "micro_batch": job.micro_batch}
    checkpoint.save(folder, state | kept)


def _restore(trainer, folder) -> dict | None:
    state = distributed.from_first(lambda: checkpoint.load(folder))
    if state is None:
        return None
    job = trainer.job
    for name, part in (("model", job.model), ("optimizer", trainer.optimizer), ("scaler", trainer.scaler)):
        part.load_state_dict(state.pop(name, {}))
    job.seconds, job.micro_batch = state["seconds"], state["micro_batch"]
    if not distributed.rank():
        print(f"going on from a checkpoint: epoch {state['epoch'] + 1}, step {state['step']} done.")
    return {**state, "saved": time.monotonic()}


@contextlib.contextmanager
def stop_signals():
    """A function that says whether SIGTERM or an interrupt came; the previous handlers are restored."""
    caught = []
    before = {}
    with contextlib.suppress(ValueError):  # signals reach the main thread only: elsewhere checkpoints must do
        for name in (signal.SIGTERM, signal.SIGINT):
            before[name] = signal.signal(name, lambda *_: None if distributed.rank() else caught.append(True))
    try:
        yield lambda: bool(caught)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
