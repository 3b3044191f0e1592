"""Losses against literal implementations of their formulas, in value and gradient; encodings against their inverse."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from koala import bins, lab, losses
from koala.system.errors import KoalaError


def photos(n=3, size=16, seed=0):
    """Saturated and dull colours in smooth patches: ab_norm (n,2,size,size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    rgb = F.interpolate(coarse, (size, size), mode="bilinear").mul(255).byte()
    return lab.norm_ab(lab.rgb_to_lab(rgb)[:, 1:])


def make(name, **parameters):
    prior = bins.count_bins(lab.denorm_ab(photos(8, 32, seed=9)))
    loss = losses.build(name, prior=prior, **parameters)
    return loss, torch.randn(3, loss.bins or 2, 8, 8, generator=torch.Generator().manual_seed(1))


def value_and_gradient(function, output, target):
    output = output.detach().clone().requires_grad_()
    value = function(output, target)
    value.backward()
    return value.item(), output.grad


def up(output):
    return F.interpolate(output, scale_factor=2, mode="nearest")


def half(ab_norm):
    n, c, h, w = ab_norm.shape
    return ab_norm.view(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


# Literal formulas: mse and crossentropy on the upsampled output at full resolution, the others with dense targets.


def literal_mse(output, ab_norm):
    return ((up(output) - ab_norm) ** 2).sum() / ab_norm.numel()


def literal_crossentropy(output, ab_norm):
    return F.cross_entropy(up(output), ab_norm)


def literal_crossentropy_unit(output, ab_norm):
    return F.cross_entropy(up(output), (ab_norm + 1) / 2)


def literal_binned(output, ab_norm, n=50, span=110.0):
    centres = -span + (2 * span / n) * (torch.arange(n) + 0.5)
    ab = half(ab_norm) * 127
    total = 0
    for channel in (0, 1):
        logits = output[:, channel * n : (channel + 1) * n]
        distance = (ab[:, channel, None] - centres.view(1, n, 1, 1)).abs() / (2 * span / n)
        target = (1 - distance).clamp_min(0)  # triangular: shares of the two nearest bins
        total = total - (target * torch.log(torch.softmax(logits, 1))).sum(1).mean()
    return total


def literal_soft(ab, centres, k=5, sigma=5.0):
    """(P,2) -> dense (P,Q): Gaussian weights of the k nearest, normalized (Zhang et al., eq. 2)."""
    squared = ((ab[:, None] - centres) ** 2).sum(-1)
    target = torch.zeros_like(squared)
    for p, row in enumerate(squared):
        nearest = torch.argsort(row)[:k]
        weight = torch.exp(-row[nearest] / (2 * sigma**2))
        target[p, nearest] = weight / weight.sum()
    return target


def literal_rebalanced(output, ab_norm, weights):
    centres = lab.gamut_bins(10)
    total, count = 0, 0
    for logits, picture in zip(output, ab_norm * 127, strict=True):
        count += logits[0].numel()
        if not (picture.abs() > 5).any():
            continue
        ab = half(picture[None] / 127)[0].mul(127).flatten(1).T  # (P, 2)
        target = literal_soft(ab, centres)
        log_z = torch.log(torch.softmax(logits.flatten(1).T, 1))
        total = total - (weights[target.argmax(1)] * (target * log_z).sum(1)).sum()
    return total / count


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_value_and_gradient_equal_the_literal_formula(name):
    loss, output = make(name)
    target = photos()
    target[1] *= 0.01  # one gray picture
    literal = {
        "mse": literal_mse,
        "crossentropy": literal_crossentropy,
        "crossentropy_unit": literal_crossentropy_unit,
        "binned": literal_binned,
        "rebalanced": lambda o, t: literal_rebalanced(o, t, loss.weights),
    }[name]
    value, gradient = value_and_gradient(loss.compute, output, target)
    expected, expected_gradient = value_and_gradient(literal, output, target)
    assert value == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(gradient, expected_gradient, atol=1e-7, rtol=1e-4)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_the_mean_over_a_batch_is_the_mean_over_its_pictures(name):
    loss, output = make(name)
    target = photos()
    target[1] = 0
    single = [loss.compute(output[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert loss.compute(output, target).item() == pytest.approx(np.mean(single), rel=1e-5)


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_bfloat16_agrees_with_float32_and_autocast_changes_nothing(name):
    loss, exact = make(name)
    output, target = exact.bfloat16().float(), photos()
    value = loss.compute(output, target)
    assert value.item() == pytest.approx(loss.compute(exact, target).item(), rel=1e-3, abs=1e-3)
    assert loss.compute(output.bfloat16(), target).item() == value.item()  # the same numbers in another type
    _, gradient = value_and_gradient(loss.compute, output.bfloat16(), target)
    _, expected = value_and_gradient(loss.compute, exact, target)
    assert F.cosine_similarity(gradient.float().flatten(), expected.flatten(), 0) > 0.999
    with torch.autocast("cpu", torch.bfloat16):
        inside, decoded = loss.compute(output, target), loss.decode(output)
    assert inside.dtype == decoded.dtype == torch.float32 and inside.item() == value.item()
    assert torch.equal(decoded, loss.decode(output))


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_shapes_of_decode_and_what_the_network_must_give(name):
    loss, output = make(name)
    assert loss.name == name and loss.bins == {"binned": 100, "rebalanced": 261}.get(name)
    assert loss.decode(output).shape == (3, 2, 8, 8) and loss.compute(output, photos()).shape == ()
    for wrong in (photos()[:, :, :8], photos(2), torch.zeros(3, 1, 16, 16)):
        with pytest.raises(KoalaError, match=r"must be \(N"):
            loss.compute(output, wrong)
    with pytest.raises(KoalaError, match=r"must be \(N"):
        loss.compute(output[:, :-1], photos())


def dense(loss, ab):
    index, weight = loss.encode(ab)
    return torch.zeros(len(ab), loss.bins, *ab.shape[2:]).scatter_add_(1, index, weight)


@pytest.mark.parametrize("name", ["binned", "rebalanced"])
def test_encode_then_decode_returns_the_colour(name):
    loss = losses.build(name, temperature=1.0)
    rgb = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    ab = lab.rgb_to_lab(rgb)[:, 1:]  # every part of the gamut
    target = dense(loss, ab)
    softmaxes = 2 if name == "binned" else 1
    assert torch.allclose(target.sum(1), torch.full((4, 32, 32), float(softmaxes)), atol=1e-5)
    error = (lab.denorm_ab(loss.decode((target + 1e-30).log())) - ab).norm(dim=1)
    assert error.mean() < 0.3  # Zhang et al.'s 5 neighbours give 0.26 on their bins


def test_decoding_runs_from_the_mean_to_the_mode_with_the_temperature():
    _, output = make("rebalanced")
    output *= 3
    by = {
        key: losses.build("rebalanced", **parameters).decode(output)
        for key, parameters in {
            "mean": dict(temperature=1.0),
            "mode": dict(temperature=1e-6),
            "default": {},
        }.items()
    }
    centres = lab.gamut_bins(10)
    z = torch.softmax(output, 1)
    annealed = torch.exp(z.log() / 0.38)
    annealed = annealed / annealed.sum(1, keepdim=True)  # Zhang et al., eq. 5
    for name, shares in (("default", annealed), ("mean", z)):
        expected = torch.einsum("nqhw,qd->ndhw", shares, centres) / 127
        assert torch.allclose(by[name], expected, atol=1e-5)
    assert torch.allclose(by["mode"], centres[output.argmax(1)].movedim(-1, 1) / 127, atol=1e-3)


def test_binned_decodes_each_channel_by_itself():
    loss = losses.build("binned", n_bins=20, temperature=1e-6)
    logits = torch.zeros(1, 40, 1, 2)
    logits[0, 3] = logits[0, 20 + 17] = 9.0
    ab = lab.denorm_ab(loss.decode(logits))
    assert torch.allclose(ab[0, :, 0, 0], torch.tensor([-110 + 3.5 * 11, -110 + 17.5 * 11]))
    index, weight = losses.build("binned").encode(torch.tensor([-400.0, 400.0]).view(1, 2, 1, 1))
    assert index.flatten().tolist() == [0, 98, 1, 99]  # beyond the range: its outer bins
    assert weight.flatten().tolist() == [1, 0, 0, 1]


def test_gray_pictures_contribute_nothing_to_rebalanced():
    loss, output = make("rebalanced")
    gray = torch.full((3, 2, 16, 16), 5.0 / 127) * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    value, gradient = value_and_gradient(loss.compute, output, gray)
    assert value == 0 and not gradient.any()
    mixed = photos()
    mixed[0] = gray[0]
    _, gradient = value_and_gradient(loss.compute, output, mixed)
    assert not gradient[0].any() and gradient[1:].abs().sum() > 0
    one_pixel = gray.clone()
    one_pixel[0, 0, 3, 3] = 6 / 127
    assert loss.compute(output, one_pixel) > 0


def test_weights_have_mean_one_under_the_prior_and_favour_rare_colours():
    counts = bins.count_bins(lab.denorm_ab(photos(8, 32)))
    smooth = bins.smooth_prior(counts, lab.gamut_bins(10))
    weights = bins.class_weights(smooth)
    assert smooth.sum() == pytest.approx(1, abs=1e-6) and (smooth * weights).sum() == pytest.approx(
        1, abs=1e-6
    )
    literal = 1 / (0.5 * smooth + 0.5 / 261)
    assert torch.allclose(weights, literal / (smooth * literal).sum())
    assert weights[smooth.argmin()] == weights.max() and weights[smooth.argmax()] == weights.min()
    assert torch.allclose(bins.class_weights(smooth, lam=1.0), torch.ones(261))  # uniform mix: no rebalancing


def test_the_prior_is_smoothed_within_the_gamut():
    centres = lab.gamut_bins(10)
    counts = torch.zeros(261)
    counts[100] = 7
    smooth = bins.smooth_prior(counts, centres, sigma=5.0)
    literal = torch.exp(-((centres - centres[100]) ** 2).sum(1) / 50)
    assert torch.allclose(smooth, literal / literal.sum(), atol=1e-7) and smooth.argmax() == 100
    for bad in (torch.zeros(261), torch.ones(100), -torch.ones(261)):
        with pytest.raises(KoalaError, match="the prior must be 261 counts"):
            bins.smooth_prior(bad, centres)


def test_colours_are_counted_in_their_nearest_cell_and_gray_pictures_are_not():
    ab = lab.denorm_ab(photos(4, 16))
    ab[2] = 3.0
    points = torch.cat([ab[:2], ab[3:]]).movedim(1, -1).reshape(-1, 2)
    nearest = ((points[:, None] - lab.gamut_bins(10)) ** 2).sum(-1).argmin(1)
    assert torch.equal(bins.count_bins(ab), torch.bincount(nearest, minlength=261))
    assert bins.count_bins(ab[2:3]).sum() == 0


@pytest.mark.parametrize(("grid", "k"), [(10, 1), (10, 5), (10, 10), (5, 5), (25, 3)])
def test_the_finder_finds_what_a_full_search_finds(grid, k):
    centres = lab.gamut_bins(grid)
    points = (
        torch.rand(5000, 2, generator=torch.Generator().manual_seed(3)) * 250 - 125
    )  # in the gamut and outside
    index, squared = bins.Finder(centres, k)(points)
    expected = ((points[:, None] - centres) ** 2).sum(-1).topk(k, largest=False)
    assert torch.allclose(squared, expected.values, rtol=1e-4, atol=1e-3)
    assert (index == expected.indices).float().mean() > 0.999  # ties may be ordered otherwise
    assert (squared.diff(dim=-1) >= 0).all()


def test_what_the_docstring_says_of_the_reports_crossentropy():
    loss = losses.build("crossentropy")
    output = torch.zeros(1, 2, 1, 1)

    def at(a, b, x_a, x_b):
        target = torch.tensor([a, b]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
        return loss.compute(torch.tensor([x_a, x_b]).view(1, 2, 1, 1), target).item()

    d, a, b = 0.7, 0.3, -0.2
    assert at(a, b, d, 0.0) == pytest.approx(a * np.log1p(np.exp(-d)) + b * np.log1p(np.exp(d)), rel=1e-5)
    assert at(0.2, 0.1, 1.0, 0.5) == pytest.approx(
        at(0.2, 0.1, 0.5, 0.0)
    )  # the sum of the outputs does not matter
    orange = [at(0.2, 0.1, x, 0.0) for x in (np.log(2) - 0.1, np.log(2), np.log(2) + 0.1)]
    assert orange[1] < min(
        orange[0], orange[2]
    )  # the best difference is log(a/b), for pale and strong orange alike
    assert at(0.2, -0.1, 20.0, 0.0) < at(0.2, -0.1, 10.0, 0.0) < at(0.2, -0.1, 2.0, 0.0)
    assert at(-0.2, -0.1, -100.0, 0.0) < -10  # below any bound
    _, gradient = value_and_gradient(loss.compute, output, photos(1, 2))
    assert gradient.sum(1).abs().max() < 1e-7


def test_what_the_docstring_says_of_the_second_reading():
    loss = losses.build("crossentropy_unit")
    target = photos(2, 8)
    output = torch.zeros(2, 2, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([output], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        value = loss.compute(output, target)
        value.backward()
        optimizer.step()
    unit = (half(target) + 1) / 2
    assert torch.allclose(output.detach().softmax(1), unit / unit.sum(1, keepdim=True), atol=1e-2)
    assert value > 0 and loss.decode(output).sum(1).abs().max() < 1e-5  # a* + b* is 0 everywhere


@pytest.mark.parametrize("name", ["binned", "rebalanced"])
def test_minimizing_a_class_loss_paints_the_picture(name):
    loss, _ = make(name, temperature=1.0)
    target = photos(2, 8)
    output = torch.zeros(2, loss.bins, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([output], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        loss.compute(output, target).backward()
        optimizer.step()
    assert (lab.denorm_ab(loss.decode(output.detach()) - half(target))).norm(dim=1).mean() < 1.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(name="mes"), "unknown loss 'mes', did you mean 'mse'"),
        (dict(name="rebalance"), "did you mean 'rebalanced'"),
        (dict(name="binned", n_bins=0), "n_bins must be at least 2, not 0"),
        (dict(name="rebalanced", temperature=float("nan")), "temperature must be positive"),
        (dict(name="rebalanced", prior=torch.ones(5)), "the prior must be 261 counts"),
    ],
)
def test_bad_parameters_are_one_sentence(parameters, message):
    with pytest.raises(KoalaError, match=message) as caught:
        losses.build(**parameters)
    assert "\n" not in str(caught.value)


def test_rebalanced_decodes_without_a_prior_but_does_not_train():
    loss = losses.build("rebalanced")
    assert loss.decode(torch.randn(1, 261, 2, 2)).shape == (1, 2, 2, 2)
    with pytest.raises(KoalaError, match="needs the colour counts of the training set"):
        loss.compute(torch.randn(1, 261, 2, 2), photos(1, 4))
    assert (
        losses.build("mse", prior=lambda: 1 / 0).name == "mse"
    )  # a row that needs no prior does not ask for it
