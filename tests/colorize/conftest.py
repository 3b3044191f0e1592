"""Painters for the tests of this room."""

import pytest
import torch
from small_runs import CPU, small, train

from koala import colorize, config, losses
from koala.model import Koala


@pytest.fixture
def run(photo_folder):
    """A run of a network without extractor, trained for a moment on real photographs (three full steps saturate it)."""
    return train(small(photo_folder, lr=0.0001))


@pytest.fixture(scope="session")
def painter():
    """A small painter without extractor and without a run: its weights are random, what it paints is not gray."""
    settings = config.RunConfig(backbone="none", image_size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Koala(0, init="he").eval()
        model.decoder[-2].weight.data.mul_(0.2)  # within sRGB
    return colorize.Painter("random", settings, {}, model, losses.build("mse"), None, CPU, 32)


@pytest.fixture(scope="session")
def bundled():
    """The painter of the network that comes with koala."""
    return colorize.load()
