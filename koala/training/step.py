"""One step of training: network and loss as one module, gradients in micro-batches, memory that may run out."""

import contextlib
import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from koala import lab
from koala.config import RunConfig
from koala.losses import Loss
from koala.system import device as devices
from koala.system.errors import KoalaError
from koala.training import distributed
from koala.training.batches import Batch, Batches, chunks


class Step(torch.nn.Module):
    """A Batch's rgb (n,3,S,S) uint8 and features -> mean loss. This is what is compiled and what DDP wraps: Lab in
    float32, the network in the job's precision, the loss in float32."""

    def __init__(self, model, loss, precision: str):
        super().__init__()
        self.model, self.loss, self.precision = model, loss, precision

    def forward(self, rgb, features):
        L_norm, ab_norm = lab.training_pair(rgb)  # (n, 1, S, S), (n, 2, S, S)
        with devices.autocast(rgb.device, self.precision):
            output = self.model.half(L_norm, features)  # (n, C, S/2, S/2)
        return self.loss.compute(output, ab_norm)


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What the network has learned before and shall not forget: after each step, one on as many of these photographs.

    rows: row numbers of their training split in `batches`."""

    batches: Batches
    rows: np.ndarray

    def batch(self, config: RunConfig, epoch: int, step: int) -> tuple[Batch, float]:
        """This process's part of the step's photographs, drawn by (seed, epoch, step), and its factor."""
        rng = np.random.default_rng([config.seed, epoch, 2, step])
        drawn = rng.choice(self.rows, min(config.batch_size, len(self.rows)), replace=False)
        mirror = rng.integers(0, 2, len(self.batches.images), dtype=bool) if config.mirror else None
        mine, factor = distributed.share(drawn)
        return self.batches(mine, mirror), factor


@dataclasses.dataclass
class Job:
    """What is trained, on what and how. compiled: off, on or graphs (koala.system.device.pick_compile).

    Two fields change during a run and go into its checkpoints: micro_batch, photographs per forward pass, at first the
    whole batch and halved where memory runs out; and seconds of training so far."""

    model: torch.nn.Module
    loss: Loss
    batches: Batches
    config: RunConfig
    precision: str
    compiled: str = "off"
    micro_batch: int = 0
    seconds: float = 0.0
    rehearsal: Rehearsal | None = None

    def __post_init__(self):
        self.step = Step(self.model, self.loss, self.precision)
        self.micro_batch = self.micro_batch or self.config.batch_size


class Trainer:
    """Takes the steps of a job: its step module compiled where asked and averaged over the processes, and an optimizer."""

    def __init__(self, job: Job):
        self.job, self.ready = job, False
        self.optimizer = make_optimizer(job.model, job.config.lr, job.config.weight_decay)
        self.step = self._prepared()
        # fp16 has no gradients below 6e-8: the loss is scaled up, and a step whose gradients overflow is skipped
        self.scaler = torch.amp.GradScaler(job.batches.device.type, enabled=job.precision == "fp16")

    def _prepared(self) -> torch.nn.Module:
        """The step module, compiled as the job says and averaged over the processes."""
        lab.hold_table()
        return distributed.wrap(
            devices.compile_step(self.job.step, self.job.compiled), self.job.batches.device
        )

    def warm_up(self, batch: Batch) -> None:
        """Before the first step: find out whether compiling works and what fits into memory, and agree with the others.

        Later, in a backward pass that the processes share, one that had to try again would block the others for ever."""
        job = self.job
        works = True
        try:
            self._halving(batch, 1.0, synchronize=False)
        except KoalaError:
            raise
        except Exception as error:  # compilers fail in many ways, and a run can do without
            if job.compiled == "off":
                raise
            works = False
            print(devices.not_compiled(error))
        if not distributed.least(int(works), job.batches.device):
            job.compiled = "off"
            self.step = self._prepared()
            self._halving(batch, 1.0, synchronize=False)
        job.micro_batch = distributed.least(job.micro_batch, job.batches.device)
        self.ready = True

    def take(self, batch: Batch, factor: float = 1.0) -> torch.Tensor:
        """One step of the optimizer; the mean loss over all processes' photographs, without waiting for the device.

        batch: this process's; factor: see koala.training.distributed.share. Where memory runs out the micro-batch is
        halved and the step is taken again with the same effective batch."""
        value = self._halving(batch, factor, synchronize=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return distributed.total(value)

    def _halving(self, batch, factor, synchronize) -> torch.Tensor:
        """Gradients of the batch; where memory runs out, the micro-batch is halved until it fits."""
        job = self.job
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                return self._accumulate(batch, factor, synchronize)
            except RuntimeError as error:
                if not devices.is_out_of_memory(error):
                    raise
                if job.micro_batch == 1:
                    raise KoalaError(
                        "one photograph does not fit the device's memory: use a smaller image_size."
                    ) from None
                if self.ready and distributed.active():
                    raise KoalaError(
                        "memory ran out in a step that several processes share: run the same command to go on."
                    ) from None
                job.micro_batch = -(-job.micro_batch // 2)
                if (
                    job.compiled == "graphs"
                ):  # gradients added up across replays would be in the graphs' memory
                    job.compiled = "on"
                    self.step = self._prepared()
                print(f"out of memory: going on with micro-batches of {job.micro_batch}.")

    def _accumulate(self, batch, factor, synchronize) -> torch.Tensor:
        """Gradients of factor * mean loss, a micro-batch at a time; this process's part of the mean loss."""
        value, pieces = 0.0, list(batch.pieces(self.job.micro_batch))
        for piece in pieces:
            last = synchronize and piece is pieces[-1]
            with contextlib.nullcontext() if last else distributed.unsynchronized(self.step):
                part = self.step(*piece) * (factor * len(piece.rgb) / len(batch.rgb))
                self.scaler.scale(part).backward()
            value = value + part.detach()
        return value / distributed.size()


def make_optimizer(model, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """Adam, or AdamW where weights decay (biases and other vectors do not)."""
    if not weight_decay:
        return torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    matrices, vectors = (
        [p for p in model.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False)
    )
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def deal(job: Job, pieces: list, mirror=None):
    """Yield (length of a piece, this process's Batch of it, its factor); the next one is read ahead."""
    dealt = [distributed.share(piece) for piece in pieces]
    loaded = job.batches.load([mine for mine, _ in dealt], mirror)
    for piece, (_, factor), batch in zip(pieces, dealt, loaded, strict=True):
        yield len(piece), batch, factor


@torch.no_grad()
def mean_loss(job: Job, rows) -> float:
    """Mean loss per photograph over `rows`, in eval mode and without gradients; the processes share the work."""
    job.model.eval()
    total = torch.zeros((), dtype=torch.float64, device=job.batches.device)
    for count, batch, factor in deal(job, list(chunks(rows, job.micro_batch))):
        total += job.step(*batch).double() * (factor * count / distributed.size())
    return distributed.total(total).item() / len(rows)


@torch.no_grad()
def predict(job: Job, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The photographs (n,3,S,S) uint8 and their predicted a*b* (n,2,S,S) in physical units, in eval mode."""
    job.model.eval()
    rgb, features = job.batches(rows)
    L_norm, _ = lab.training_pair(rgb)
    with devices.autocast(job.batches.device, job.precision):
        output = job.model.half(L_norm, features)  # (n, C, S/2, S/2)
    ab_norm = F.interpolate(job.loss.decode(output.float()), scale_factor=2, mode="nearest")  # (n, 2, S, S)
    return rgb, lab.denorm_ab(ab_norm)
