"""The losses of the study, rows of one table: mse, crossentropy, binned, rebalanced.

All take the network's output at HALF resolution (the last upsampling repeats pixels) and the target at full
resolution, and work in float32 outside autocast. A value is a mean over batch and pixels, never a sum, so it does not
depend on batch size or picture size; over the two channels mse takes the mean, crossentropy and binned the sum.
`mse` and `crossentropy` are exactly the full-resolution losses. `binned` and `rebalanced` encode the target averaged
over 2x2 pixels: a colour class has no exact half-resolution identity.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from koala import lab
from koala.bins import Finder, class_weights, coloured, count_bins, smooth_prior
from koala.system.errors import KoalaError, nearest

__all__ = ["LOSSES", "Loss", "build", "class_weights", "count_bins", "smooth_prior"]

DECODERS = ("annealed", "mean", "mode")


@dataclass(frozen=True)
class Loss:
    """compute(output (N,C,H/2,W/2), ab_norm (N,2,H,W)) -> scalar; decode(output) -> ab_norm (N,2,H/2,W/2).

    bins: channels of logits that the network needs, None for two tanh channels. needs_prior: compute wants the
    training set's colour counts (`count_bins`); decode does not. encode (classification only): ab (N,2,h,w) in a*b*
    units -> (channel of output, weight), each (N,K,h,w), weights summing to 1 for each softmax."""

    name: str
    bins: int | None
    needs_prior: bool
    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]
    encode: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    weights: torch.Tensor | None = None  # (Q,) of `rebalanced`, once it has its prior
    parameters: dict = field(default_factory=dict)


def build(
    name: str,
    prior=None,
    n_bins: int = 50,
    sigma: float = 5.0,
    neighbours: int = 5,
    lam: float = 0.5,
    temperature: float = 0.38,
    decode: str = "annealed",
    grid: float = 10.0,
    span: float = 110.0,
) -> Loss:
    """A row of LOSSES with its parameters (a row uses those that concern it). KoalaError on a bad name or value.

    n_bins, span: `binned` cuts [-span, span] into n_bins for each of a* and b*. grid: cell of `rebalanced` in a*b*.
    neighbours, sigma: soft encoding; neighbours=1 is hard. lam: mix of prior and uniform. prior: counts (Q,) from
    `count_bins`, or a function that returns them, called where the row needs them. decode: annealed (softmax(log z / temperature), then mean), mean, or mode."""
    if name not in LOSSES:
        raise KoalaError(
            f"unknown loss '{name}'{nearest(name, LOSSES) or ';'} there are {', '.join(LOSSES)}."
        )
    p = dict(
        n_bins=n_bins,
        sigma=sigma,
        neighbours=neighbours,
        lam=lam,
        temperature=temperature,
        decode=decode,
        grid=grid,
        span=span,
    )
    _check_parameters(p)
    prior = prior() if callable(prior) and name == "rebalanced" else prior
    return LOSSES[name](p, prior)


def mse(p, prior=None) -> Loss:
    """Mean squared error of ab_norm over batch, pixels and both channels (Baldassarre et al. 2017), full resolution:
    MSE(up(y), t) = MSE(y, mean of t over 2x2) + the variance of t within 2x2, which no output can change."""

    def compute(output, ab_norm):
        with _float32(output):
            y, t = _pair(output, ab_norm, 2)
            mean = F.avg_pool2d(t, 2)  # (N, 2, H/2, W/2)
            n, c, h, w = mean.shape
            within = (t.view(n, c, h, 2, w, 2) - mean.view(n, c, h, 1, w, 1)).square().mean()
            return F.mse_loss(y, mean) + within

    return Loss("mse", None, False, compute, _as_it_is)


def crossentropy(p, prior=None) -> Loss:
    """torch's cross-entropy with two continuous channels, as the report ran its fourth experiment, kept to reproduce
    its failure: x = (x_a, x_b) are taken for the logits of two classes, t = ab_norm for their probabilities.

    What it minimizes, with d = x_a - x_b, is t_a softplus(-d) + t_b softplus(d). So
    - only the difference d is trained: x_a + x_b, and with it hue and strength of the colour, gets no gradient;
    - t is no probability. Both positive (orange): the best d is log(t_a / t_b), whatever the strength. Opposite signs
      (green, violet): d runs to +-infinity. Both negative (cyan): the loss has no minimum but falls without bound as
      |d| grows. With tanh, |d| <= 2 stops it at the edge, so outputs end saturated;
    - its value may be negative, and says nothing about the distance between colours.
    It is linear in t, hence equal to the full-resolution value when t is averaged over 2x2 pixels."""

    def compute(output, ab_norm):
        with _float32(output):
            y, t = _pair(output, ab_norm, 2)
            return -(F.avg_pool2d(t, 2) * F.log_softmax(y, 1)).sum(1).mean()

    return Loss("crossentropy", None, False, compute, _as_it_is)


def binned(p, prior=None) -> Loss:
    """a* and b* each in n_bins equal bins of its own, two softmaxes, sum of two cross-entropies (Hwang & Zhou 2016).

    Theirs is in CIELUV with about 50 bins (unconfirmed: known from citations only). This project's choices: a*b*, the
    range [-110, 110], and shares between the two nearest bins such that their mean is the colour itself
    (neighbours=1: the nearest bin alone, as a plain classifier has it). Channels: n_bins of a*, then n_bins of b*."""
    n, width = p["n_bins"], 2 * p["span"] / p["n_bins"]
    centres = (torch.arange(n) + 0.5) * width - p["span"]  # (n,)

    def encode(ab):
        position = ((ab.float() + p["span"]) / width - 0.5).clamp(0, n - 1)  # (N, 2, h, w) in bins
        offset = torch.tensor([0, n], device=ab.device).view(1, 2, 1, 1)
        if p["neighbours"] == 1:
            return position.round().long() + offset, torch.ones_like(position)
        low = position.floor().clamp_max(n - 2)
        index = low.long() + offset
        return torch.cat([index, index + 1], 1), torch.cat(
            [1 - (position - low), position - low], 1
        )  # (N, 4, h, w)

    def compute(output, ab_norm):
        with _float32(output):
            y, t = _pair(output, ab_norm, 2 * n)
            index, weight = encode(lab.denorm_ab(F.avg_pool2d(t, 2)))
            log_z = F.log_softmax(y.view(y.shape[0], 2, n, *y.shape[2:]), 2).flatten(1, 2)  # (N, 2n, h, w)
            return -(weight * log_z.gather(1, index)).sum(1).mean()

    def decode(output):
        with _float32(output):
            z = output.float().view(output.shape[0], 2, n, *output.shape[2:])
            return lab.norm_ab(torch.stack([_decode(z[:, c], centres[:, None], p)[:, 0] for c in (0, 1)], 1))

    return Loss("binned", 2 * n, False, compute, decode, encode, None, p)


def rebalanced(p, prior=None) -> Loss:
    """Soft classes over the a*b* cells of the sRGB gamut, rare colours weighted up (Zhang, Isola & Efros 2016, 3.1).

    Cells: `lab.gamut_bins(grid)`, 261 at 10, not the paper's 313 of a published file. Encoding: the 5 nearest cells,
    Gaussian of sigma 5 (eq. 2; their released layer takes 10). Weight of a pixel (eq. 3, 4): that of its nearest cell,
    1 / ((1 - lam) p~ + lam / Q), so scaled that its mean under p~, the prior smoothed with sigma, is 1. Gray pictures
    count as pixels of loss 0 and no gradient, so that a mean over batches is the mean over the pictures."""
    bins = lab.gamut_bins(p["grid"])  # (Q, 2)
    if p["neighbours"] > len(bins):
        raise KoalaError(
            f"neighbours {p['neighbours']} is more than the {len(bins)} colour bins of grid {p['grid']}."
        )
    weights = None if prior is None else class_weights(smooth_prior(prior, bins, p["sigma"]), p["lam"])
    finder = Finder(bins, p["neighbours"])
    weights_on = functools.cache(lambda device: weights.to(device))

    def encode(ab):
        index, squared = finder(ab.float().movedim(1, -1))  # (N, h, w, K), nearest first
        weight = torch.softmax(-squared / (2 * p["sigma"] ** 2), -1)
        return index.movedim(-1, 1), weight.movedim(-1, 1)

    def compute(output, ab_norm):
        if weights is None:
            raise KoalaError(
                "loss 'rebalanced' needs the colour counts of the training set: "
                "build('rebalanced', prior=losses.count_bins(ab))."
            )
        with _float32(output):
            y, t = _pair(output, ab_norm, len(bins))
            ab = lab.denorm_ab(t)
            index, weight = encode(F.avg_pool2d(ab, 2))
            entropy = -(weight * F.log_softmax(y, 1).gather(1, index)).sum(1)  # (N, h, w)
            mask = coloured(ab).float().view(-1, 1, 1)
            return (entropy * weights_on(y.device)[index[:, 0]] * mask).mean()

    def decode(output):
        with _float32(output):
            return lab.norm_ab(_decode(output.float(), bins, p))

    return Loss("rebalanced", len(bins), True, compute, decode, encode, weights, p)


LOSSES = {"mse": mse, "crossentropy": crossentropy, "binned": binned, "rebalanced": rebalanced}


def _decode(logits, centres, p):
    """logits (N,Q,h,w), centres (Q,D) -> (N,D,h,w) by mean, mode or annealed mean over dimension 1."""
    centres = centres.to(logits.device)
    if p["decode"] == "mode":
        return centres[logits.argmax(1)].movedim(-1, 1)
    z = torch.softmax(logits / (p["temperature"] if p["decode"] == "annealed" else 1.0), 1)
    return torch.einsum("nqhw,qd->ndhw", z, centres)


def _as_it_is(output):
    return output.float()


def _float32(output):
    return torch.autocast(output.device.type, enabled=False)


def _pair(output, ab_norm, channels):
    n, c, h, w = output.shape
    if c != channels or ab_norm.shape != (n, 2, 2 * h, 2 * w):
        raise KoalaError(
            f"loss: output {tuple(output.shape)} must be (N,{channels},H/2,W/2) and ab_norm "
            f"{tuple(ab_norm.shape)} (N,2,H,W) of the same pictures."
        )
    return output.float(), ab_norm.float()


def _check_parameters(p):
    whole = all(isinstance(p[k], int) and not isinstance(p[k], bool) for k in ("n_bins", "neighbours"))
    for good, what in (
        (whole and p["n_bins"] >= 2, "n_bins must be a whole number of at least 2"),
        (whole and p["neighbours"] >= 1, "neighbours must be a whole number of at least 1"),
        (0 < p["sigma"] < float("inf"), "sigma must be positive"),
        (0 <= p["lam"] <= 1, "lam must be in [0, 1]"),
        (0 < p["temperature"] < float("inf"), "temperature must be positive"),
        (0 < p["span"] < float("inf"), "span must be positive"),
        (1 <= p["grid"] <= 100, "grid must be in [1, 100]"),
        (p["decode"] in DECODERS, f"decode must be one of {', '.join(DECODERS)}"),
    ):
        if not good:
            name = what.split()[0]
            raise KoalaError(f"{what}, got {p[name]!r}.")
