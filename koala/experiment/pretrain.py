"""Training an extractor's network to classify gray photographs, for where no hub gives its ImageNet weights.

The classifier keeps the extractor's width: photographs whose categories are ImageNet's synsets (n01443537 ...) train
the logits that ImageNet's numbers give them. Only the training split is seen, so that a study on the same data set
with the same split uses features of photographs that its extractor does not know."""

import dataclasses
import json
import time

import numpy as np
import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F

from koala import extractors, lab
from koala.experiment import artefacts
from koala.extractors import quantize
from koala.system import device as devices
from koala.system import paths, processes
from koala.system.errors import KoalaError
from koala.training import checkpoint
from koala.training.batches import chunks, make_batches
from koala.training.loop import cosine, epoch_order, stop_signals

LEAST = 0.35  # a training crop shows at least this share of a photograph


def classes(photos, width: int) -> np.ndarray:
    """(N,) int64: the logit of each photograph's category, by ImageNet's number where all are its synsets, else by name.

    Raises KoalaError where there are more categories than logits, or only one."""
    from timm.data import ImageNetInfo

    names = sorted(photos.files["category"].unique())
    known = {name: number for number, name in enumerate(ImageNetInfo().label_names())}
    numbers = known if set(names) <= set(known) else {name: number for number, name in enumerate(names)}
    if not 2 <= len(names) <= width:
        raise KoalaError(
            f"'{photos.name}' has {len(names)} categories, and a classifier is trained on 2 to {width}: "
            "name a folder or an archive of category folders."
        )
    return photos.files["category"].map(numbers).to_numpy(np.int64)


def augment(gray: torch.Tensor, size: int) -> torch.Tensor:
    """(n,1,S,S) -> (n,1,size,size): of each a random part of at least LEAST of its area, stretched, half of them mirrored.

    Draws from torch's global random numbers; bilinear, so `size` should not be below S."""
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


def examples(pictures: np.ndarray, seed: int) -> np.ndarray:
    """(n,S,S,3) uint8 -> the same: what training may show of them. Disturbs no random numbers."""
    gray = lab.luma(torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2))  # (n, 1, S, S)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (
            (augment(gray, gray.shape[-1]) * 255)
            .round()
            .byte()
            .permute(0, 2, 3, 1)
            .expand(-1, -1, -1, 3)
            .numpy()
        )


class Pupil(torch.nn.Module):
    """(pictures (n,3,size,size), labels (n,)) -> mean cross-entropy: what is compiled."""

    def __init__(self, net, smoothing: float, precision: str):
        super().__init__()
        self.net, self.smoothing, self.precision = net, smoothing, precision

    def forward(self, pictures, labels):
        with devices.autocast(pictures.device, self.precision):
            logits = self.net(pictures)  # (n, width)
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)


@dataclasses.dataclass
class Lesson:
    """What training needs; labels (N,) lie on the device. extractor.net is what is trained."""

    extractor: extractors.Extractor
    batches: object
    labels: torch.Tensor
    config: object
    precision: str
    compiled: str

    def __post_init__(self):
        self.net = self.extractor.net.to(memory_format=torch.channels_last).requires_grad_(True)
        self.pupil = devices.compile_step(
            Pupil(self.net, self.config.smoothing, self.precision), self.compiled
        )
        matrices = [p for p in self.net.parameters() if p.ndim > 1]
        rest = [p for p in self.net.parameters() if p.ndim <= 1]  # biases and norms are not decayed
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=True)

    def step(self, rows, rgb, number: int, steps: int) -> torch.Tensor:
        """One step of the optimizer on `rows` and their photographs (n,3,S,S) uint8; the mean loss. Its random numbers follow from (seed, number)."""
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(self.config.lr, number, steps)
        gray = lab.luma(rgb)  # (n, 1, S, S)
        pictures = self.extractor.prepare(augment(gray, max(gray.shape[-1], self.extractor.row.size)))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.pupil(pictures, self.labels[torch.from_numpy(rows).to(self.labels.device)])
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def fit(lesson: Lesson, rows: dict, folder, on_epoch=None, progress=None) -> list[dict]:
    """Train to config.epochs; the history: epoch, train_loss, val_loss (cross-entropy), top1, top5 a row.

    Checkpoints, SIGTERM and resuming work as in koala.training.fit."""
    config, device = lesson.config, lesson.labels.device
    per_epoch = -(-len(rows["train"]) // config.batch_size)
    state = (_restore(lesson, folder) if config.resume else None) or {
        "epoch": 0,
        "step": 0,
        "sum": 0.0,
        "history": [],
    }
    saved = time.monotonic()
    with stop_signals() as stopped, torch.random.fork_rng([device] if device.type == "cuda" else []):
        while state["epoch"] < config.epochs:
            order = list(chunks(epoch_order(rows["train"], config.seed, state["epoch"]), config.batch_size))
            torch.nn.Module.train(lesson.net, True)  # an Extractor's own train() keeps it frozen
            pieces = order[state["step"] :]
            for piece, batch in zip(pieces, lesson.batches.load(pieces), strict=True):
                number = state["epoch"] * per_epoch + state["step"]
                loss = lesson.step(piece, batch.rgb, number, config.epochs * per_epoch)
                state["sum"], state["step"] = state["sum"] + loss.double() * len(piece), state["step"] + 1
                if progress:
                    seen = state["epoch"] * len(rows["train"]) + min(
                        state["step"] * config.batch_size, len(rows["train"])
                    )
                    progress(
                        seen,
                        config.epochs * len(rows["train"]),
                        f"epoch {state['epoch'] + 1} of {config.epochs}",
                    )
                if stopped() or time.monotonic() - saved > 60 * config.checkpoint_minutes:
                    _save(lesson, folder, state)
                    saved = time.monotonic()
                if stopped():
                    raise KoalaError(
                        f"stopped in epoch {state['epoch'] + 1}; the state is kept: run the same command to go on."
                    )
            state["history"].append(_record(lesson, rows, state))
            state |= {"epoch": state["epoch"] + 1, "step": 0, "sum": 0.0}
            _save(lesson, folder, state)
            if on_epoch:
                on_epoch(state["history"])
    return state["history"]


def _record(lesson, rows, state) -> dict:
    train_loss = float(state["sum"]) / len(rows["train"])
    if not np.isfinite(train_loss):
        raise KoalaError(
            f"the training loss is {train_loss} in epoch {state['epoch'] + 1}: use a lower lr or precision=fp32."
        )
    found = accuracy(
        lesson.extractor, lesson.batches, lesson.labels, rows["validation"], lesson.config.batch_size
    )
    return {"epoch": state["epoch"] + 1, "train_loss": train_loss, **found}


def accuracy(
    extractor, batches, labels: torch.Tensor, rows: np.ndarray, batch_size: int = 64
) -> dict[str, float]:
    """top1 and top5 (shares of `rows`) and val_loss (cross-entropy) of an extractor's logits, in eval mode and float32."""
    extractor.train()  # into eval mode
    found = {"val_loss": 0.0, "top1": 0.0, "top5": 0.0}
    for piece in chunks(rows, batch_size):
        logits = extractor(lab.luma(batches(piece)[0]))  # (n, width)
        wanted = labels[torch.from_numpy(piece).to(labels.device)]
        hits = logits.topk(5, 1).indices == wanted[:, None]  # (n, 5)
        found["val_loss"] += F.cross_entropy(logits, wanted, reduction="sum").item()
        found["top1"] += hits[:, 0].sum().item()
        found["top5"] += hits.sum().item()
    return {name: value / len(rows) for name, value in found.items()}


def run(config, photos, rows, device, on_epoch=None, progress=None) -> dict:
    """Train, measure and write runs/RUN_ID/, or read back what is finished; returns result.json with its folder.

    weights.safetensors holds the network in 8 bits a weight; `-p weights FILE` gives it to a run."""
    extractor = extractors.build(config.backbone, "untrained", size=config.size or None).to(device)
    precision = devices.pick_precision(config.precision, device)
    name = artefacts.run_id(
        dataclasses.replace(config, precision=precision),
        artefacts.labelled(photos),
        extractor.info["sha256"],
        photos.name,
    )
    folder = paths.runs_dir() / name
    if config.resume and artefacts.is_finished(folder):
        print(f"{name} is finished: reading it back (resume=false trains it again).")
        return _read(folder)
    work = artefacts.workplace(folder, config.resume)
    artefacts.start(
        config, artefacts.environment(extractor.info, photos, devices.describe(device), precision), work
    )
    labels = classes(photos, extractor.info["width"])
    batches = make_batches(photos.images[: len(labels)], np.zeros((len(labels), 0), np.float16), device)
    steps = config.epochs * -(-len(rows["train"]) // config.batch_size)
    compiled = devices.pick_compile(config.compile, device, steps, extractor.row.size)
    lesson = Lesson(
        extractor,
        batches,
        torch.from_numpy(labels).to(device),
        config,
        precision,
        "on" if compiled == "graphs" else compiled,
    )
    print(
        f"{devices.describe(device)}; precision {precision}; compile {lesson.compiled}; {extractor.row.size} px"
    )
    with devices.repeatable(), processes.kept():
        history = fit(lesson, rows, work, on_epoch, progress)
        _finish(lesson, work, rows, history)
    return _read(folder)


def _finish(lesson, folder, rows, history) -> None:
    """Measure the network as trained and as packed on the test split, and write both measures with the packed weights."""
    measure = (lesson.batches, lesson.labels, rows["test"], lesson.config.batch_size)
    whole = accuracy(lesson.extractor, *measure)
    packed = quantize.quantize({name: value.cpu() for name, value in lesson.net.state_dict().items()})
    lesson.net.load_state_dict(quantize.dequantize(packed))
    found = accuracy(lesson.extractor, *measure)
    note = {"backbone": lesson.config.backbone, "size": lesson.extractor.row.size, "test": found}
    with paths.atomic_path(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(packed, {"koala": json.dumps(note)}))
    paths.write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
    summary = {
        "test": {"in 8 bits": found, "as trained": whole},
        "photographs": {split: len(members) for split, members in rows.items()},
    }
    artefacts.seal(folder, ("config.json", "env.json", "history.csv", "weights.safetensors"), summary)


def _read(folder) -> dict:
    return paths.read_json(folder / "result.json") | {
        "folder": folder,
        "history": pd.read_csv(folder / "history.csv"),
    }


def _save(lesson, folder, state) -> None:
    weights = {"model": lesson.net.state_dict(), "optimizer": lesson.optimizer.state_dict()}
    checkpoint.save(folder, {**state, **weights, "sum": float(state["sum"])})


def _restore(lesson, folder) -> dict | None:
    state = checkpoint.load(folder)
    if state is None:
        return None
    lesson.net.load_state_dict(state.pop("model"))
    lesson.optimizer.load_state_dict(state.pop("optimizer"))
    print(f"going on from a checkpoint: epoch {state['epoch'] + 1}, step {state['step']} done.")
    return state
