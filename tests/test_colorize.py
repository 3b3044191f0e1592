"""Colouring a user's own files: any size and kind, lightness kept, nothing overwritten, bad files named."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import torch
from PIL import Image

from koala import colorize, config, experiment, lab, packing
from koala.errors import KoalaError

CPU = torch.device("cpu")


@pytest.fixture
def painter(photo_folder):
    """A network without extractor, trained for a moment on real photographs (gently: three full steps saturate it)."""
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
    run = experiment.run(settings, photos, rows, *experiment.load_features(settings, photos, rows, CPU), CPU)
    return colorize.load(run.folder.name, CPU)


def lightness(rgb: np.ndarray) -> torch.Tensor:
    return lab.rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0, 0]


@pytest.mark.parametrize("shape", [(61, 97), (300, 40), (8, 8), (33, 31)])
def test_any_size_keeps_its_lightness(painter, shape):
    gray = np.asarray(Image.fromarray(skimage.data.camera()).resize(shape[::-1]).convert("RGB"))
    coloured = colorize.colour(painter, gray)
    assert coloured.shape == gray.shape and coloured.dtype == np.uint8
    assert (
        lightness(coloured) - lightness(gray)
    ).abs().median() < 0.5  # clipping to sRGB moves the darkest and brightest


def test_a_gray_file_and_its_colour_original_are_both_taken(painter, tmp_path):
    picture = skimage.data.chelsea()[::4, ::4]
    Image.fromarray(picture).save(tmp_path / "colour.png")
    Image.fromarray(picture).convert("L").save(tmp_path / "gray.png")
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.asarray(Image.fromarray(picture).convert("L")).astype(np.uint16) * 257).save(
        tmp_path / "deep" / "16 bit.png"
    )
    pictures = colorize.find_pictures(str(tmp_path))
    targets = colorize.targets(pictures, str(tmp_path), str(tmp_path / "out"))
    assert [str(t.relative_to(tmp_path)) for t in targets] == [
        "out/colour.png",
        "out/deep/16 bit.png",
        "out/gray.png",
    ]
    for source, target in zip(pictures, targets, strict=True):
        before, after = colorize.paint_file(painter, source, target)
        assert np.array_equal(np.asarray(Image.open(target)), after) and before.shape == after.shape


def test_outputs_never_fall_on_inputs_or_on_each_other(tmp_path):
    for name in ("a.png", "b.jpg", "b.png"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name)
    one = [tmp_path / "a.png"]
    assert colorize.targets(one, str(one[0]), "x.jpg")[0].name == "x.jpg"
    with pytest.raises(KoalaError, match="one of the pictures itself"):
        colorize.targets(one, str(one[0]), str(tmp_path))
    with pytest.raises(KoalaError, match="differ only in their suffix"):
        colorize.targets(colorize.find_pictures(str(tmp_path)), str(tmp_path), str(tmp_path / "out"))


def test_bad_input_is_one_sentence(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(KoalaError, match=r"broken\.png"):
        colorize.read(tmp_path / "broken.png")
    with pytest.raises(KoalaError, match="no file or folder 'nowhere'"):
        colorize.find_pictures("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KoalaError, match="there is no picture in"):
        colorize.find_pictures(str(tmp_path / "empty"))
    with pytest.raises(KoalaError, match="no finished run 'nothing'"):
        colorize.load("nothing", CPU)


def test_a_run_with_other_extractor_weights_is_refused(painter):
    settings = dataclasses.replace(painter.config, backbone="efficientnet", weights="untrained")
    with pytest.raises(KoalaError, match="get those weights"):
        colorize._extractor(settings, {"trained": True, "weights": "ImageNet", "sha256": "0" * 64}, CPU)


def test_packed_weights_are_within_half_a_step_and_small():
    state = {"conv.weight": torch.randn(8, 4, 3, 3), "conv.bias": torch.randn(8), "fine": torch.zeros(3, 3)}
    packed = packing.quantize(state)
    restored = packing.dequantize(safetensors.torch.load(safetensors.torch.save(packed)))
    assert packed["conv.weight"].dtype == torch.int8 and set(restored) == set(state)
    step = state["conv.weight"].flatten(1).abs().amax(1) / 127
    assert (
        (restored["conv.weight"] - state["conv.weight"]).abs().flatten(1).amax(1) <= step / 2 + 1e-6
    ).all()
    assert torch.equal(restored["conv.bias"], state["conv.bias"]) and not restored["fine"].any()


def test_the_network_that_comes_with_koala_colours_the_examples(tmp_path):
    painter = colorize.load("auto", CPU)
    assert painter.weights["trained"]
    picture = skimage.data.chelsea()[::2, ::2]
    coloured = colorize.colour(painter, picture)
    chroma = lab.rgb_to_lab(torch.from_numpy(coloured).permute(2, 0, 1)[None])[:, 1:].norm(dim=1).mean()
    assert chroma > 2  # not gray
