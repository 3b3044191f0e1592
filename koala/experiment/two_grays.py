"""python -m koala.experiment.two_grays DATASET SIZE: what L* and luma of the same pixels give away of its colour.

Deep Koalarization's encoder sees L* of a coloured photograph and its extractor the luma, as a gray photograph would hold it
(Baldassarre et al. 2017). Both are gray, but they weigh red, green and blue differently. A network that gets both at each
pixel needs to recognize nothing: a table of colours by L* and luma, made from training photographs, shows how far that goes.
A photograph that is gray has no second gray. One vector of features for the whole photograph is no such second gray where it does
not tell the luma as precisely as the two differ.
"""

import argparse
import sys

import numpy as np
import torch

from koala import config as configs
from koala import lab, metrics
from koala.experiment import ridge
from koala.experiment.inputs import load_inputs, load_photos, split_rows
from koala.system.errors import KoalaError
from koala.training.batches import chunks, make_batches

LEVELS, STEPS = 101, 81  # of L*, and of L* of the luma minus L*, in quarters
PRIOR = 20  # pixels of the colour by lightness alone that are added to each cell
AT_A_TIME = 500  # photographs
CPU = torch.device("cpu")


def compare(config, most: int) -> dict[str, float]:
    """Mean CIEDE2000 of "lightness" and of "two grays" on the first `most` test photographs of config.dataset at
    config.image_size, by tables from five times as many of its training photographs."""
    photos = load_photos(config)
    rows = split_rows(config, photos)
    batches = make_batches(photos.images, None, CPU, config.image_size)
    sums = sum(_sums(batches(part)[0]) for part in chunks(rows["train"][: 5 * most], AT_A_TIME))
    by_lightness = sums.view(LEVELS, STEPS, 3).sum(1)  # (101, 3)
    plain = by_lightness[:, 1:] / by_lightness[:, :1].clamp_min(1)
    prior = PRIOR * torch.cat([torch.ones(LEVELS, 1), plain], 1).repeat_interleave(STEPS, 0)
    both = (sums + prior)[:, 1:] / (sums + prior)[:, :1]  # (LEVELS * STEPS, 2)
    errors = {"lightness": [], "two grays": []}
    for part in chunks(rows["test"][:most], AT_A_TIME):
        rgb = batches(part)[0]
        cell = _cells(rgb)
        for name, ab in (("lightness", plain[cell // STEPS]), ("two grays", both[cell])):
            errors[name].append(metrics.evaluate(rgb, ab.movedim(3, 1))["ciede2000"])
    return {name: torch.cat(parts).mean().item() for name, parts in errors.items()}


def told_by_a_vector(config) -> dict[str, float]:
    """How precisely a ridge regression from config's features tells the mean L* of a test photograph's luma: "off", the standard
    deviation of its error; and "apart", the mean distance of that from the mean L* of the photograph. In units of L*."""
    photos = load_photos(config)
    rows = split_rows(config, photos)
    features = load_inputs(config, photos, rows, CPU).features
    batches = make_batches(photos.images, None, CPU, config.image_size)
    means = [_means(batches(part)[0]) for part in chunks(np.arange(len(features)), AT_A_TIME)]
    of_luma, of_colour = torch.cat(means).numpy().T  # (n,) each
    told = ridge.fit(features, of_luma[:, None], rows)(features[rows["test"]])[:, 0].numpy()
    apart = np.abs(of_luma - of_colour)[rows["test"]].mean()
    return {"off": float((told - of_luma[rows["test"]]).std()), "apart": float(apart)}


def _means(rgb: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) uint8 -> (N,2): mean L* of the luma, and of the photograph."""
    return torch.stack([lab.lightness(lab.luma(rgb)), lab.rgb_to_lab(rgb)[:, :1]], 1).mean((2, 3, 4))


def _cells(rgb: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) uint8 -> (N,H,W): the cell of each pixel. The luma is rounded to uint8, as a gray photograph holds it."""
    L = lab.rgb_to_lab(rgb)[:, 0]
    apart = lab.lightness((lab.luma(rgb) * 255).round() / 255)[:, 0] - L
    step = (apart * 4).round().clamp(-(STEPS // 2), STEPS // 2).int() + STEPS // 2
    return L.round().clamp(0, LEVELS - 1).int() * STEPS + step


def _sums(rgb: torch.Tensor) -> torch.Tensor:
    """(LEVELS * STEPS, 3): pixels in each cell, and the sums of their a* and b*."""
    return metrics.sums_by(_cells(rgb), lab.rgb_to_lab(rgb)[:, 1:], LEVELS * STEPS).sum(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m koala.experiment.two_grays", description=__doc__)
    parser.add_argument("dataset", help="a prepared data set's name, a folder or an archive")
    parser.add_argument("size", type=int, help="pixels a side")
    parser.add_argument("--most", type=int, default=10_000, help="test photographs")
    parser.add_argument("--backbone", default="efficientnet", help="whose features are asked for the luma")
    asked = parser.parse_args()
    settings = {"dataset": asked.dataset, "image_size": asked.size}
    features = {"backbone": asked.backbone, "layer": "features"}
    try:
        found = compare(configs.from_dict(configs.RunConfig, settings | {"backbone": "none"}), asked.most)
        vector = told_by_a_vector(configs.from_dict(configs.RunConfig, settings | features))
    except KoalaError as error:
        sys.exit(f"koala: {error}")
    print(f"CIEDE2000 by lightness {found['lightness']:.2f}, by L* and luma {found['two grays']:.2f}.")
    print(
        f"{asked.backbone}'s features tell the mean L* of the luma to {vector['off']:.1f}; from the photograph's it is "
        f"{vector['apart']:.1f} away on average."
    )


if __name__ == "__main__":
    main()
