"""The drawing and the tables of the network are the model's own."""

import types

import numpy as np
import pytest
import torch

from koala.config import RunConfig
from koala.model import Koala
from koala.report import show_network
from koala.training import fit


def test_layers_are_those_of_the_paper_in_their_order():
    shapes = [shape for _, shape in show_network.layers(Koala(1000), 224)]
    encoder = [(64, 112), (128, 112), (128, 56), (256, 56), (256, 28), (512, 28), (512, 28), (256, 28)]
    assert shapes[:8] == [(channels, side, side) for channels, side in encoder]
    assert (256,) in shapes and shapes[-1] == (2, 112, 112)  # the embedding; a*b* at half the size


def test_the_drawing_has_a_box_per_layer_and_the_extractor_only_where_there_is_one():
    for dims, backbone, more in ((1000, "efficientnet", 1), (0, "none", 0)):
        network = Koala(dims)
        drawn = show_network.architecture(network, 64, backbone)
        words = [text.get_text() for text in drawn.axes[0].texts]
        maps = [shape for _, shape in show_network.layers(network, 64) if len(shape) == 3]
        assert [text for text in words if " x " in text] == [f"{c} x {h} x {w}" for c, h, w in maps]
        assert sum("frozen" in text for text in words) == more


def test_one_batch_has_the_shapes_and_ranges_that_the_network_is_trained_on():
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    photos = types.SimpleNamespace(images=images)
    features = np.linspace(-2, 3, 60, dtype=np.float16).reshape(6, 10)
    inputs = types.SimpleNamespace(photos=photos, rows={"train": np.array([4, 1, 0])}, features=features)
    rows = show_network.batch_table(RunConfig(image_size=32, batch_size=2), inputs, Koala(10))
    by_name = {row["tensor"].split(",")[0]: row for row in rows}
    assert by_name["photographs"]["shape"] == "(2, 3, 32, 32)" and by_name["features"]["shape"] == "(2, 10)"
    target = next(row for name, row in by_name.items() if name.startswith("a*b*"))
    assert -1 <= target["lowest"] < 0 < target["highest"] <= 1
    assert (
        next(row for name, row in by_name.items() if name.startswith("output"))["shape"] == "(2, 2, 16, 16)"
    )
    assert by_name["features"]["highest"] == pytest.approx(torch.from_numpy(features[[1, 4]]).max().item())


def test_source_is_the_function_that_runs():
    shown = show_network.source(fit).data
    assert "fit" in shown and "state" in shown and "highlight" in shown
