"""Randomly initialized weights: a hash that is the same on every CPU, and a usable scale."""

import hashlib

import torch
from torch import nn
from torch.nn import functional as F

from koala.extractors import normalization
from koala.system.errors import KoalaError

NOISE = 8  # images
FORMAT = 1  # raise it when `calibrate` would give other weights


def fingerprint(net: nn.Module, size: int) -> str:
    """sha256 of randomly initialized weights before `calibrate`, the same on every CPU.

    Processors round logarithms and sums differently in the last digit, so the values
    themselves have another hash on each. What they depend on is exact: the tensors' names, types and shapes, the next
    random numbers (which follow from the seed and from how many were used), and each tensor's root mean square to
    three digits, which follows from how the library scales it. size: pixels a side of the extractor's input."""
    with torch.random.fork_rng(devices=[]):
        upcoming = torch.randint(2**31, (4,)).tolist()
    digest = hashlib.sha256(f"untrained {FORMAT} {size} {upcoming}\n".encode())
    for name, tensor in sorted(net.state_dict().items()):
        scale = tensor.double().square().mean().sqrt().item()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {scale:.2e}\n".encode())
    return digest.hexdigest()


def calibrate(extractor, classifier) -> None:
    """Give randomly initialized weights a usable scale, from seeded noise and no photograph: BatchNorm gets the statistics of
    NOISE images of noise, and the classifier, if there is one, is shifted and scaled so that its logits there have mean 0
    and standard deviation 1.

    As initialized, Inception-v3's logits reach 6e11 and Inception-ResNet-v2's differ by 4e-5 between photographs, which
    float16 cannot represent: a control that failed for its scale would say nothing about training."""
    gray = torch.randn(
        NOISE, 1, 1, 1
    )  # each image has its own brightness, and its own contrast at each scale
    for k in (2, 4, 8, 16, 64, 256):
        noise = torch.randn(NOISE, 1, k, k) * torch.rand(NOISE, 1, 1, 1) * 2
        gray = gray + F.interpolate(noise, (256, 256), mode="bilinear")
    gray = torch.sigmoid(gray)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same weights, and hash, whatever the number of threads
    try:
        with torch.no_grad(), normalization.gathering(extractor.net):
            if isinstance(classifier, nn.Identity):
                extractor.net(extractor.prepare(gray))
            else:
                _rescale(classifier, extractor.row.logits, lambda: extractor.net(extractor.prepare(gray)))
        extractor.eval()
    finally:
        torch.set_num_threads(threads)


def _rescale(classifier, width: int, forward) -> None:
    """Make the logits (n, width) that forward() returns have mean 0 and standard deviation 1 over the images. classifier: as
    `last_layers` takes it."""
    last = last_layers(classifier, width)
    for layer in last:
        if not layer.weight.any():  # some of timm's start their classifier at 0
            layer.weight.normal_(std=0.02)
    logits = forward()
    scale = logits.std(0).mean()
    for layer in last:
        layer.weight.div_(scale)
        if layer.bias is not None:
            layer.bias.sub_(logits.mean(0)).div_(scale)


def last_layers(classifier, width: int) -> list[nn.Linear | nn.Conv2d]:
    """The layers that give a classifier's logits.

    classifier: a layer, a module that ends in one, or several whose outputs are averaged (timm's distilled networks).
    KoalaError where none of its layers gives `width` outputs."""
    ends = classifier if isinstance(classifier, tuple | list) else [classifier]
    layers = [m for end in ends for m in end.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = [layer for layer in layers if layer.weight.shape[0] == width]
    if not last:
        raise KoalaError(
            f"a classifier of the kind {type(classifier).__name__} cannot be used untrained: choose another backbone."
        )
    return last
