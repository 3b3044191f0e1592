"""The training loop: Adam, a halving learning rate, half-resolution losses; it can stop and go on at any moment.

Nothing random is carried over between steps: the order of an epoch follows from (seed, epoch) and the learning
rate from the epoch, so a state is only weights, optimizer, position and the sums so far.
"""

import contextlib
import dataclasses
import signal
import time

import numpy as np
import torch
import torch.nn.functional as F

from koala import checkpoint, lab, model, parallel
from koala import device as devices
from koala.batches import Batches, chunks
from koala.errors import KoalaError

TERMS = 64  # validation photographs whose fusion terms go into the history


class Step(torch.nn.Module):
    """rgb (n,3,S,S) uint8 and features (n,D) float32 -> mean loss. This is what is compiled and what DDP wraps:
    Lab in float32, the network in the job's precision, the loss in float32."""

    def __init__(self, model, loss, precision: str):
        super().__init__()
        self.model, self.loss, self.precision = model, loss, precision

    def forward(self, rgb, features):
        L_norm, ab_norm = lab.training_pair(rgb)  # (n, 1, S, S), (n, 2, S, S)
        with devices.autocast(rgb.device, self.precision):
            output = self.model.half(L_norm, features)  # (n, C, S/2, S/2)
        return self.loss.compute(output, ab_norm)


@dataclasses.dataclass
class Job:
    """What training needs. compiled: off, on or graphs (koala.device.pick_compile). micro_batch is set once memory has
    run out; seconds counts training time. step is `Step`, compiled where asked; synchronized averages its gradients
    over the processes."""

    model: torch.nn.Module
    loss: object
    batches: Batches
    config: object
    precision: str
    compiled: str = "off"
    micro_batch: int = 0
    seconds: float = 0.0

    def __post_init__(self):
        self.step = devices.compile_step(Step(self.model, self.loss, self.precision), self.compiled)
        self.synchronized, self.settled = self.step, False


def make_optimizer(model, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        model.parameters(), lr=lr, fused=next(model.parameters()).device.type in ("cuda", "cpu")
    )


def learning_rate(config, epoch: int) -> float:
    """config.lr, multiplied by config.lr_decay every config.lr_step epochs (epochs count from 0)."""
    return config.lr * config.lr_decay ** (epoch // config.lr_step)


def epoch_order(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The training rows in the order of this epoch: a permutation that (seed, epoch) alone decide."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def mirrored_rows(count: int, config, epoch: int) -> np.ndarray | None:
    """(count,) bool: which photographs (seed, epoch) mirror; None without config.flip."""
    if not config.flip:
        return None
    return np.random.default_rng([config.seed, epoch, 1]).integers(0, 2, count, dtype=bool)


def fit(job: Job, rows: dict, folder, on_epoch=None, progress=None) -> list[dict]:
    """Train to config.epochs; returns the history: epoch, lr, train_loss, val_loss and the fusion's terms a row.

    rows: row numbers of "train" and "validation". folder: where checkpoints go; with config.resume a good one there is
    continued. on_epoch(history) after each epoch; progress(photographs done, in all, text) at every step.
    train_loss is the mean over the epoch while the weights move, val_loss the mean afterwards, both per photograph.
    SIGTERM or an interrupt writes a checkpoint and raises KoalaError: the same call goes on from there.
    """
    config, optimizer = job.config, make_optimizer(job.model, job.config.lr)
    state = (_restore(job, optimizer, folder) if config.resume else None) or _fresh()
    job.synchronized = parallel.wrap(job.step, job.batches.device)
    with _stop_signals() as stopped:
        while state["epoch"] < config.epochs:
            epoch = state["epoch"]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, epoch)
            for _ in _steps(job, optimizer, rows["train"], state, progress):
                if stopped() or time.monotonic() - state["saved"] > 60 * config.checkpoint_minutes:
                    _save(job, optimizer, folder, state)
                if stopped():
                    raise KoalaError(
                        f"stopped in epoch {epoch + 1}; the state is kept: run the same command to go on."
                    )
            state["history"].append(_record(job, rows, state))
            state.update(epoch=epoch + 1, step=0, sum=torch.zeros((), dtype=torch.float64))
            _save(job, optimizer, folder, state)
            if on_epoch:
                on_epoch(state["history"])
    return state["history"]


def _record(job, rows, state) -> dict:
    """The history's line for the epoch that has just ended."""
    epoch = state["epoch"]
    train_loss = state["sum"].item() / len(rows["train"])
    if not np.isfinite(train_loss):
        raise KoalaError(
            f"the training loss is {train_loss} in epoch {epoch + 1}: lower the learning rate or use precision=fp32."
        )
    losses = {"train_loss": train_loss, "val_loss": mean_loss(job, rows["validation"])}
    rgb, features = job.batches(rows["validation"][:TERMS])
    terms = model.fusion_terms(job.model, lab.network_inputs(rgb)[0], features)
    return {"epoch": epoch + 1, "lr": learning_rate(job.config, epoch), **losses, **terms}


def _steps(job, optimizer, rows, state, progress):
    """The rest of this epoch, a step an iteration; `state` holds the position and the sum of the losses so far."""
    job.model.train()
    size, epochs = job.config.batch_size, job.config.epochs
    order = epoch_order(rows, job.config.seed, state["epoch"])
    mirror = mirrored_rows(len(job.batches.images), job.config, state["epoch"])
    state["sum"] = state["sum"].to(job.batches.device)
    steps = list(chunks(order, size))[state["step"] :]
    dealt = [parallel.share(step) for step in steps]
    ahead = job.batches.ahead([mine for mine, _ in dealt], mirror)
    for step, (_, factor), mine in zip(steps, dealt, ahead, strict=True):
        state["sum"] += train_step(job, optimizer, mine, factor, mirror).double() * len(step)
        state["step"] += 1
        if progress:
            seen = state["epoch"] * len(order) + min(state["step"] * size, len(order))
            progress(seen, epochs * len(order), f"epoch {state['epoch'] + 1} of {epochs}")
        yield


def train_step(job: Job, optimizer, rows, factor: float = 1.0, mirror=None) -> torch.Tensor:
    """One step of the optimizer; returns the mean loss over all processes' rows without waiting for the device.

    rows: this process's; factor: see koala.parallel.share; mirror: (N,) bool, which photographs are mirrored.
    Out of memory halves the micro-batch and takes the step again with the same effective batch."""
    if parallel.active() and not job.settled:
        # In a synchronized pass the others would wait for ever for a process that starts again: find what fits before.
        _halving(job, optimizer, lambda: _accumulate(job, rows, factor, mirror, synchronize=False))
        job.micro_batch = parallel.least(job.micro_batch or job.config.batch_size, job.batches.device)
        job.settled = True
    value = _halving(job, optimizer, lambda: _accumulate(job, rows, factor, mirror))
    optimizer.step()
    return parallel.total(value)


def _halving(job, optimizer, accumulate) -> torch.Tensor:
    """accumulate(), with half the micro-batch again and again where memory runs out."""
    while True:
        optimizer.zero_grad(set_to_none=True)
        try:
            return accumulate()
        except RuntimeError as error:
            micro = job.micro_batch or job.config.batch_size
            if not is_out_of_memory(error):
                raise
            if micro == 1 or job.settled:
                raise KoalaError(
                    "one photograph does not fit the device's memory: use a smaller image_size."
                    if micro == 1
                    else "memory ran out in a step that several processes share: run the same command to go on."
                ) from None
            job.micro_batch = -(-micro // 2)
            print(f"out of memory: going on with micro-batches of {job.micro_batch}.")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's or the host's memory ran out (the CPU allocator raises a plain RuntimeError)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _accumulate(job, rows, factor, mirror, synchronize=True) -> torch.Tensor:
    """Gradients of factor * mean loss over `rows`, a micro-batch at a time; this process's part of the mean loss."""
    value, pieces = 0.0, [rows] if len(rows) <= (job.micro_batch or len(rows)) else list(chunks(rows, job.micro_batch))
    for piece in pieces:
        last = synchronize and piece is pieces[-1]
        with contextlib.nullcontext() if last else parallel.unsynchronized(job.synchronized):
            part = job.synchronized(*job.batches(piece, mirror)) * (factor * len(piece) / len(rows))
            part.backward()
        value = value + part.detach()
    return value / parallel.size()


@torch.no_grad()
def mean_loss(job: Job, rows) -> float:
    """Mean loss per photograph over `rows`, in eval mode and without gradients; the processes share the work."""
    job.model.eval()
    total = torch.zeros((), dtype=torch.float64, device=job.batches.device)
    pieces = list(chunks(rows, job.micro_batch or job.config.batch_size))
    dealt = [parallel.share(piece) for piece in pieces]
    ahead = job.batches.ahead([mine for mine, _ in dealt])
    for piece, (_, factor), mine in zip(pieces, dealt, ahead, strict=True):
        total += job.step(*job.batches(mine)).double() * (factor * len(piece) / parallel.size())
    return parallel.total(total).item() / len(rows)


@torch.no_grad()
def predict(job: Job, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The photographs (n,3,S,S) uint8 and their predicted a*b* (n,2,S,S) in physical units, in eval mode."""
    job.model.eval()
    rgb, features = job.batches(rows)
    L_norm, _ = lab.network_inputs(rgb)
    with devices.autocast(job.batches.device, job.precision):
        output = job.model.half(L_norm, features)  # (n, C, S/2, S/2)
    ab_norm = F.interpolate(job.loss.decode(output.float()), scale_factor=2, mode="nearest")  # (n, 2, S, S)
    return rgb, lab.denorm_ab(ab_norm)


def _fresh() -> dict:
    return {
        "epoch": 0,
        "step": 0,
        "sum": torch.zeros((), dtype=torch.float64),
        "history": [],
        "saved": time.monotonic(),
    }


def _save(job, optimizer, folder, state) -> None:
    now = time.monotonic()
    job.seconds += now - state["saved"]
    state["saved"] = now
    if parallel.rank():
        return
    weights = {"model": job.model.state_dict(), "optimizer": optimizer.state_dict()}
    checkpoint.save(
        folder,
        {
            **state,
            **weights,
            "sum": state["sum"].cpu(),
            "seconds": job.seconds,
            "micro_batch": job.micro_batch,
        },
    )


def _restore(job, optimizer, folder) -> dict | None:
    state = parallel.from_first(lambda: checkpoint.load(folder))
    if state is None:
        return None
    job.model.load_state_dict(state.pop("model"))
    optimizer.load_state_dict(state.pop("optimizer"))
    job.seconds, job.micro_batch = state["seconds"], state["micro_batch"]
    if not parallel.rank():
        print(f"going on from a checkpoint: epoch {state['epoch'] + 1}, step {state['step']} done.")
    return {**state, "saved": time.monotonic()}


@contextlib.contextmanager
def _stop_signals():
    """A function that says whether SIGTERM or an interrupt came; the handlers from before are put back."""
    caught = []
    before = {}
    with contextlib.suppress(ValueError):  # signals reach the main thread only: elsewhere checkpoints must do
        for name in (signal.SIGTERM, signal.SIGINT):
            before[name] = signal.signal(name, lambda *_: None if parallel.rank() else caught.append(True))
    try:
        yield lambda: bool(caught)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
