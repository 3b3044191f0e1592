"""Inception-v3 as TensorFlow released it on 2015-12-05, the network behind FID, on torchvision's Inception-v3.

The released graph pools differently from torchvision's network: averages leave the padding out of their count, and the
last block pools by maximum. Its weights come without the classifier, as a TorchScript archive with (convolution, beta,
mean, variance) for each layer."""

import torch
from torch import nn
from torch.nn import functional as F

AVERAGING = [f"Mixed_{block}" for block in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")]


def headless(net: nn.Module) -> nn.Module:
    """torchvision's Inception-v3, changed in place: without classifier, (N,3,299,299) -> (N,2048), pooling as in 2015."""
    net.fc = nn.Identity()
    for name, block in net.named_children():
        if name in AVERAGING:
            block.branch_pool.register_forward_pre_hook(_without_padding)
    _pool_by_maximum(net.Mixed_7c)
    return net


def _without_padding(module, inputs):
    """The average over 3x3 pixels with padding counted as zeros -> the average over those inside the photograph."""
    (x,) = inputs  # (N, C, H, W)
    inside = F.avg_pool2d(torch.ones_like(x[:1, :1]), 3, 1, 1)  # (1, 1, H, W), share of the 9 that is inside
    return x / inside


def _pool_by_maximum(block: nn.Module) -> None:
    inputs_of_block = []
    block.register_forward_pre_hook(lambda _, inputs: inputs_of_block.append(inputs[0]))
    block.branch_pool.register_forward_pre_hook(lambda *_: F.max_pool2d(inputs_of_block.pop(), 3, 1, 1))


def named(state: dict) -> dict:
    """The released tensors, in their order, under the last names that torchvision's layers have: for pairing by order.

    A gamma of 1, which the release leaves out, and BatchNorm's counter are added. Weights that are not as released
    stay as they are."""
    if not any(name.endswith(".beta") for name in state):
        return state
    layers, tensors = {}, iter(state.values())
    for number, (weight, beta, mean, variance) in enumerate(
        zip(tensors, tensors, tensors, tensors, strict=True)
    ):
        values = {
            "weight": weight,
            "bn.weight": torch.ones_like(beta),
            "bn.bias": beta,
            "bn.running_mean": mean,
            "bn.running_var": variance,
            "bn.num_batches_tracked": torch.tensor(0),
        }
        layers |= {f"layer{number}.{name}": value for name, value in values.items()}
    return layers
