"""SSIM, the structural similarity of two pictures: 1 where they are equal, about 0 where they have nothing in common."""

import math
from typing import NamedTuple

import torch

WINDOW, SIGMA = 11, 1.5  # pixels
WEIGHTS = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Moments(NamedTuple):
    """A picture, and its mean and variance under the window: what several comparisons with it have in common."""

    centred: torch.Tensor  # (N,3,H,W) float32, minus 127.5: E[x^2] - E[x]^2 loses fewer digits
    mean: torch.Tensor  # (N,3,H-10,W-10), of the centred picture
    variance: torch.Tensor


def moments(rgb: torch.Tensor) -> Moments | None:
    """uint8 (N,3,H,W) -> its moments; None where the window does not fit."""
    if min(rgb.shape[-2:]) < WINDOW:
        return None
    x = rgb.float() - 127.5
    mean = _blur(x)
    return Moments(x, mean, _blur(x * x) - mean * mean)


def ssim(rgb1: torch.Tensor, rgb2: torch.Tensor, known: Moments | None = None) -> torch.Tensor:
    """uint8 (N,3,H,W) twice -> mean SSIM over channels (N,), Wang et al. 2004: Gaussian window of 11 with sigma 1.5,
    population covariance, range 255, only where the window fits. NaN for photographs smaller than the window.

    The same as skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False).
    known: the moments of rgb1, where these are at hand."""
    one, two = known or moments(rgb1), moments(rgb2)
    if one is None:
        return torch.full((len(rgb1),), math.nan, device=rgb1.device)
    covariance = _blur(one.centred * two.centred) - one.mean * two.mean
    mx, my = one.mean + 127.5, two.mean + 127.5
    structure = (2 * covariance + C2) / (one.variance + two.variance + C2)
    return ((2 * mx * my + C1) / (mx * mx + my * my + C1) * structure).mean((1, 2, 3))


def _blur(x):
    # Sums of shifted views: quicker than a convolution with one channel, and never in TF32.
    for axis in (2, 3):
        size = x.shape[axis] - WINDOW + 1
        total = torch.zeros_like(x.narrow(axis, 0, size))
        for i, weight in enumerate(WEIGHTS):
            total.add_(x.narrow(axis, i, size), alpha=weight / sum(WEIGHTS))
        x = total
    return x
