"""The losses of the study: mse, crossentropy in two readings, binned, rebalanced.

All take the network's output at HALF resolution (the last upsampling repeats pixels) and the target at full
resolution, and work in float32 outside autocast. A value is a mean over batch and pixels, never a sum, so it does not
depend on batch size or image size; over the two channels mse takes the mean, the others the sum.
`mse` and both `crossentropy` are exactly the full-resolution losses. `binned` and `rebalanced` encode the target averaged
over 2x2 pixels: a colour class has no exact half-resolution identity.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from koala import lab
from koala.bins import GRID, Finder, class_weights, coloured, smooth_prior
from koala.system.errors import KoalaError, nearest

# The papers' values, which no study varies. Zhang et al.: 5 nearest cells of a grid of 10, Gaussian of 5, half uniform.
NEIGHBOURS, SIGMA, UNIFORM = 5, 5.0, 0.5
SPAN = 110.0  # of `binned`, in a*b*: sRGB reaches 107.9


@dataclass(frozen=True)
class Loss:
    """compute(output (N,C,H/2,W/2), ab_norm (N,2,H,W)) -> scalar; decode(output) -> ab_norm (N,2,H/2,W/2).

    bins: channels of logits that the network needs, None for two tanh channels. encode (classification only): ab
    (N,2,h,w) in a*b* units -> (channel of output, weight), each (N,K,h,w), weights summing to 1 for each softmax."""

    name: str
    bins: int | None
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]
    encode: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    weights: torch.Tensor | None = None  # (Q,) of `rebalanced`, once it has its prior


def build(name: str, prior=None, n_bins: int = 50, temperature: float = 0.38) -> Loss:
    """One of LOSSES. KoalaError on an unknown name or a value out of range.

    n_bins: `binned` cuts [-SPAN, SPAN] into as many for each of a* and b*. prior: counts (Q,) from koala.bins.count_bins, or a
    function that returns them, called at once where the loss needs them; without one `rebalanced` can decode, not train.
    temperature: of the annealed mean that decodes `binned` and `rebalanced`, softmax(log z / temperature): 1 is the mean,
    towards 0 the mode (Zhang et al. 2016: 0.38)."""
    if name not in LOSSES:
        raise KoalaError(
            f"unknown loss '{name}'{nearest(name, LOSSES) or ';'} there are {', '.join(LOSSES)}."
        )
    if not 0 < temperature < float("inf"):
        raise KoalaError(f"temperature must be positive, not {temperature!r}.")
    if n_bins < 2:
        raise KoalaError(f"n_bins must be at least 2, not {n_bins!r}.")
    if name == "binned":
        return binned(n_bins, temperature)
    if name == "rebalanced":
        return rebalanced(prior() if callable(prior) else prior, temperature)
    return LOSSES[name]()


def mse() -> Loss:
    """Mean squared error of ab_norm over batch, pixels and both channels (Baldassarre et al. 2017), full resolution:
    MSE(up(y), t) = MSE(y, mean of t over 2x2) + the variance of t within 2x2, which no output can change."""

    def compute(output, ab_norm):
        with lab.float32(output):
            y, t = _pair(output, ab_norm, 2)
            mean = F.avg_pool2d(t, 2)  # (N, 2, H/2, W/2)
            n, c, h, w = mean.shape
            within = (t.view(n, c, h, 2, w, 2) - mean.view(n, c, h, 1, w, 1)).square().mean()
            return F.mse_loss(y, mean) + within

    return Loss("mse", None, compute, torch.Tensor.float)


def crossentropy() -> Loss:
    """torch's cross-entropy with two continuous channels: how we read the report's fourth experiment, whose formula it
    does not give, kept to see whether it fails as the report says. x = (x_a, x_b) are taken for the logits of two
    classes, t = ab_norm for their probabilities.

    What it minimizes, with d = x_a - x_b, is t_a softplus(-d) + t_b softplus(d). So
    - only the difference d is trained: x_a + x_b, and with it hue and strength of the colour, gets no gradient;
    - t is no probability. Both positive (orange): the best d is log(t_a / t_b), whatever the strength. Opposite signs
      (green, violet): d runs to +-infinity. Both negative (cyan): the loss has no minimum but falls without bound as
      |d| grows. With tanh, |d| <= 2 stops it at the edge, so outputs end saturated;
    - its value may be negative, and says nothing about the distance between colours.
    It is linear in t, hence equal to the full-resolution value when t is averaged over 2x2 pixels."""

    def compute(output, ab_norm):
        with lab.float32(output):
            y, t = _pair(output, ab_norm, 2)
            return -(F.avg_pool2d(t, 2) * F.log_softmax(y, 1)).sum(1).mean()

    return Loss("crossentropy", None, compute, torch.Tensor.float)


def crossentropy_unit() -> Loss:
    """A second reading of the report's fourth experiment: the same with targets scaled to [0, 1], t = (ab_norm + 1) / 2.

    Now t is never negative, the loss is bounded below, and the best softmax(x) is t / (t_a + t_b). It is decoded by the
    inverse of that scaling, ab_norm = 2 softmax(x) - 1, the reading that serves it best. The two shares add up to 1, so
    a* + b* is 0 in every pixel: of the colour plane only the line from green-yellow to violet-blue can be painted. Both
    outputs may drift together to an end of tanh, where no gradient is left: in study replica they did in the first epoch."""

    def compute(output, ab_norm):
        with lab.float32(output):
            y, t = _pair(output, ab_norm, 2)
            return -((F.avg_pool2d(t, 2) + 1) / 2 * F.log_softmax(y, 1)).sum(1).mean()

    return Loss("crossentropy_unit", None, compute, lambda output: 2 * F.softmax(output.float(), 1) - 1)


def binned(n: int, temperature: float) -> Loss:
    """a* and b* each in n equal bins of its own, two softmaxes, sum of two cross-entropies (Hwang & Zhou 2016).

    Theirs is in CIELUV with about 50 bins (unconfirmed: known from citations only). This project's choices: a*b*, the
    range [-110, 110], and shares between the two nearest bins such that their mean is the colour itself. Channels:
    n bins of a*, then n bins of b*."""
    width = 2 * SPAN / n
    centres = (torch.arange(n) + 0.5) * width - SPAN  # (n,)

    def encode(ab):
        position = ((ab.float() + SPAN) / width - 0.5).clamp(0, n - 1)  # (N, 2, h, w) in bins
        low = position.floor().clamp_max(n - 2)
        index = low.long() + torch.tensor([0, n], device=ab.device).view(1, 2, 1, 1)
        high = position - low
        return torch.cat([index, index + 1], 1), torch.cat([1 - high, high], 1)  # (N, 4, h, w)

    def compute(output, ab_norm):
        with lab.float32(output):
            y, t = _pair(output, ab_norm, 2 * n)
            index, weight = encode(lab.denorm_ab(F.avg_pool2d(t, 2)))
            log_z = F.log_softmax(y.view(y.shape[0], 2, n, *y.shape[2:]), 2).flatten(1, 2)  # (N, 2n, h, w)
            return -(weight * log_z.gather(1, index)).sum(1).mean()

    def decode(output):
        with lab.float32(output):
            z = output.float().view(output.shape[0], 2, n, *output.shape[2:])
            channels = [_annealed_mean(z[:, c], centres[:, None], temperature)[:, 0] for c in (0, 1)]
            return lab.norm_ab(torch.stack(channels, 1))

    return Loss("binned", 2 * n, compute, decode, encode)


def rebalanced(prior, temperature: float) -> Loss:
    """Soft classes over the a*b* cells of the sRGB gamut, rare colours weighted up (Zhang, Isola & Efros 2016, 3.1).

    Cells: `lab.gamut_bins(10)`, 261, not the paper's 313 of a published file. Encoding: the 5 nearest cells, Gaussian of
    sigma 5 (eq. 2; their released layer takes 10). Weight of a pixel (eq. 3, 4): that of its nearest cell,
    1 / (p~ / 2 + 1 / 2Q), so scaled that its mean under p~, the prior smoothed with sigma, is 1. Gray photographs count
    as pixels of loss 0 and no gradient, so that a mean over batches is the mean over the photographs."""
    bins = lab.gamut_bins(GRID)  # (Q, 2)
    weights = None if prior is None else class_weights(smooth_prior(prior, bins, SIGMA), UNIFORM)
    finder = Finder(bins, NEIGHBOURS)
    weights_on = functools.cache(lambda device: weights.to(device))

    def encode(ab):
        index, squared = finder(ab.float().movedim(1, -1))  # (N, h, w, K), nearest first
        weight = torch.softmax(-squared / (2 * SIGMA**2), -1)
        return index.movedim(-1, 1), weight.movedim(-1, 1)

    def compute(output, ab_norm):
        if weights is None:
            raise KoalaError(
                "loss 'rebalanced' needs the colour counts of the training set: "
                "build('rebalanced', prior=bins.count_bins(ab))."
            )
        with lab.float32(output):
            y, t = _pair(output, ab_norm, len(bins))
            ab = lab.denorm_ab(t)
            index, weight = encode(F.avg_pool2d(ab, 2))
            entropy = -(weight * F.log_softmax(y, 1).gather(1, index)).sum(1)  # (N, h, w)
            mask = coloured(ab).float().view(-1, 1, 1)
            return (entropy * weights_on(y.device)[index[:, 0]] * mask).mean()

    def decode(output):
        with lab.float32(output):
            return lab.norm_ab(_annealed_mean(output.float(), bins, temperature))

    return Loss("rebalanced", len(bins), compute, decode, encode, weights)


LOSSES = {
    "mse": mse,
    "crossentropy": crossentropy,
    "crossentropy_unit": crossentropy_unit,
    "binned": binned,
    "rebalanced": rebalanced,
}


def _annealed_mean(logits, centres, temperature):
    """logits (N,Q,h,w), centres (Q,D) -> (N,D,h,w): the mean under softmax(logits / temperature) over the classes."""
    shares = torch.softmax(logits / temperature, 1)
    return torch.einsum("nqhw,qd->ndhw", shares, centres.to(logits.device))


def _pair(output, ab_norm, channels):
    n, c, h, w = output.shape
    if c != channels or ab_norm.shape != (n, 2, 2 * h, 2 * w):
        raise KoalaError(
            f"loss: output {tuple(output.shape)} must be (N,{channels},H/2,W/2) and ab_norm "
            f"{tuple(ab_norm.shape)} (N,2,H,W) of the same photographs."
        )
    return output.float(), ab_norm.float()
