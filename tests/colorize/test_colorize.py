"""Colouring a user's own files: any size and kind, lightness kept, nothing overwritten, bad files named."""

import dataclasses
import os
import struct

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image

from koala import colorize, config, experiment, lab
from koala.colorize.painter import STRIP, _extractor, _shrink
from koala.extractors import quantize
from koala.system import paths
from koala.system.errors import KoalaError

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
    run = experiment.run(settings, experiment.load_inputs(settings, photos, rows, CPU), CPU)
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


def test_strips_change_no_bit(painter):
    """Against everything at once, on a picture of more than a strip."""
    rgb = np.random.default_rng(0).integers(0, 256, (1100, 1003, 3), dtype=np.uint8)
    assert rgb[..., 0].size > STRIP
    full = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    small = F.interpolate(full.float(), (32, 32), mode="bilinear", antialias=True).round().to(torch.uint8)
    with torch.no_grad():
        ab_norm = painter.model.half(lab.network_inputs(small)[0], None)
    ab = F.interpolate(lab.denorm_ab(painter.loss.decode(ab_norm.float())), (1100, 1003), mode="bilinear")
    expected = lab.lab_to_rgb(torch.cat([lab.rgb_to_lab(full)[:, :1], ab], 1))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(colorize.colour(painter, rgb), expected)


def test_the_length_that_the_network_sees_is_bounded():
    assert _shrink(torch.zeros(1, 3, 1, 50_000, dtype=torch.uint8), 64).shape[2:] == (8, 1024)
    assert _shrink(torch.zeros(1, 3, 100, 900, dtype=torch.uint8), 64).shape[2:] == (64, 576)


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


def spoil_second_page(path):
    """A TIFF whose second page has neither width nor height: Pillow raises a TypeError."""
    Image.new("RGB", (20, 20)).save(path)
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    following = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[following : following + 4] = struct.pack("<I", len(content))
    path.write_bytes(content + struct.pack("<HHHIHHI", 1, 258, 3, 1, 8, 0, 0))


def test_bad_files_are_named_and_the_others_go_on(tmp_path, monkeypatch):
    place = tmp_path / "pictures"
    (place / "folder.jpg").mkdir(parents=True)
    (place / "link.jpg").symlink_to(tmp_path / "nothing.jpg")
    (place / "loop.jpg").symlink_to(place / "loop.jpg")
    os.mkfifo(place / "pipe.jpg")
    (place / "empty.jfif").write_bytes(b"")
    spoil_second_page(place / "pages.tif")
    (place / "secret.png").write_bytes(b"any")
    Image.new("RGB", (900, 100), "gray").save(place / "wide.png")
    Image.new("L", (12, 12), 90).save(place / "tiny.bmp")
    Image.new("CMYK", (40, 30), (0, 0, 0, 99)).save(place / "cmyk.jpeg")

    def read_bytes(path, read=paths.Path.read_bytes):
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(paths.Path, "read_bytes", read_bytes)
    reasons = {
        "folder.jpg": "a folder",
        "link.jpg": "a link to nothing",
        "loop.jpg": "a link to nothing",
        "pipe.jpg": "not a regular file",
        "empty.jfif": "zero bytes",
        "pages.tif": "damaged",
        "secret.png": "Permission denied",
    }
    pictures = colorize.find_pictures(str(place))
    assert (
        len(colorize.targets(pictures, str(place), str(tmp_path / "out")))
        == len(pictures)
        == len(reasons) + 3
    )
    sizes = {}
    for path in pictures:
        if path.name in reasons:
            with pytest.raises(KoalaError, match=f"{path.name}: .*{reasons[path.name]}"):
                colorize.read(path)
        else:
            sizes[path.name] = colorize.read(path).shape
    assert sizes == {"wide.png": (100, 900, 3), "tiny.bmp": (12, 12, 3), "cmyk.jpeg": (30, 40, 3)}


def test_results_inside_the_folder_are_no_pictures_the_next_time(tmp_path):
    place = tmp_path / "pictures"
    place.mkdir()
    Image.new("RGB", (16, 16)).save(place / "a.png")
    for _ in range(2):
        pictures = colorize.find_pictures(str(place), str(place / "out"))
        found = colorize.targets(pictures, str(place), str(place / "out"))
        assert pictures == [place / "a.png"] and found == [place / "out/a.png"]
        Image.new("RGB", (16, 16)).save(found[0])
    with pytest.raises(KoalaError, match="one of the pictures itself"):
        colorize.targets(colorize.find_pictures(str(place), str(place)), str(place), str(place))


def test_an_output_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    (tmp_path / "file.jpg").write_text("no folder")
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for output in (tmp_path / "file.jpg", tmp_path / "file.jpg/deep"):
        with pytest.raises(KoalaError, match=r"the output folder '.*file\.jpg.*' cannot be made"):
            colorize.targets(pictures, str(tmp_path), str(output))
    monkeypatch.delitem(Image.SAVE, "AVIF", raising=False)
    with pytest.raises(KoalaError, match=r"cannot write \.avif here.*x\.png"):
        colorize.targets(pictures[:1], str(pictures[0]), str(tmp_path / "x.avif"))


def test_a_run_is_found_by_a_path_from_anywhere(painter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(paths.home()))
    monkeypatch.setattr(
        paths, "ROOT", paths.home()
    )  # what a user's paths are looked up in besides the working folder
    for name in (painter.name, f"runs/{painter.name}", f"~/runs/{painter.name}"):
        assert colorize.find_run(name).resolve() == paths.runs_dir() / painter.name


def test_a_run_with_other_extractor_weights_is_refused(painter):
    settings = dataclasses.replace(painter.config, backbone="efficientnet", weights="untrained")
    with pytest.raises(KoalaError, match="get those weights"):
        _extractor(settings, {"trained": True, "weights": "ImageNet", "sha256": "0" * 64}, CPU)


def test_packed_weights_are_within_half_a_step_and_small():
    state = {"conv.weight": torch.randn(8, 4, 3, 3), "conv.bias": torch.randn(8), "fine": torch.zeros(3, 3)}
    packed = quantize.quantize(state)
    restored = quantize.dequantize(safetensors.torch.load(safetensors.torch.save(packed)))
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
