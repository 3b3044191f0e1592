"""How a pupil learns a teacher's logits: augmentation, loss and loop. See koala.experiment.pretrain."""

import dataclasses
import time

import numpy as np
import torch
import torch.nn.functional as F

from koala import extractors, lab
from koala.config import PretrainConfig
from koala.extractors import classes, normalization
from koala.system import device as devices
from koala.system.errors import KoalaError
from koala.training import checkpoint, loop
from koala.training.batches import Batches, chunks
from koala.training.step import make_optimizer

LEAST = 0.7  # a training crop shows at least this share of a photograph: the teacher saw all of it
SETTLING = 64  # batches of which the statistics of batch normalization are taken
TEMPERATURE = 2.0  # of both softmaxes (Hinton, Vinyals & Dean 2015, arXiv:1503.02531)


def augment(gray: torch.Tensor, size: int) -> torch.Tensor:
    """(n,1,S,S) -> (n,1,size,size): a random part of each, at least LEAST of its area, stretched, half of them mirrored.

    Uses torch's global random numbers; bilinear, so `size` should not be below S."""
    n, device = len(gray), gray.device
    area = torch.empty(n, device=device).uniform_(LEAST, 1)
    ratio = torch.exp(torch.empty(n, device=device).uniform_(-0.29, 0.29))  # from 3:4 to 4:3
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    across, down = (torch.empty(n, device=device).uniform_(-1, 1) * (1 - length) for length in (wide, high))
    mirror = torch.randint(0, 2, (n,), device=device) * 2 - 1
    zero = torch.zeros_like(area)
    theta = torch.stack([wide * mirror, zero, across, zero, high, down], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)  # (n, size, size, 2)
    return F.grid_sample(gray, grid, padding_mode="reflection", align_corners=False)


def examples(photographs: np.ndarray, seed: int) -> np.ndarray:
    """(n,S,S,3) uint8 -> the same shape: what training may show of them. Global random numbers stay as they are."""
    gray = lab.luma(torch.from_numpy(np.array(photographs)).permute(0, 3, 1, 2))  # (n, 1, S, S)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shown = (augment(gray, gray.shape[-1]) * 255).round().byte()
    return shown.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()


def distance(logits: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Pupil's and teacher's logits (n,K) -> mean Kullback-Leibler divergence of their softmaxes at TEMPERATURE, times its
    square, which keeps the gradient's scale."""
    ours, theirs = (F.log_softmax(z.float() / TEMPERATURE, 1) for z in (logits, taught))
    return TEMPERATURE**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


class Pupil(torch.nn.Module):
    """(photographs (n,3,size,size), taught logits (n,K)) -> loss: the module that is compiled."""

    def __init__(self, net, precision: str):
        super().__init__()
        self.net, self.precision = net, precision

    def forward(self, x, taught):
        with devices.autocast(x.device, self.precision):
            logits = self.net(x)  # (n, K)
        return distance(logits, taught)


@dataclasses.dataclass
class Lesson:
    """What training needs. extractor.net is trained; batches hold photographs and the teacher's logits; labels (N,) are the
    numbers of the true classes, or None where the categories are not ImageNet's."""

    extractor: extractors.Extractor
    batches: Batches
    labels: torch.Tensor | None
    config: PretrainConfig
    precision: str
    compiled: str

    def __post_init__(self):
        self.net = self.extractor.net.to(memory_format=torch.channels_last).requires_grad_(True)
        self.pupil = devices.compile_step(Pupil(self.net, self.precision), self.compiled)
        self.optimizer = make_optimizer(self.net, self.config.lr, self.config.weight_decay)

    def step(self, batch, number: int, steps: int) -> torch.Tensor:
        """One step of the optimizer; the mean loss. Its random numbers follow from (seed, number)."""
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = loop.cosine(self.config.lr, number, steps)
        gray = lab.luma(batch.rgb)  # (n, 1, S, S)
        shown = self.extractor.prepare(augment(gray, max(gray.shape[-1], self.extractor.row.size)))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.pupil(shown, batch.features)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def fit(lesson: Lesson, rows: dict, folder, on_epoch=None, progress=None) -> list[dict]:
    """Train to config.epochs; the history: epoch, train_loss, val_loss and what `agreement` measures, one row per epoch.

    Checkpoints, SIGTERM and resuming work as in koala.training.fit."""
    device = lesson.batches.device
    state = (_restore(lesson, folder) if lesson.config.resume else None) or loop.fresh()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        return loop.run_epochs(
            lesson.config,
            state,
            steps=lambda: _steps(lesson, rows["train"], state, progress),
            record=lambda: _record(lesson, rows, state),
            save=lambda: _save(lesson, folder, state),
            on_epoch=on_epoch,
        )


def _steps(lesson, rows, state, progress):
    """The rest of this epoch, one step per iteration; `state` holds the position and the sum of the losses so far."""
    config, epoch, count = lesson.config, state["epoch"], len(rows)
    order = list(chunks(loop.epoch_order(rows, config.seed, epoch), config.batch_size))
    _begin_epoch(lesson, order, state)
    for batch in lesson.batches.load(order[state["step"] :]):
        loss = lesson.step(batch, epoch * len(order) + state["step"], config.epochs * len(order))
        state["sum"] += loss.double().cpu() * len(batch.rgb)
        state["step"] += 1
        if progress:
            seen = epoch * count + min(state["step"] * config.batch_size, count)
            progress(seen, config.epochs * count, f"epoch {epoch + 1} of {config.epochs}")
        yield


def _begin_epoch(lesson, order, state) -> None:
    """Training mode. In the last of several epochs batch normalization stands still, so that the network learns as it will be
    used."""
    lesson.net.train()
    if 0 < state["epoch"] == lesson.config.epochs - 1:
        if state["step"] == 0:
            settle(lesson, order[:SETTLING])
        for layer in normalization.layers(lesson.net):
            layer.eval()


@torch.no_grad()
def settle(lesson: Lesson, rows: list[np.ndarray]) -> None:
    """Give each batch normalization the mean and variance that whole photographs have, in place: rows of them by batch.

    Those that it gathers in training are of a few batches, and where a map is one pixel wide a batch of 64 has 64 values. So
    Inception-v3, after three epochs, had a loss of 0.69 by the statistics of each batch and 1.14 by what it had gathered
    (Wu & Johnson 2021, arXiv:2105.07576)."""
    mode = lesson.net.training
    lesson.net.eval()
    with normalization.gathering(lesson.net):
        for batch in lesson.batches.load(rows) if normalization.layers(lesson.net) else ():
            lesson.extractor(lab.luma(batch.rgb))
    lesson.net.train(mode)


def _record(lesson, rows, state) -> dict:
    epoch, train_loss = state["epoch"] + 1, state["sum"].item() / len(rows["train"])
    if not np.isfinite(train_loss):
        raise KoalaError(
            f"the training loss is {train_loss} in epoch {epoch}: use a lower lr or precision=fp32."
        )
    return {"epoch": epoch, "train_loss": train_loss, **agreement(lesson, rows["validation"])}


@torch.no_grad()
def agreement(lesson: Lesson, rows: np.ndarray) -> dict[str, float]:
    """Of the pupil on `rows`, whole photographs, in eval mode and float32: val_loss; agreement, the share whose strongest
    logit is the teacher's; and with labels top1, top5 and the teacher's own teacher_top1."""
    lesson.net.eval()
    sums = dict.fromkeys(("val_loss", "agreement"), 0.0)
    sums |= dict.fromkeys(("top1", "top5", "teacher_top1") if lesson.labels is not None else (), 0.0)
    for piece, batch in zip(
        chunks(rows, lesson.config.batch_size),
        lesson.batches.load(chunks(rows, lesson.config.batch_size)),
        strict=True,
    ):
        logits, taught = lesson.extractor(lab.luma(batch.rgb)), batch.features  # (n, K)
        sums["val_loss"] += distance(logits, taught).item() * len(piece)
        sums["agreement"] += (logits.argmax(1) == taught.argmax(1)).sum().item()
        if lesson.labels is not None:
            true = lesson.labels[torch.from_numpy(piece).to(lesson.labels.device)]
            for name, count in classes.right(logits, true).items():
                sums[name] += count
            sums["teacher_top1"] += (taught.argmax(1) == true).sum().item()
    return {name: value / len(rows) for name, value in sums.items()}


def _save(lesson, folder, state) -> None:
    weights = {"model": lesson.net.state_dict(), "optimizer": lesson.optimizer.state_dict()}
    state["saved"] = time.monotonic()
    checkpoint.save(folder, state | weights)


def _restore(lesson, folder) -> dict | None:
    state = checkpoint.load(folder)
    if state is None:
        return None
    lesson.net.load_state_dict(state.pop("model"))
    lesson.optimizer.load_state_dict(state.pop("optimizer"))
    print(f"going on from a checkpoint: epoch {state['epoch'] + 1}, step {state['step']} done.")
    return {**state, "saved": time.monotonic()}
