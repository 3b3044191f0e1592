"""Ridge regression from features, over a hundred thousand photographs: the linear models that a network has to beat.

One pass over the photographs sums the Gram matrix, one eigendecomposition solves for every penalty, and the validation
split chooses among them.
"""

from dataclasses import dataclass

import numpy as np
import torch

from koala.training.batches import chunks

PENALTIES = np.logspace(-1, 6, 15)
PART = 4096  # photographs at a time
LEAST = 1e-6  # a column whose standard deviation is smaller counts as constant


@dataclass(frozen=True)
class Ridge:
    """A fitted regression: features (n,D) -> targets (n,K). penalties (K,): chosen on the validation split."""

    mean: torch.Tensor
    scale: torch.Tensor
    weights: torch.Tensor
    intercept: torch.Tensor
    penalties: np.ndarray

    def __call__(self, features: np.ndarray) -> torch.Tensor:
        standardized = (_tensor(features) - self.mean) / self.scale
        return standardized @ self.weights + self.intercept


def fit(features, targets, rows: dict, weights=None, each: bool = False) -> Ridge:
    """Fit on rows["train"], choose the penalty on rows["validation"] by the weighted squared error.

    features (N,D), targets (N,K) and weights (N,), 1 by default, in row order. each: a penalty for each target, rather
    than one for all. The features are standardized by the training split, and the
    intercept is not penalized."""
    weights = np.ones(len(targets), np.float32) if weights is None else weights
    mean, scale = _moments(features, rows["train"])
    gram, cross, x_mean, y_mean = _sums(features, targets, weights, rows["train"], mean, scale)
    values, vectors = torch.linalg.eigh(gram)
    rotated = vectors.T @ cross  # (D, K)
    solved = [vectors @ (rotated / (values.clamp_min(0) + p)[:, None]) for p in PENALTIES]
    fitted = [Ridge(mean, scale, w.float(), (y_mean - x_mean @ w).float(), None) for w in solved]
    losses = _validation_losses(fitted, features, targets, weights, rows["validation"])  # (penalties, K)
    losses = losses if each else losses.sum(1, keepdims=True).repeat(losses.shape[1], 1)
    chosen = losses.argmin(0)  # (K,)
    columns = torch.stack([solved[i][:, k] for k, i in enumerate(chosen)], 1)  # (D, K)
    return Ridge(mean, scale, columns.float(), (y_mean - x_mean @ columns).float(), PENALTIES[chosen])


def _moments(features, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (D,) of the features of `rows`; a column that is constant has the deviation 1."""
    total, squares = 0, 0
    for part in chunks(rows, PART):
        x = _tensor(features[part]).double()
        total, squares = total + x.sum(0), squares + x.square().sum(0)
    mean = total / len(rows)
    scale = (squares / len(rows) - mean.square()).clamp_min(0).sqrt()
    return mean.float(), torch.where(scale < LEAST, 1.0, scale).float()


def _sums(features, targets, weights, rows, mean, scale):
    """Weighted Gram matrix (D,D) and cross products (D,K) around the weighted means, and these means (D,), (K,)."""
    gram, cross, x_sum, y_sum, total = 0, 0, 0, 0, 0
    for part in chunks(rows, PART):
        x = (_tensor(features[part]) - mean) / scale
        y, w = _tensor(targets[part]), _tensor(weights[part])[:, None]
        weighted = x * w
        gram, cross = gram + (weighted.T @ x).double(), cross + (weighted.T @ y).double()
        x_sum, y_sum = x_sum + weighted.sum(0).double(), y_sum + (y * w).sum(0).double()
        total = total + w.sum().double()
    total = total.clamp_min(1e-12)  # a band of lightness may be empty
    gram = gram - torch.outer(x_sum, x_sum) / total
    return gram, cross - torch.outer(x_sum, y_sum) / total, x_sum / total, y_sum / total


def _validation_losses(fitted, features, targets, weights, rows) -> np.ndarray:
    """(penalties, K)"""
    losses = np.zeros((len(fitted), targets.shape[1]))
    for part in chunks(rows, PART):
        y, w = _tensor(targets[part]), _tensor(weights[part])[:, None]
        losses += np.stack([(w * (model(features[part]) - y).square()).sum(0).numpy() for model in fitted])
    return losses


def _tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
