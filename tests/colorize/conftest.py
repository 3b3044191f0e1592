"""Painters for the tests of this room."""

import pytest
import torch

from koala import colorize, config, experiment, losses
from koala.model import Koala

CPU = torch.device("cpu")


@pytest.fixture
def run(photo_folder):
    """A run of a network without extractor, trained for a moment on real photographs (three full steps saturate it)."""
    settings = config.RunConfig(
        dataset=str(photo_folder),
        image_size=32,
        backbone="none",
        epochs=1,
        batch_size=16,
        lr=0.0001,
        device="cpu",
        precision="fp32",
    )
    photos = experiment.load_photos(settings)
    rows = experiment.split_rows(settings, photos)
    return experiment.run(settings, experiment.load_inputs(settings, photos, rows, CPU), CPU)


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
