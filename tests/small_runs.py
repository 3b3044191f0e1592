"""Runs of the smallest scale, for tests that need a trained network."""

import torch

from koala import experiment
from koala.config import RunConfig
from koala.experiment.artefacts import Run
from koala.system import paths

CPU = torch.device("cpu")


def small(folder, **changes) -> RunConfig:
    """A configuration for the photographs of a folder: 32 pixels, without extractor, one epoch in fp32 on the CPU."""
    common = dict(image_size=32, backbone="none", epochs=1, batch_size=16, device="cpu", precision="fp32")
    return RunConfig(dataset=str(folder), **common | changes)


def prepare(config: RunConfig) -> experiment.Inputs:
    photos = experiment.load_photos(config)
    return experiment.load_inputs(config, photos, experiment.split_rows(config, photos), CPU)


def train(config: RunConfig, **callbacks) -> Run:
    return experiment.run(config, prepare(config), CPU, **callbacks)


def hashes(home) -> dict[str, str]:
    """What the only run of a home has resulted in."""
    (result,) = (home / "runs").glob("*/result.json")
    names = ("history.csv", "per_image.csv", "model.safetensors")
    return {name: paths.sha256_file(result.parent / name) for name in names}
