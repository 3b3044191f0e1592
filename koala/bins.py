"""a*b* colour classes: finding the nearest, counting them over a training set, and their weights (Zhang et al. 2016)."""

import functools

import torch

from koala import lab
from koala.system.errors import KoalaError

GRID = 10.0  # side of a cell of the a*b* plane
GRAY = 5.0  # a photograph without |a*| or |b*| above this is gray (the released code of Zhang et al.)


def count_bins(ab: torch.Tensor) -> torch.Tensor:
    """(N,2,H,W) in a*b* units -> (Q,) int64: pixels whose nearest cell is q. Gray photographs,
    which `rebalanced` leaves out, are not counted. The sum over all batches of the TRAINING set is a prior."""
    bins = lab.gamut_bins(GRID)
    ab = ab.float()[coloured(ab)]
    index, _ = _nearest()(ab.movedim(1, -1))
    return torch.bincount(index.flatten(), minlength=len(bins))


@functools.cache
def _nearest() -> "Finder":
    return Finder(lab.gamut_bins(GRID), 1)


def smooth_prior(counts, bins: torch.Tensor, sigma: float = 5.0) -> torch.Tensor:
    """Counts (Q,) over bins (Q,2) -> p~ (Q,) float32 that sums to 1: each cell's share spread by a Gaussian of
    sigma a*b* units over the cells, none of it lost outside the gamut. KoalaError on counts of other bins, or none."""
    counts = torch.as_tensor(counts).double().cpu()
    if (
        counts.shape != (len(bins),)
        or (counts < 0).any()
        or not torch.isfinite(counts).all()
        or counts.sum() <= 0
    ):
        raise KoalaError(
            f"the prior must be {len(bins)} counts, not negative and not all 0 (no coloured photograph?), "
            f"got shape {tuple(counts.shape)} with sum {counts.sum():g}."
        )
    kernel = torch.exp(-torch.cdist(bins.double(), bins.double()).square() / (2 * sigma**2))
    return ((counts / counts.sum()) @ (kernel / kernel.sum(1, keepdim=True))).float()


def class_weights(p: torch.Tensor, lam: float = 0.5) -> torch.Tensor:
    """p~ (Q,) summing to 1 -> weights (Q,) with sum of p~ w = 1 (Zhang et al., eq. 4)."""
    w = 1 / ((1 - lam) * p.double() + lam / len(p)).clamp_min(1e-12)
    return (w / (p * w).sum()).float()


def coloured(ab: torch.Tensor) -> torch.Tensor:
    """(N,2,H,W) in a*b* units -> (N,) bool: any |a*| or |b*| above GRAY."""
    return (ab.abs() > GRAY).flatten(1).any(1)


class Finder:
    """The k nearest of bins (Q,2), exactly, without measuring all Q: a table over squares of SIDE a*b* units lists
    every bin that can be among the k nearest of any point of its square."""

    SIDE, REACH = 5.0, 130.0

    def __init__(self, bins, k):
        steps = int(2 * self.REACH / self.SIDE)
        axis = (torch.arange(steps) + 0.5) * self.SIDE - self.REACH
        distance = torch.cdist(torch.cartesian_prod(axis, axis), bins)  # (steps^2, Q)
        limit = distance.kthvalue(k, 1).values + self.SIDE * 2**0.5 + 1e-3  # k-th + twice the half diagonal
        most = int((distance <= limit[:, None]).sum(1).max())
        table = distance.topk(most, 1, largest=False).indices  # (steps^2, most)
        self.k, self.steps = k, steps
        self.on = functools.cache(lambda device: (bins.to(device), table.to(device)))

    def __call__(self, ab):
        """(..., 2) -> index and squared distance, each (..., k), nearest first."""
        bins, table = self.on(ab.device)
        square = ((ab + self.REACH) / self.SIDE).long().clamp(0, self.steps - 1)
        near = table[square[..., 0] * self.steps + square[..., 1]]  # (..., most)
        squared = (bins[near] - ab.unsqueeze(-2)).square().sum(-1)
        values, order = squared.topk(self.k, -1, largest=False)
        return near.gather(-1, order), values
