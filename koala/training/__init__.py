"""Training: batches, one step, the loop, checkpoints, several processes. `fit` trains a network to its last epoch."""

from koala.training.loop import fit

__all__ = ["fit"]
