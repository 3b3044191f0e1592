"""ImageNet's 1,000 classes: which of them photographs are of, and how often an extractor's logits say so."""

import numpy as np
import torch


def of(categories) -> np.ndarray | None:
    """(N,) int64: each photograph's class by the synset in its category's name, "n02002724" or "black_stork-n02002724".

    categories: (N,) categorical Series of names. None where a name holds none of ImageNet's 1,000 synsets."""
    from timm.data import ImageNetInfo  # timm is slow to load

    numbers = {name: number for number, name in enumerate(ImageNetInfo().label_names())}
    found = categories.astype(str).str.extract(r"(?<![a-z0-9])(n\d{8})(?!\d)")[0].map(numbers)
    return None if found.isna().any() else found.to_numpy(np.int64)


def right(logits: torch.Tensor, true: torch.Tensor) -> dict[str, int]:
    """How many photographs have the true class as their strongest (top1), and among their five strongest (top5).

    logits: (n,1000); true: (n,) classes."""
    hits = logits.topk(5, 1).indices == true[:, None]  # (n, 5)
    return {"top1": hits[:, 0].sum().item(), "top5": hits.sum().item()}


def accuracy(logits: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """The same as shares of the photographs. logits: (n,1000), any kind of float; true: (n,) classes."""
    counts = right(torch.from_numpy(np.asarray(logits, np.float32)), torch.from_numpy(true))
    return {name: count / len(true) for name, count in counts.items()}
