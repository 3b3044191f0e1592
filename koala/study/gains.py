"""What an extractor gains over training, over the number of photographs and by category: does it help, or does it only save steps
and data, and where?"""

import numpy as np
import pandas as pd

from koala.study import compare, contrasts
from koala.study.claims import without
from koala.study.curves import validation_losses
from koala.study.finished import FinishedStudy, plain
from koala.study.intervals import interval
from koala.training.batches import steps_per_epoch


def _paired(study: FinishedStudy, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the pairs that have a seed in common."""
    return [pair for pair in pairs if compare.common_seeds(study, *pair)]


def by_epoch(study: FinishedStudy, first: str, second: str) -> pd.DataFrame:
    """Validation loss of the first (with an extractor) over the second's (without), minus 1: the columns epoch, gain, low,
    high (over seeds), one line per epoch. Below 0 the extractor helps; where the curve returns to 0, it only saved steps."""
    seeds = compare.common_seeds(study, first, second)
    relative = (
        validation_losses(study, first, seeds) / validation_losses(study, second, seeds) - 1
    )  # (seeds, epochs)
    lines = [interval(relative[:, [epoch]]) for epoch in range(relative.shape[1])]
    table = pd.DataFrame(lines, columns=["gain", "low", "high"])
    return table.assign(epoch=np.arange(1, len(table) + 1))[["epoch", "gain", "low", "high"]]


def curves(study: FinishedStudy) -> dict[str, pd.DataFrame]:
    """label -> `by_epoch` of every pair of a network with an extractor and the same without."""
    return {
        f"{study.label(own)} minus {study.label(none)}": by_epoch(study, own, none)
        for none, own in _paired(study, without(study))
    }


def by_category(study: FinishedStudy) -> pd.DataFrame:
    """Of every such pair, and of a trained pyramid beside one vector, the difference in CIEDE2000 by category: the
    columns category, photographs, and one for each pair."""
    names = study.photographs(study.experiments[0]).category.map(plain)
    table = names.value_counts().sort_index().rename_axis("category").reset_index(name="photographs")
    maps = [
        (vector, own)
        for own, vector in contrasts.encoder_pairs(study)
        if study.config(vector)["backbone"] != "none" and not study.untrained(own)
    ]
    for none, own in _paired(study, without(study) + maps):
        seeds = compare.common_seeds(study, own, none)
        pair = (study.values(name, "ciede2000", seeds=seeds).mean(0) for name in (own, none))
        means = pd.Series(np.subtract(*pair)).groupby(names.to_numpy()).mean()
        table[f"{study.label(own)} minus {study.label(none)}"] = table.category.map(means)
    return table


def by_photographs(*studies: FinishedStudy) -> pd.DataFrame:
    """Of every such pair in the studies: photographs (in the training split), label, difference (CIEDE2000, extractor
    minus none), low, high, steps. In the order of the photographs."""
    rows = []
    for study in studies:
        for none, own in _paired(study, without(study)):
            config, count = study.config(own), study.first(own).result["photographs"]["train"]
            difference, low, high = compare.difference(study, own, none)
            steps = config["epochs"] * steps_per_epoch(count, config["batch_size"])
            row = {"photographs": count, "label": study.label(own), "difference": difference}
            rows.append(row | {"low": low, "high": high, "steps": steps})
    return pd.DataFrame(rows).sort_values("photographs", ignore_index=True) if rows else pd.DataFrame()
