"""One step of training: network and loss as one module, gradients in micro-batches, memory that may run out."""

import contextlib
import dataclasses

import torch
import torch.nn.functional as F

from koala import lab
from koala.system import device as devices
from koala.system.errors import KoalaError
from koala.training import distributed
from koala.training.batches import Batches, chunks


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
    """What training needs. compiled: off, on or graphs (koala.system.device.pick_compile). micro_batch is set once memory has
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


def deal(job: Job, pieces: list, mirror=None):
    """Yield (length of a piece, this process's rows of it, their factor), while the next is being read already."""
    dealt = [distributed.share(piece) for piece in pieces]
    ahead = job.batches.ahead([mine for mine, _ in dealt], mirror)
    for piece, (_, factor), mine in zip(pieces, dealt, ahead, strict=True):
        yield len(piece), mine, factor


def train_step(job: Job, optimizer, rows, factor: float = 1.0, mirror=None) -> torch.Tensor:
    """One step of the optimizer; returns the mean loss over all processes' rows without waiting for the device.

    rows: this process's; factor: see koala.training.distributed.share; mirror: (N,) bool, which photographs are mirrored.
    Out of memory halves the micro-batch and takes the step again with the same effective batch."""
    if not job.settled and (distributed.active() or job.compiled != "off"):
        _settle(job, optimizer, lambda: _accumulate(job, rows, factor, mirror, synchronize=False))
    value = _halving(job, optimizer, lambda: _accumulate(job, rows, factor, mirror))
    optimizer.step()
    return distributed.total(value)


def _settle(job, optimizer, accumulate) -> None:
    """Before the first step: find out whether compiling works and what fits into memory, and agree with the others.

    In a synchronized pass they would wait for ever for a process that starts again."""
    works = True
    try:
        _halving(job, optimizer, accumulate)
    except KoalaError:
        raise
    except Exception as error:  # compilers fail in many ways, and a run can do without
        if job.compiled == "off":
            raise
        works = False
        why = str(error).partition("\n")[0][:200]
        print(f"torch.compile failed ({type(error).__name__}: {why}): going on without it.")
    if not distributed.least(int(works), job.batches.device):
        job.step, job.compiled = Step(job.model, job.loss, job.precision), "off"
        job.synchronized = distributed.wrap(job.step, job.batches.device)
        _halving(job, optimizer, accumulate)
    job.micro_batch = distributed.least(job.micro_batch or job.config.batch_size, job.batches.device)
    job.settled = True


def _halving(job, optimizer, accumulate) -> torch.Tensor:
    """accumulate(), with half the micro-batch again and again where memory runs out."""
    while True:
        optimizer.zero_grad(set_to_none=True)
        try:
            return accumulate()
        except RuntimeError as error:
            micro = job.micro_batch or job.config.batch_size
            if not devices.is_out_of_memory(error):
                raise
            if micro == 1 or (job.settled and distributed.active()):
                raise KoalaError(
                    "one photograph does not fit the device's memory: use a smaller image_size."
                    if micro == 1
                    else "memory ran out in a step that several processes share: run the same command to go on."
                ) from None
            job.micro_batch = -(-micro // 2)
            print(f"out of memory: going on with micro-batches of {job.micro_batch}.")


def _accumulate(job, rows, factor, mirror, synchronize=True) -> torch.Tensor:
    """Gradients of factor * mean loss over `rows`, a micro-batch at a time; this process's part of the mean loss."""
    value, pieces = (
        0.0,
        [rows] if len(rows) <= (job.micro_batch or len(rows)) else list(chunks(rows, job.micro_batch)),
    )
    for piece in pieces:
        last = synchronize and piece is pieces[-1]
        with contextlib.nullcontext() if last else distributed.unsynchronized(job.synchronized):
            part = job.synchronized(*job.batches(piece, mirror)) * (factor * len(piece) / len(rows))
            part.backward()
        value = value + part.detach()
    return value / distributed.size()


@torch.no_grad()
def mean_loss(job: Job, rows) -> float:
    """Mean loss per photograph over `rows`, in eval mode and without gradients; the processes share the work."""
    job.model.eval()
    total = torch.zeros((), dtype=torch.float64, device=job.batches.device)
    for count, mine, factor in deal(job, list(chunks(rows, job.micro_batch or job.config.batch_size))):
        total += job.step(*job.batches(mine)).double() * (factor * count / distributed.size())
    return distributed.total(total).item() / len(rows)


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
