"""The true classes of photographs, and how often logits have them."""

import numpy as np
import pandas as pd
import pytest

from koala.extractors import classes


def test_synsets_have_imagenets_numbers_and_other_categories_none():
    names = pd.Series(["n01443537", "tench-n01440764", "n01443537"], dtype="category")
    assert classes.of(names).tolist() == [1, 0, 1]
    for other in ("forest", "n00000001", "n014407640", "wagon01440764"):
        assert classes.of(pd.Series(["n01440764", other], dtype="category")) is None, other


def test_accuracy_counts_the_strongest_and_the_five_strongest():
    logits = np.zeros((4, 1000), np.float16)
    logits[:, 10:16] = np.arange(6, 0, -1)  # the strongest is class 10, the sixth 15
    right = classes.accuracy(logits, np.array([10, 14, 15, 500]))
    assert right == pytest.approx({"top1": 0.25, "top5": 0.5})
