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


def accuracy(logits, true) -> dict[str, float]:
    """Shares of photographs whose strongest class is the true one (top1), and whose five strongest hold it (top5).

    logits: (n,1000) array; true: (n,) classes."""
    strongest = torch.from_numpy(np.asarray(logits, np.float32)).topk(5, 1).indices  # (n, 5)
    hits = strongest == torch.from_numpy(true)[:, None]
    return {"top1": hits[:, 0].float().mean().item(), "top5": hits.any(1).float().mean().item()}
