"""Frozen feature extractors: a gray photograph in, ImageNet logits out.

koala.extractors.backbones has the table of them. Building downloads only what `weights` asks for.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from koala.config import WEIGHTS
from koala.extractors import inception2015, origins, untrained
from koala.extractors import weights as _weights
from koala.extractors.backbones import LAYERS, Row, classifier_of, create, find_row, pooled
from koala.system.errors import KoalaError, nearest

SEED = 0  # of untrained weights


class Extractor(nn.Module):
    """(N,1,H,W) sRGB luma in [0, 1], any size -> (N,width) float32, computed in `precision` (fp32 or bf16). Always
    frozen and in eval mode: its numbers do not depend on a caller's train(), autocast or gradients."""

    def __init__(self, row: Row, net: nn.Module, layer: str, precision: str = "fp32"):
        super().__init__()
        self.row, self.net, self.layer, self.precision, self.info = row, net, layer, precision, {}
        for name, values in zip(("mean", "std"), row.norm, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        """Stays in eval mode, whatever is asked: BatchNorm's statistics of a frozen network must not drift."""
        return super().train(False)

    def prepare(self, gray: torch.Tensor) -> torch.Tensor:
        """(N,1,H,W) in [0, 1] -> (N,3,size,size), normalized as the network was trained."""
        if gray.ndim != 4 or gray.shape[1] != 1 or 0 in gray.shape or not gray.is_floating_point():
            raise KoalaError(
                f"an extractor takes float gray (N,1,H,W) in [0, 1], got {gray.dtype} {tuple(gray.shape)}."
            )
        size = (self.row.size, self.row.size)
        x = F.interpolate(gray.float(), size, mode=self.row.mode, antialias=True, align_corners=False)
        x = (x.clamp(0, 1) - self.mean) / self.std  # bicubic overshoots; (N, 3, size, size)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, gray: torch.Tensor) -> torch.Tensor:
        with torch.autocast(gray.device.type, enabled=False):
            x = self.prepare(gray)
        with torch.autocast(gray.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return (pooled(self.row, self.net, x) if self.layer == "features" else self.net(x)).float()


def build(
    backbone: str,
    weights: str = "auto",
    layer: str = "logits",
    progress: Callable[[int, int, str], None] | None = None,
    size: int | None = None,
    precision: str = "fp32",
) -> Extractor:
    """A frozen extractor with `.info`: backbone, weights (human text), trained, sha256 of its weights (of untrained ones
    as koala.extractors.untrained.fingerprint has it), width, size, layer, preprocessing, precision, and the reason why
    `auto` took untrained weights.

    weights: imagenet, untrained (seed 0), auto (imagenet, else untrained), distilled (the file that pretrain.ipynb made
    from another network's logits), or a .pth or .safetensors file.
    precision: fp32 or bf16; for fp16, whose range an extractor's activations may exceed, fp32 is taken.
    size: pixels a side of the network's input, by default the row's own, or what a file of pretrain.ipynb states. Global
    random numbers stay as they are. KoalaError: unknown backbone or layer, no or unfit weights."""
    row, precision = find_row(backbone), "fp32" if precision == "fp16" else precision
    width(backbone, layer)
    row = _resized(
        row, backbone, size or _weights.stated(_weights.located(str(weights), backbone)).get("size")
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        extractor = Extractor(row, create(row), layer, precision)
        filled = _fill(extractor, backbone, str(weights), progress)
    extractor.info = dict(
        backbone=backbone,
        **filled,
        width=width(backbone, layer),
        size=row.size,
        layer=layer,
        precision=precision,
        preprocessing=(
            f"luma, {row.mode} antialias to {row.size}x{row.size}, mean {row.norm[0]}, std {row.norm[1]}"
        ),
    )
    return extractor


def _resized(row: Row, backbone: str, size: int | None) -> Row:
    """The row at another size of its input. KoalaError where the network cannot take it."""
    if size in (None, row.size):
        return row
    try:
        with torch.device("meta"):  # shapes without numbers
            create(row).eval()(torch.empty(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        raise KoalaError(
            f"backbone '{backbone}' cannot take photographs of {size} pixels a side; its own size is {row.size}."
        ) from error
    return dataclasses.replace(row, size=size)


def width(backbone: str, layer: str = "logits") -> int:
    """Width of a backbone's layer without building its weights: 0 for `none`. KoalaError as in `build`."""
    if layer not in LAYERS:
        raise KoalaError(
            f"unknown layer '{layer}'{nearest(layer, LAYERS) or ';'} there are {', '.join(LAYERS)}."
        )
    if backbone == "none":
        return 0
    row = find_row(backbone)
    if layer == "logits" and not row.logits:
        raise KoalaError(
            f"backbone '{backbone}' comes without a classifier, so it has no logits: use layer=features."
        )
    if layer == "logits":
        return row.logits
    if row.features:
        return row.features
    with torch.device("meta"):  # shapes without numbers
        net = create(row)
        return pooled(row, net.eval(), torch.empty(1, 3, row.size, row.size)).shape[1]


def _fill(extractor, backbone, choice, progress) -> dict:
    """Load the chosen weights into the network: weights (human text), trained, sha256, reason (why `auto` took none)."""
    reason = ""
    if choice in ("auto", "imagenet"):
        try:
            state, where = origins.imagenet(extractor.row.origin, choice == "imagenet", progress)
            return _load(extractor, state, where, f"ImageNet ({where})")
        except KoalaError as error:
            if choice == "imagenet":
                raise KoalaError(f"backbone '{backbone}': {error}") from error
            reason = str(error)
    elif choice == "distilled":
        file = _weights.located(choice, backbone)
        return _load(extractor, _weights.read(file), file, _weights.DISTILLED)
    elif choice != "untrained":
        if not choice.endswith((".pth", ".safetensors")):
            raise KoalaError(
                f"unknown weights '{choice}'{nearest(choice, WEIGHTS) or ';'} "
                f"there are {', '.join(WEIGHTS)}, or a .pth or .safetensors file."
            )
        state = _weights.from_file(choice, extractor.row.origin.url)
        return _load(extractor, state, choice, f"file {choice.rsplit('/', 1)[-1]}")
    sha256 = untrained.fingerprint(extractor.net, extractor.row.size)
    untrained.calibrate(extractor, classifier_of(extractor.row, extractor.net))
    return dict(weights=f"untrained (seed {SEED})", trained=False, sha256=sha256, reason=reason)


def _load(extractor, state, what, text) -> dict:
    row, net = extractor.row, extractor.net
    state = state if row.logits else inception2015.named(state)
    state = _weights.fit(state, net.state_dict(), what, by_order=row.origin.package is not None)
    net.load_state_dict(state)
    return dict(weights=text, trained=True, sha256=_weights.sha256_state(net.state_dict()), reason="")
