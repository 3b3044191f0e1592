"""Metrics: against published values, scikit-image, scipy and literal formulas; then the properties that users rely on."""

import math

import numpy as np
import pytest
import torch
from skimage import color, data
from skimage import metrics as reference
from skimage.transform import resize

from koala import lab, metrics
from koala.system.errors import KoalaError

# Sharma, Wu & Dalal 2005, table 1: L a b, L a b, dE00.
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425 | 50 3.1571 -77.2803 50 0 -82.7485 2.8615 | 50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000 | 50 -1.1848 -84.8006 50 0 -82.7485 1.0000 | 50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669 | 50 -1 2 50 0 0 2.3669 | 50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792 | 50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195 | 50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045 | 50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045 | 50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065 | 50 2.5 0 73 25 -18 27.1492 | 50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030 | 50 2.5 0 58 24 15 19.4535 | 50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000 | 50 2.5 0 50 1.8634 0.5757 1.0000 | 50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644 | 63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731 | 35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373 | 36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441 | 90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377 | 2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


@pytest.fixture(scope="module")
def photos():
    """Four photographs (4,3,48,64) uint8, the last one gray."""
    pictures = [
        resize(picture, (48, 64), anti_aliasing=True)
        for picture in (data.chelsea(), data.coffee(), data.astronaut())
    ]
    rgb = torch.from_numpy((np.stack(pictures) * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)
    return torch.cat([rgb, rgb[:1, :1].expand(-1, 3, -1, -1)])


@pytest.fixture(scope="module")
def guess(photos):
    """A prediction with errors of many sizes (4,2,48,64), some of it outside sRGB."""
    noise = (
        torch.randn(4, 2, 6, 8, generator=torch.manual_seed(0))
        .repeat_interleave(8, 2)
        .repeat_interleave(8, 3)
    )
    return lab.rgb_to_lab(photos)[:, 1:] * 0.6 + 15 * noise


def channels_last(batch):
    return batch.permute(0, 2, 3, 1).numpy()


def test_ciede2000_of_sharmas_34_pairs():
    rows = np.array(
        [row.split() for line in SHARMA.strip().splitlines() for row in line.split("|")], dtype=float
    )
    assert rows.shape == (34, 7)
    first, second = torch.from_numpy(rows[:, :3]), torch.from_numpy(rows[:, 3:6])
    np.testing.assert_allclose(metrics.ciede2000(first, second), rows[:, 6], atol=5e-5)
    forth, back = metrics.ciede2000(first, second).numpy(), metrics.ciede2000(second, first).numpy()
    on_the_edge = 9  # hues 180 degrees apart to the last digit: which way round is a matter of rounding
    np.testing.assert_allclose(np.delete(forth, on_the_edge), np.delete(back, on_the_edge), atol=1e-9)


def test_ciede2000_equals_skimage_on_random_colours():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 50_000, 3), dtype=np.uint8)
    rgb[:, :256] = np.arange(256)[None, :, None]  # grays
    rgb[1, 256:512] = rgb[0, 256:512]  # no difference
    one, two = color.rgb2lab(rgb)
    expected = color.deltaE_ciede2000(one, two)
    double = metrics.ciede2000(torch.from_numpy(one), torch.from_numpy(two)).numpy()
    np.testing.assert_allclose(double, expected, rtol=0, atol=1e-9)
    single = metrics.ciede2000(*(torch.from_numpy(x).float() for x in (one, two))).numpy()
    assert (
        np.quantile(np.abs(single - expected), 0.999) < 1e-3
    )  # a hue just past 180 degrees may turn the other way
    assert abs(single.mean() - expected.mean()) < 1e-4


def test_psnr_and_ssim_equal_skimage(photos, guess):
    shown = metrics.Truth(photos).compare(guess)[0]
    options = dict(
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    pairs = list(zip(channels_last(photos), channels_last(shown), strict=True))
    ssim = [reference.structural_similarity(one, two, **options) for one, two in pairs]
    psnr = [reference.peak_signal_noise_ratio(one, two, data_range=255) for one, two in pairs]
    np.testing.assert_allclose(metrics.ssim(photos, shown), ssim, atol=1e-5)
    np.testing.assert_allclose(metrics.psnr(photos, shown), psnr, atol=1e-4)
    flat = torch.full(
        (1, 3, 32, 32), 250, dtype=torch.uint8
    )  # no variance: the float32 cancellation is at its worst
    flat_noisy = flat + (torch.rand(1, 3, 32, 32, generator=torch.manual_seed(0)) * 3).to(torch.uint8)
    expected = reference.structural_similarity(
        channels_last(flat)[0], channels_last(flat_noisy)[0], **options
    )
    assert metrics.ssim(flat, flat_noisy).item() == pytest.approx(expected, abs=1e-4)


def test_a_perfect_picture_has_finite_psnr(photos):
    assert metrics.psnr(photos, photos).tolist() == pytest.approx([10 * math.log10(255**2 * 12)] * 4)
    assert metrics.ssim(photos, photos).tolist() == pytest.approx([1.0] * 4)
    tiny = photos[..., :8, :8]
    assert metrics.ssim(tiny, tiny).isnan().all()


def test_colourfulness_equals_the_formula_of_the_paper(photos):
    for picture, value in zip(
        channels_last(photos).astype(float), metrics.colourfulness(photos), strict=True
    ):
        R, G, B = picture[..., 0], picture[..., 1], picture[..., 2]
        rg, yb = R - G, 0.5 * (R + G) - B
        expected = np.sqrt(rg.std() ** 2 + yb.std() ** 2) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
        assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert metrics.colourfulness(photos)[3] == 0
    red_and_green = torch.tensor([[255, 0], [0, 255], [0, 0]], dtype=torch.uint8).view(1, 3, 1, 2)
    assert metrics.colourfulness(red_and_green).item() == pytest.approx(
        255 + 0.3 * 127.5
    )  # 0 + 0.3 ... without signs


def test_auc_equals_the_area_under_the_curve(photos, guess):
    true = lab.rgb_to_lab(photos)[:, 1:]
    far = guess.clone()
    far[:, :, :10] += 200  # errors beyond the last threshold count as nothing
    far[:, :, 10:20] = true[:, :, 10:20]
    error = (far - true).norm(dim=1).flatten(1)
    share = torch.stack([(error <= t).float().mean(1) for t in range(151)])
    torch.testing.assert_close(metrics.auc(true, far), share.mean(0), atol=1e-5, rtol=0)
    assert metrics.auc(true, true).tolist() == [1.0] * 4


def test_evaluate_gives_each_image_its_own_values(photos, guess):
    values = metrics.evaluate(photos, guess)
    assert all(value.shape == (4,) and value.dtype == torch.float32 for value in values.values())
    for i in range(4):
        alone = metrics.evaluate(photos[i : i + 1], guess[i : i + 1])
        for key, value in values.items():
            torch.testing.assert_close(alone[key][0], value[i], atol=1e-4, rtol=1e-4, equal_nan=True)


def test_measure_gives_what_evaluate_gives_and_four_values_for_each_hue(photos, guess):
    measured, evaluated = metrics.measure(metrics.Truth(photos), guess), metrics.evaluate(photos, guess)
    hues = {f"{hue}_{kind}" for hue in metrics.HUES for kind in ("share", "painted", "ciede2000", "recall")}
    assert measured.keys() == evaluated.keys() | hues
    for name, values in evaluated.items():
        assert torch.equal(measured[name].nan_to_num(-1), values.nan_to_num(-1)), name


def test_evaluate_judges_the_picture_that_is_shown(photos, guess):
    values = metrics.evaluate(photos, guess)
    shown = lab.lab_to_rgb(torch.cat([lab.rgb_to_lab(photos)[:, :1], guess], 1))
    true, pred = (color.rgb2lab(channels_last(x)) for x in (photos, shown))
    np.testing.assert_allclose(
        values["ciede2000"], color.deltaE_ciede2000(true, pred).mean((1, 2)), atol=1e-3
    )
    difference = (pred - true)[..., 1:]
    np.testing.assert_allclose(values["ab_rmse"], np.sqrt((difference**2).mean((1, 2, 3))), atol=1e-3)
    np.testing.assert_allclose(values["a_shift"], difference[..., 0].mean((1, 2)), atol=1e-3)
    np.testing.assert_allclose(values["b_shift"], difference[..., 1].mean((1, 2)), atol=1e-3)
    chroma = [np.hypot(x[..., 1], x[..., 2]).mean((1, 2)) for x in (true, pred)]
    np.testing.assert_allclose(values["chroma_ratio"][:3], (chroma[1] / chroma[0])[:3], atol=1e-3)
    assert values["chroma_ratio"][3].isnan()  # the gray photograph has no chroma to compare with


def test_the_truth_scores_perfectly_and_shifts_have_their_sign(photos):
    ab = lab.rgb_to_lab(photos)[:, 1:]
    perfect = metrics.evaluate(photos, ab)
    assert perfect["ciede2000"].max() == 0 and perfect["ab_rmse"].max() == 0
    assert torch.equal(perfect["colourfulness"], perfect["colourfulness_true"])
    bluish = metrics.evaluate(photos, ab - torch.tensor([0.0, 8.0]).view(1, 2, 1, 1))
    assert (bluish["b_shift"] < -4).all() and (bluish["a_shift"].abs() < 2).all()


def test_errors_by_hue_equal_the_literal_formula(photos, guess):
    values = metrics.measure(metrics.Truth(photos), guess)
    shown = lab.lab_to_rgb(torch.cat([lab.rgb_to_lab(photos)[:, :1], guess], 1))
    true, pred = (color.rgb2lab(channels_last(x)) for x in (photos, shown))
    error = color.deltaE_ciede2000(true, pred)
    ends = [*list(metrics.HUES.values())[1:], 360]
    for (name, low), high in zip(metrics.HUES.items(), ends, strict=True):
        inside = [(h >= low) & (h < high) & (c > 10) for h, c in map(hue_and_chroma, (true, pred))]
        for i in range(4):
            assert values[f"{name}_share"][i].item() == pytest.approx(inside[0][i].mean(), abs=1e-3)
            mean = error[i][inside[0][i]].mean() if inside[0][i].any() else math.nan
            assert values[f"{name}_ciede2000"][i].item() == pytest.approx(mean, abs=0.05, nan_ok=True)
            recall = inside[1][i][inside[0][i]].mean() if inside[0][i].any() else math.nan
            assert values[f"{name}_recall"][i].item() == pytest.approx(recall, abs=0.02, nan_ok=True)
    assert all(values[f"{name}_ciede2000"][3].isnan() for name in metrics.HUES)  # the gray photograph


def hue_and_chroma(picture):
    a, b = picture[..., 1], picture[..., 2]
    return np.degrees(np.arctan2(b, a)) % 360, np.hypot(a, b)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"),
        ((220, 130, 60), "orange"),
        ((255, 255, 0), "yellow"),
        ((90, 140, 60), "green"),
        ((0, 255, 0), "green"),
        ((0, 255, 255), "cyan"),
        ((110, 160, 220), "blue"),
        ((0, 0, 255), "blue"),
        ((255, 0, 255), "purple"),
    ],
)
def test_hues_have_their_everyday_names(rgb, name):
    picture = torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)
    assert (
        metrics.measure(metrics.Truth(picture), lab.rgb_to_lab(picture)[:, 1:])[f"{name}_share"].item() == 1
    )


def test_baselines_are_the_training_means(photos):
    ab, L = lab.rgb_to_lab(photos)[:, 1:].double(), lab.rgb_to_lab(photos)[:, :1]
    fitted = metrics.fit_baselines(iter([photos[:1], photos[1:]]))  # streaming: batches do not matter
    torch.testing.assert_close(fitted.mean_ab, ab.mean((0, 2, 3)).float(), atol=1e-4, rtol=0)
    assert fitted.ab_by_lightness.shape == (101, 2)
    rows = L[:, 0].round()
    for row in rows.unique()[::10]:
        expected = ab.movedim(1, 3)[rows == row].mean(0).float()
        torch.testing.assert_close(fitted.ab_by_lightness[int(row)], expected, atol=1e-4, rtol=0)
    assert fitted.predict("gray", L).abs().max() == 0
    assert torch.equal(fitted.predict("mean", L)[2, :, 5, 7], fitted.mean_ab)
    assert torch.equal(fitted.predict("lightness", L)[2, :, 5, 7], fitted.ab_by_lightness[int(rows[2, 5, 7])])
    assert {fitted.predict(name, L).shape for name in metrics.BASELINES} == {(4, 2, 48, 64)}


def test_baselines_improve_in_their_order_on_what_they_were_fitted_to(photos):
    fitted, L = metrics.fit_baselines([photos]), lab.rgb_to_lab(photos)[:, :1]
    squared = [
        (fitted.predict(name, L) - lab.rgb_to_lab(photos)[:, 1:]).square().mean()
        for name in metrics.BASELINES
    ]
    assert squared[0] > squared[1] > squared[2]


def test_lightness_without_training_pixels_is_interpolated():
    two = torch.tensor([[0, 255], [0, 255], [60, 200]], dtype=torch.uint8).view(1, 3, 1, 2)
    fitted = metrics.fit_baselines([two])
    assert fitted.ab_by_lightness.isfinite().all()
    steps = fitted.ab_by_lightness[10:90].diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), atol=1e-3, rtol=0)


def test_bad_input_is_named(photos, guess):
    with pytest.raises(KoalaError, match="uint8"):
        metrics.evaluate(photos / 255, guess)
    with pytest.raises(KoalaError, match="ab_pred"):
        metrics.evaluate(photos, guess[..., ::2, ::2])
    with pytest.raises(KoalaError, match="lightness"):
        metrics.fit_baselines([photos]).predict("brown", guess[:, :1])
    with pytest.raises(KoalaError, match="at least one"):
        metrics.fit_baselines([])
