"""Batch normalization whose statistics are those of chosen images, in place of running averages."""

import contextlib

from torch import nn


def layers(net: nn.Module) -> list[nn.Module]:
    """Its layers of batch normalization: ConvNeXt has none."""
    return [layer for layer in net.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


@contextlib.contextmanager
def gathering(net: nn.Module):
    """Context: the layers forget their statistics and take the mean over those of the batches that pass meanwhile; each batch
    counts the same. Their mode and momentum are as before afterwards."""
    before = [(layer, layer.momentum, layer.training) for layer in layers(net)]
    for layer, _, _ in before:
        layer.reset_running_stats()
        layer.train()
        layer.momentum = None  # cumulative
    yield
    for layer, momentum, training in before:
        layer.momentum = momentum
        layer.train(training)
