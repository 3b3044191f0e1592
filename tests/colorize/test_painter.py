"""Colouring an array of any size: lightness kept, strips and warnings unseen, strength, runs and their weights found."""

import dataclasses
import warnings

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from small_runs import small, train

from koala import colorize, config, experiment, lab
from koala.colorize import upsample
from koala.colorize.painter import _extractor, predict, shrink, working_size
from koala.experiment import artefacts
from koala.system import paths
from koala.system.errors import KoalaError


def in_lab(rgb: np.ndarray) -> torch.Tensor:
    return lab.rgb_to_lab(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None])


def camera(shape) -> np.ndarray:
    return np.array(Image.fromarray(skimage.data.camera()).resize(shape[::-1]).convert("RGB"))


@pytest.mark.parametrize("shape", [(61, 97), (300, 40), (8, 8), (33, 31)])
def test_any_size_keeps_its_lightness(painter, shape):
    gray = camera(shape)
    coloured = colorize.colour(painter, gray)
    assert coloured.shape == gray.shape and coloured.dtype == np.uint8
    changed = (in_lab(coloured) - in_lab(gray))[:, 0].abs()
    assert changed.median() < 0.5  # clipping to sRGB moves the darkest and brightest


def test_an_array_or_a_file_without_a_warning(painter, tmp_path):
    gray = skimage.data.camera()[::4, ::4].copy()
    Image.fromarray(gray).save(tmp_path / "gray.png")
    frozen = np.stack([gray] * 3, 2)
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [colorize.colour(painter, p) for p in (frozen, gray, str(tmp_path / "gray.png"))]
    assert all(np.array_equal(result, results[0]) for result in results)
    for wrong in (frozen / 255, frozen[..., :2], np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(KoalaError, match="must be uint8 of shape"):
            colorize.colour(painter, wrong)


def test_strength_scales_chroma(bundled):
    cat = skimage.data.chelsea()[::4, ::4]
    chroma = [
        in_lab(colorize.colour(bundled, cat, strength=s))[:, 1:].norm(dim=1).mean().item()
        for s in (0, 0.5, 1)
    ]
    assert chroma[0] < 0.1 and chroma[2] > 2  # gray; and not gray
    assert chroma[1] == pytest.approx(chroma[2] / 2, rel=0.1)


def test_the_library_call_of_the_readme(bundled, tmp_path):
    Image.fromarray(skimage.data.chelsea()).convert("L").save(tmp_path / "old_photograph.jpg")
    coloured = colorize.colour(bundled, tmp_path / "old_photograph.jpg")
    assert coloured.shape == skimage.data.chelsea().shape and coloured.dtype == np.uint8
    assert in_lab(coloured)[:, 1:].norm(dim=1).mean() > 2  # not gray
    assert colorize.colour(bundled, tmp_path / "old_photograph.jpg", size=64).shape == coloured.shape


@pytest.mark.parametrize("grid", [(16, 24), (64, 64)])
def test_joined_at_once_and_in_strips(grid, monkeypatch):
    """Against torch's bicubic enlargement of everything at once, and the slope by numpy's least squares."""
    rgb = skimage.data.astronaut()
    L_full = in_lab(rgb)[:, :1]
    L, ab = F.interpolate(L_full, grid, mode="area"), torch.randn(1, 2, *grid) * 10
    sl = upsample.slope(ab, L)
    big = F.interpolate(torch.cat([ab, sl, L], 1), rgb.shape[:2], mode="bicubic")
    expected = lab.lab_to_rgb(torch.cat([L_full, big[:, :2] + big[:, 2:4] * (L_full - big[:, 4:])], 1))
    for strip in (2**12, 2**20):
        monkeypatch.setattr(upsample, "STRIP", strip)
        joined = upsample.join(rgb, ab, L).astype(int)
        assert np.abs(joined - expected[0].permute(1, 2, 0).numpy()).max() <= 1  # rounding


def test_the_slope_is_damped_least_squares(monkeypatch):
    monkeypatch.setattr(upsample, "DAMPING", 1e-6)
    L = torch.rand(1, 1, 12, 12, dtype=torch.float64) * 100
    ab = torch.cat([0.3 * L + 2, -0.1 * L], 1)  # a linear function of L* has its own slope everywhere
    assert torch.allclose(
        upsample.slope(ab, L)[0].mean((1, 2)), torch.tensor([0.3, -0.1]).double(), atol=1e-4
    )
    assert not upsample.slope(torch.ones(1, 2, 5, 5), torch.full((1, 1, 5, 5), 50.0)).any()


def test_colour_keeps_to_edges_better_than_bilinear():
    """True a*b*, averaged to a grid of 16 and enlarged again."""
    rgb = np.asarray(Image.fromarray(skimage.data.coffee()).resize((256, 256)))
    full = in_lab(rgb)
    L, ab = (F.interpolate(part, (16, 16), mode="area") for part in (full[:, :1], full[:, 1:]))
    error = (in_lab(upsample.join(rgb, ab, L)) - full)[:, 1:].square().mean()
    bilinear = (F.interpolate(ab, (256, 256), mode="bilinear") - full[:, 1:]).square().mean()
    assert error < 0.9 * bilinear


def test_a_mirror_image_gets_the_mirrored_colours(painter):
    photograph = camera((64, 96))
    ab, mirrored = (
        predict(painter, one)[0] for one in (photograph, np.ascontiguousarray(photograph[:, ::-1]))
    )
    assert torch.allclose(mirrored.flip(3), ab, atol=1e-4) and ab.std() > 0


def test_the_length_that_the_network_sees_is_bounded():
    assert shrink(torch.zeros(1, 3, 1, 50_000, dtype=torch.uint8), 64).shape[2:] == (8, 1024)
    assert shrink(torch.zeros(1, 3, 100, 900, dtype=torch.uint8), 64).shape[2:] == (64, 576)


def test_small_photographs_are_seen_at_their_own_size(painter):
    painter = dataclasses.replace(painter, size=160)
    for shape, expected in {(500, 300): 160, (100, 120): 100, (32, 200): 64}.items():
        assert working_size(painter, camera(shape)) == expected
    assert predict(painter, camera((100, 120)))[0].shape[2:] == (48, 60)  # half of the multiples of 8 near it
    assert predict(painter, camera((100, 120)), 160)[0].shape[2:] == (80, 96)


def test_a_pyramid_is_taken_and_its_encoder_sees_the_luma(photo_folder):
    settings = small(photo_folder, network="pyramid", backbone="efficientnet", weights="untrained")
    painter = colorize.load(train(settings).folder.name)
    assert painter.extractor is None and painter.size == 32
    photograph = np.ascontiguousarray(experiment.load_photos(settings).images[0])
    rgb = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        own, mirrored = (painter.model.half(*lab.network_inputs(one)) for one in (rgb, rgb.flip(3)))
        expected = lab.denorm_ab((own + mirrored.flip(3)) / 2)
    assert torch.allclose(predict(painter, photograph)[0], expected, atol=1e-4)
    assert colorize.colour(painter, camera((90, 50))).shape == (90, 50, 3)


def test_a_run_is_found_by_a_path_from_anywhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(paths.home()))
    monkeypatch.setattr(paths, "ROOT", paths.home())  # where a user's paths are looked up besides
    for name in (run.folder.name, f"runs/{run.folder.name}", f"~/runs/{run.folder.name}"):
        assert artefacts.find(name).resolve() == paths.runs_dir() / run.folder.name
    with pytest.raises(KoalaError, match="no finished run 'nothing'"):
        colorize.load("nothing")


def test_a_run_with_other_extractor_weights_is_refused():
    weights = {"trained": True, "weights": "ImageNet", "sha256": "0" * 64}
    with pytest.raises(
        KoalaError,
        match="the-run was trained with an extractor with ImageNet, and here is one with untrained",
    ):
        _extractor("the-run", config.RunConfig(weights="untrained"), weights)
