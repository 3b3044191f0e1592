"""Lab: first against scikit-image and PIL, then the way back, then types and shapes."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import color, data

from koala import lab
from koala.system.errors import KoalaError


def colours(n, seed=0):
    """n random sRGB colours as a picture (1,3,1,n), with every edge and gray of the cube among them."""
    levels = np.arange(256)
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, -1).T
    edges = [
        np.where(np.arange(3) == axis, level, corner)
        for axis in range(3)
        for corner in corners
        for level in levels
    ]
    grays = np.repeat(levels, 3).reshape(-1, 3)
    random = np.random.default_rng(seed).integers(0, 256, (n - len(edges) - 256, 3))
    rgb = np.concatenate([edges, grays, random]).astype(np.uint8)
    return torch.from_numpy(rgb.T[None, :, None].copy())


def as_skimage(picture):
    return picture[0].permute(1, 2, 0).numpy()


def test_lab_equals_skimage():
    rgb = colours(200_000)
    assert np.abs(as_skimage(lab.rgb_to_lab(rgb)) - color.rgb2lab(as_skimage(rgb))).max() < 1e-3


def test_float_rgb_equals_skimage():
    rgb = torch.rand(2, 3, 40, 50, generator=torch.manual_seed(0))
    expected = color.rgb2lab(rgb.double().numpy(), channel_axis=1)
    assert np.abs(lab.rgb_to_lab(rgb).numpy() - expected).max() < 1e-3
    u8 = colours(10_000)
    assert (lab.rgb_to_lab(u8) - lab.rgb_to_lab(u8 / 255)).abs().max() < 1e-3


def test_uint8_survives_the_way_to_lab_and_back():
    rgb = colours(1_000_000, seed=1)
    assert torch.equal(lab.lab_to_rgb(lab.rgb_to_lab(rgb)), rgb)
    L, ab = lab.rgb_to_lab(rgb).split([1, 2], 1)
    assert torch.equal(lab.to_rgb(lab.norm_L(L), lab.norm_ab(ab)), rgb)


@pytest.mark.slow
def test_every_one_of_the_16_777_216_colours():
    difference, changed = lab.check_all_colours()
    assert difference < 1e-3
    assert changed == 0


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_colours_outside_srgb_are_clipped_as_skimage_does():
    L, a, b = torch.meshgrid(
        torch.linspace(0, 100, 21),
        torch.linspace(-127, 127, 41),
        torch.linspace(-127, 127, 41),
        indexing="ij",
    )
    picture = torch.stack([L, a, b])[None].flatten(3)  # (1, 3, 21, 1681)
    expected = color.lab2rgb(as_skimage(picture).astype(np.float64)) * 255
    assert np.abs(as_skimage(lab.lab_to_rgb(picture)) - expected).max() < 0.51  # half a level is the rounding


def test_a_photograph_looks_the_same_in_any_batch():
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None]
    batch = torch.cat([255 - cat, cat])
    assert torch.equal(lab.rgb_to_lab(batch)[1:], lab.rgb_to_lab(cat))
    assert torch.equal(lab.rgb_to_lab(cat.contiguous(memory_format=torch.channels_last)), lab.rgb_to_lab(cat))


def test_luma_is_what_pil_calls_gray():
    rgb = colours(50_000)
    pil = np.asarray(Image.fromarray(as_skimage(rgb)).convert("L"), dtype=np.float64)
    assert np.abs(lab.luma(rgb)[0, 0].numpy() * 255 - pil).max() < 0.51
    assert (lab.luma(rgb) - lab.luma(rgb / 255)).abs().max() < 1e-6
    assert lab.luma(rgb).min() >= 0 and lab.luma(rgb).max() <= 1


@pytest.mark.parametrize(
    ("name", "rgb", "L_picture", "L_gray"),
    [
        ("blue", (0, 0, 255), 32.30, 10.8),
        ("red", (255, 0, 0), 53.24, 32.3),
        ("green", (0, 255, 0), 87.73, 62.1),
        ("white", (255, 255, 255), 100.0, 100.0),
        ("gray", (119, 119, 119), 50.03, 50.03),
    ],
)
def test_network_inputs_of_saturated_colours(name, rgb, L_picture, L_gray):
    """A gray photograph of a blue wall is darker than the wall's L*: both values must come from the one function."""
    picture = torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)
    L_norm, gray = lab.network_inputs(picture)
    assert lab.denorm_L(L_norm).item() == pytest.approx(L_picture, abs=0.01)
    assert gray.item() == pytest.approx(np.dot(rgb, [0.299, 0.587, 0.114]) / 255, abs=1e-6)
    L_of_gray, gray_again = lab.network_inputs((gray * 255).round().to(torch.uint8).expand(1, 3, 1, 1))
    assert lab.denorm_L(L_of_gray).item() == pytest.approx(L_gray, abs=0.1)
    assert gray_again.item() == pytest.approx(gray.item(), abs=0.5 / 255)


def test_scales_and_their_inverses():
    L, ab = torch.tensor([0.0, 50.0, 100.0]), torch.tensor([-127.0, 0.0, 127.0])
    assert torch.equal(lab.norm_L(L), torch.tensor([-1.0, 0.0, 1.0]))
    assert torch.equal(lab.norm_ab(ab), torch.tensor([-1.0, 0.0, 1.0]))
    L, ab = torch.rand(100) * 100, torch.rand(100) * 200 - 100
    torch.testing.assert_close(lab.denorm_L(lab.norm_L(L)), L, atol=1e-5, rtol=0)
    torch.testing.assert_close(lab.denorm_ab(lab.norm_ab(ab)), ab, atol=1e-5, rtol=0)


def test_gamut_bins():
    bins = lab.gamut_bins(10)
    assert bins.shape == (261, 2) and bins.dtype == torch.float32  # 261 of the 313 of Zhang et al. are real
    assert bins.amin(0).tolist() == [-90, -110] and bins.amax(0).tolist() == [100, 90]
    bins.zero_()  # the caller's own copy
    ab = color.rgb2lab(as_skimage(colours(300_000)))[0, :, 1:]
    touched = {tuple(cell) for cell in (np.round(ab / 10) * 10 + 0.0).tolist()}
    assert touched <= {tuple(cell) for cell in lab.gamut_bins(10).tolist()}
    assert len(touched) > 250


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 10])
def test_gamut_bins_are_those_of_all_colours(step):
    levels, cells = torch.arange(256, dtype=torch.uint8), []
    for red in levels:
        rgb = torch.stack([x.contiguous() for x in torch.broadcast_tensors(red, levels[:, None], levels)])[
            None
        ]
        cells.append((lab.rgb_to_lab(rgb)[0, 1:].flatten(1).T / step).round().int().unique(dim=0))
    assert torch.equal(torch.cat(cells).unique(dim=0).float() * step, lab.gamut_bins(step))


def test_autocast_does_not_touch_lab():
    rgb = colours(20_000)
    expected = lab.rgb_to_lab(rgb)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(lab.rgb_to_lab(rgb), expected)
        assert torch.equal(lab.lab_to_rgb(expected), rgb)
        assert lab.network_inputs(rgb)[0].dtype == torch.float32
    assert lab.rgb_to_lab(rgb.double() / 255).dtype == torch.float32


def test_empty_batch():
    empty = torch.zeros(0, 3, 4, 5, dtype=torch.uint8)
    assert lab.rgb_to_lab(empty).shape == empty.shape
    assert lab.lab_to_rgb(lab.rgb_to_lab(empty)).dtype == torch.uint8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_keeps_every_colour():
    rgb = colours(1_000_000).cuda()
    assert torch.equal(lab.lab_to_rgb(lab.rgb_to_lab(rgb)), rgb)
    assert (lab.rgb_to_lab(rgb).cpu() - lab.rgb_to_lab(rgb.cpu())).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("rgb", "message"),
    [
        (np.zeros((1, 3, 2, 2), np.uint8), "torch tensor"),
        (torch.zeros(3, 2, 2), "shape"),
        (torch.zeros(1, 2, 2, 3), "shape"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.int64), "int64"),
        (torch.full((1, 3, 2, 2), 200.0), "divide by 255"),
        (torch.full((1, 3, 2, 2), float("nan")), r"\[0, 1\]"),
    ],
)
def test_bad_pictures_are_refused_in_one_sentence(rgb, message):
    with pytest.raises(KoalaError, match=message):
        lab.network_inputs(rgb)


def test_other_bad_input():
    with pytest.raises(KoalaError, match="lab must be"):
        lab.lab_to_rgb(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    with pytest.raises(KoalaError, match="ab_norm"):
        lab.to_rgb(torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2))
    with pytest.raises(KoalaError, match="step"):
        lab.gamut_bins(0)


def test_the_lightness_of_a_gray_picture_is_its_own():
    gray = torch.rand(2, 1, 5, 7)
    expected = lab.rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    assert torch.allclose(lab.lightness(gray), expected, atol=1e-4)
    assert lab.lightness(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).flatten().tolist() == pytest.approx(
        [0, 100], abs=1e-3
    )
