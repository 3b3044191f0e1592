"""What the extractor can do in this architecture: add one constant per channel and photograph, no more.

conv1x1([encoder, embedding]) = conv(encoder) + linear(embedding): the embedding moves each of the 256 channels of a
photograph up or down before one ReLU. So three questions can be asked without training again: how large is that
movement beside the encoder's own, what do another photograph's features do to the colours, and how much colour do the
features know at all (a linear probe)?
"""

import dataclasses

import numpy as np
import torch
from sklearn.metrics import r2_score

from koala import lab, metrics
from koala.experiment import baselines, evaluate, ridge
from koala.extractors import controls
from koala.study.intervals import interval
from koala.training import loop
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job, predict

RARE = 0.005  # a target that varies less over the test split has no meaningful R^2
FITTED = (
    20_000  # photographs of a split that the probes use: all 78,150 of tiny-imagenet change an R^2 by 0.01
)


def gray_statistics(L: torch.Tensor) -> np.ndarray:
    """What lightness alone says of a photograph, without a network: L* (N,S,S) in [0, 100] -> (N,35).

    A histogram of L* in 16 bins, its mean and spread, the mean L* of a 4x4 grid, and the mean absolute gradient."""
    n = len(L)
    bins = (L * (16 / 100)).int().clamp(0, 15) + 16 * torch.arange(n, device=L.device).view(n, 1, 1)
    shares = torch.bincount(bins.flatten(), minlength=16 * n).view(n, 16) / L[0].numel()
    grid = torch.nn.functional.adaptive_avg_pool2d(L[:, None], 4).flatten(1)  # (N, 16)
    moments = torch.stack([L.mean((1, 2)), L.std((1, 2)), L.diff(dim=2).abs().mean((1, 2))], 1)
    return torch.cat([shares, grid, moments], 1).cpu().numpy()


def colour_targets(lab_true: torch.Tensor) -> dict[str, np.ndarray]:
    """A photograph's colour in a few numbers, of Lab (N,3,S,S): mean a*, mean b*, and the share of its pixels in each hue,
    (N,) each."""
    targets = {"mean a*": lab_true[:, 1].mean((1, 2)), "mean b*": lab_true[:, 2].mean((1, 2))}
    return {name: value.cpu().numpy() for name, value in (targets | metrics.hue_shares(lab_true)).items()}


def linear_probe(inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray], rows: dict) -> list[dict]:
    """R^2 on rows["test"] of ridge regression fitted on rows["train"], one dict per target with a value for each input.

    inputs: name -> (N,D); targets: name -> (N,). The penalty is chosen for each target on rows["validation"]. R^2 is
    1 for a perfect prediction, 0 for the test photographs' own mean, below 0 for worse, and NaN where the target hardly
    varies over them."""
    wanted = np.stack(list(targets.values()), 1)  # (N, targets)
    of_test, scores = wanted[rows["test"]], {}
    for name, features in inputs.items():
        predicted = ridge.fit(features, wanted, rows, each=True)(features[rows["test"]])
        r2 = r2_score(of_test, predicted.numpy(), multioutput="raw_values")
        scores[name] = np.where(of_test.std(0) > RARE, r2, np.nan)
    return [
        {"target": target} | {name: scores[name][i] for name in inputs} for i, target in enumerate(targets)
    ]


def shortened(rows: dict) -> dict:
    """The same splits, training and validation cut to their first FITTED photographs, which are a random sample."""
    return {split: members if split == "test" else members[:FITTED] for split, members in rows.items()}


def statistics(
    batches, features: np.ndarray, rows: dict
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and targets of the probes in row order: "gray statistics" (N,35) and "features" (N,D), and `colour_targets`, of
    photographs thinned as for the baselines. NaN where a photograph is not in `rows`. features: (N,D)."""
    members = np.sort(np.concatenate(list(rows.values())))
    gray, colours = [], []
    for part in chunks(members, at_a_time(batches.images)):
        lab_true = lab.rgb_to_lab(baselines.thinned(batches(part)[0]))
        gray.append(gray_statistics(lab_true[:, 0]))
        colours.append(colour_targets(lab_true))
    targets = {name: np.concatenate([part[name] for part in colours]) for name in colours[0]}
    inputs = {"gray statistics": _in_rows(np.concatenate(gray), members, len(features)), "features": features}
    return inputs, {name: _in_rows(values, members, len(features)) for name, values in targets.items()}


def _in_rows(values: np.ndarray, members: np.ndarray, count: int) -> np.ndarray:
    """Values of `members` (m,...) in an array of all `count` photographs; NaN elsewhere."""
    everyone = np.full((count, *values.shape[1:]), np.nan, np.float32)
    everyone[members] = values
    return everyone


def run(inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray], rows: dict) -> list[dict]:
    """`linear_probe` of a run's `statistics`: from gray statistics, from its features, and from both."""
    both = np.concatenate([features.astype(np.float32) for features in inputs.values()], 1)
    return linear_probe(inputs | {"both": both}, targets, rows)


def averages(probed: list[dict]) -> list[dict]:
    """Mean R^2 over the two mean colours and over the hues."""
    groups = {"mean a* and b*": probed[:2], "hue shares": probed[2:]}
    names = [name for name in probed[0] if name != "target"]
    return [
        {"target": group} | {name: float(np.nanmean([row[name] for row in rows])) for name in names}
        for group, rows in groups.items()
    ]


def final_terms(job: Job, rows: dict) -> dict[str, float]:
    """The fusion's terms of the trained network on the first test photographs (see koala.model.fusion_terms)."""
    return loop.first_terms(job, rows["test"])


def with_features(job: Job, features: torch.Tensor) -> Job:
    """The same job with other features (N,D) in row order."""
    return dataclasses.replace(job, batches=dataclasses.replace(job.batches, features=features))


def swapped_errors(job: Job, features: np.ndarray, rows: dict) -> dict[str, np.ndarray]:
    """CIEDE2000 of each test photograph (n,) with its own features, another test photograph's, and the mean features.

    features: the run's (N,D)."""
    own = torch.from_numpy(np.ascontiguousarray(features))
    mean = features[rows["train"]].mean(0, dtype=np.float32).astype(features.dtype)
    kinds = {
        "own": own,
        "another photograph's": own[torch.from_numpy(controls.shuffled_rows(len(features), rows, 0))],
        "mean of the training split": torch.from_numpy(mean).expand_as(own),
    }
    errors = {}
    for name, replaced in kinds.items():
        changed, parts = with_features(job, replaced), []
        for part in chunks(rows["test"], at_a_time(job.batches.images, job.config.batch_size)):
            parts.append(metrics.evaluate(*predict(changed, part))["ciede2000"].cpu().numpy())
        errors[name] = np.concatenate(parts)
    return errors


def compare(errors: dict[str, np.ndarray]) -> list[dict]:
    """Mean of each kind of features and its difference from "own" with a 95 % interval over photographs."""
    rows = []
    for name, values in errors.items():
        mean, low, high = interval((values - errors["own"])[None])
        rows.append(
            {"features": name, "CIEDE2000": values.mean(), "against own": mean, "low": low, "high": high}
        )
    return rows


def swap_pictures(job: Job, features: np.ndarray, rows: dict, names: np.ndarray, count: int):
    """Columns of photographs and captions for koala.report.pictures.grid: `count` test photographs chosen at random, of
    as many categories as possible, each with the features of every one of them. features: the run's (N,D); names: (N,)
    the categories."""
    drawn = evaluate.drawn(rows["test"])
    drawn = drawn[evaluate.of_each(names[drawn], count)]
    columns = {}
    for number, row in enumerate(drawn, 1):
        same = torch.from_numpy(np.array(features[row])).expand(features.shape)
        columns[f"features of {number}"] = evaluate.coloured(with_features(job, same), drawn)
    columns["truth"] = job.batches(drawn)[0].permute(0, 2, 3, 1).cpu().numpy()
    return columns, [f"photograph {number}" for number in range(1, len(drawn) + 1)]
