"""Training: batches, one step, the loop, checkpoints, several processes. `fit` trains a network to its last epoch."""

from koala.training.loop import fit, run_epochs

__all__ = ["fit", "run_epochs"]
