"""L* and luma together give colour away; one of them does not."""

import numpy as np
import pytest
import torch
from PIL import Image

from koala import config, lab
from koala.experiment import two_grays


@pytest.fixture
def folder(tmp_path):
    """Photographs of one colour each, red, green, blue or yellow, in many shades."""
    for i in range(60):
        shades = np.random.default_rng(i).uniform(90, 256, (32, 32, 1))
        colour = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)][i % 4])
        Image.fromarray((colour * shades).astype(np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_saturated_colours_are_read_off_two_grays(folder):
    settings = {"dataset": str(folder), "image_size": 32, "backbone": "none"}
    found = two_grays.compare(config.from_dict(config.RunConfig, settings), 60)
    assert found["two grays"] < 0.5 * found["lightness"]


def test_a_gray_photograph_has_one_gray():
    """Its cells are those of its lightness, with nothing between L* and luma."""
    gray = torch.randint(0, 256, (2, 1, 8, 8)).to(torch.uint8).expand(-1, 3, -1, -1)
    cells = two_grays._cells(gray)
    assert (cells % two_grays.STEPS == two_grays.STEPS // 2).all()
    assert torch.equal(cells // two_grays.STEPS, lab.rgb_to_lab(gray)[:, 0].round().long())


def test_how_precisely_a_vector_tells_the_luma(folder):
    settings = {"dataset": str(folder), "image_size": 32, "backbone": "resnet18", "weights": "untrained"}
    found = two_grays.told_by_a_vector(config.from_dict(config.RunConfig, settings | {"layer": "features"}))
    assert found["apart"] > 5 and 0 < found["off"] < 20  # saturated colours
