"""What the extractor can do in this architecture: its output is one constant a channel and photograph, no more.

conv1x1([encoder, embedding]) = conv(encoder) + linear(embedding): the embedding moves each of the 256 channels of a
photograph up or down before one ReLU. So three questions can be asked without training again: how large is that
movement beside the encoder's own, what do another photograph's features do to the picture, and how much colour is there in the features at all (a linear probe)?
"""

import dataclasses

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from koala import lab, metrics
from koala.experiment import evaluate
from koala.extractors import controls
from koala.study import category_baseline
from koala.study.compare import interval
from koala.training import loop
from koala.training.batches import at_a_time, chunks
from koala.training.step import Job, predict

RARE = 0.005  # a target that varies less over the test split has no meaningful R^2
PENALTIES = np.logspace(-1, 6, 15)


def gray_statistics(rgb: torch.Tensor) -> np.ndarray:
    """What lightness alone says of a photograph, without a network: (N,3,S,S) uint8 -> (N,35).

    A histogram of L* in 16 bins, its mean and spread, the mean L* of a 4x4 grid, and the mean absolute gradient."""
    L = lab.rgb_to_lab(rgb.cpu())[:, 0]  # (N, S, S)
    shares = torch.stack([torch.histc(one, 16, 0, 100) / one.numel() for one in L])
    grid = torch.nn.functional.adaptive_avg_pool2d(L[:, None], 4).flatten(1)  # (N, 16)
    moments = torch.stack([L.mean((1, 2)), L.std((1, 2)), L.diff(dim=2).abs().mean((1, 2))], 1)
    return torch.cat([shares, grid, moments], 1).numpy()


def colour_targets(rgb: torch.Tensor) -> dict[str, np.ndarray]:
    """A photograph's colour in a few numbers: mean a*, mean b*, and the share of its pixels in each hue, (N,) each."""
    rgb = rgb.cpu()
    ab = lab.rgb_to_lab(rgb)[:, 1:]
    targets = {"mean a*": ab[:, 0].mean((1, 2)), "mean b*": ab[:, 1].mean((1, 2))}
    shares = metrics.hue_errors(rgb, ab)
    return {
        name: value.numpy()
        for name, value in (targets | {hue: shares[f"{hue}_share"] for hue in metrics.HUES}).items()
    }


def linear_probe(
    inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray], fit_rows, test_rows
) -> list[dict]:
    """R^2 on test_rows of ridge regression fitted on fit_rows, one dict a target with a value per kind of input.

    inputs: name -> (N,D); targets: name -> (N,). The penalty is chosen within fit_rows by leave-one-out. R^2 is
    1 for a perfect prediction, 0 for the test photographs' own mean, below 0 for worse, and NaN where the target hardly
    varies over them."""
    wanted = np.stack(list(targets.values()), 1)  # (N, targets)
    scores = {}
    for name, matrix in inputs.items():
        model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES, alpha_per_target=True))
        found = model.fit(matrix[fit_rows], wanted[fit_rows]).predict(matrix[test_rows])
        r2 = r2_score(wanted[test_rows], found, multioutput="raw_values")
        scores[name] = np.where(wanted[test_rows].std(0) > RARE, r2, np.nan)
    return [
        {"target": target} | {name: scores[name][i] for name in inputs} for i, target in enumerate(targets)
    ]


def statistics(job: Job, matrix: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A run's photographs in row order: what can be known of each, "gray statistics" (N,35) and "features" (N,D), and
    its `colour_targets`. matrix: the run's features (N,D)."""
    gray, colours = [], []
    for part in chunks(np.arange(len(matrix)), at_a_time(job.batches.images)):
        rgb, _ = job.batches(part)
        gray.append(gray_statistics(rgb))
        colours.append(colour_targets(rgb))
    inputs = {"gray statistics": np.concatenate(gray), "features": matrix.astype(np.float32)}
    return inputs, {name: np.concatenate([part[name] for part in colours]) for name in colours[0]}


def run(inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray], rows: dict) -> list[dict]:
    """`linear_probe` of a run's `statistics`: from gray statistics, from its features, and from both."""
    both = np.concatenate(list(inputs.values()), 1)
    return linear_probe(
        inputs | {"both": both}, targets, rows["train"][: category_baseline.FITTED], rows["test"]
    )


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


def swapped_errors(job: Job, matrix: np.ndarray, rows: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """CIEDE2000 of each test photograph (n,) with its own features, another test photograph's, and the mean features.

    matrix: the run's features (N,D)."""
    features = torch.from_numpy(np.ascontiguousarray(matrix))
    mean = matrix[rows["train"]].mean(0, dtype=np.float32).astype(matrix.dtype)
    kinds = {
        "own": features,
        "another photograph's": features[torch.from_numpy(controls.shuffled_rows(len(matrix), rows, seed))],
        "mean of the training split": torch.from_numpy(mean).expand_as(features),
    }
    errors = {}
    for name, given in kinds.items():
        changed, parts = with_features(job, given), []
        for part in chunks(rows["test"], at_a_time(job.batches.images, job.config.batch_size)):
            parts.append(metrics.evaluate(*predict(changed, part))["ciede2000"].cpu().numpy())
        errors[name] = np.concatenate(parts)
    return errors


def compare(errors: dict[str, np.ndarray]) -> list[dict]:
    """Mean of each kind and its difference from "own" with a 95 % interval over photographs."""
    rows = []
    for name, values in errors.items():
        mean, low, high = interval((values - errors["own"])[None])
        rows.append(
            {"features": name, "CIEDE2000": values.mean(), "against own": mean, "low": low, "high": high}
        )
    return rows


def swap_pictures(job: Job, matrix: np.ndarray, rows: dict, names: np.ndarray, count: int):
    """Columns of pictures and captions for koala.report.pictures.grid: `count` drawn test photographs, of as many categories as
    can be, each with everyone's features. matrix: the run's features (N,D); names: (N,) every photograph's category."""
    drawn = evaluate.drawn(rows["test"])
    drawn = drawn[evaluate.of_each(names[drawn], count)]
    columns = {}
    for number, row in enumerate(drawn, 1):
        features = torch.from_numpy(np.array(matrix[row])).expand(matrix.shape)
        columns[f"features of {number}"] = evaluate.pictures(with_features(job, features), drawn)
    columns["truth"] = job.batches(drawn)[0].permute(0, 2, 3, 1).cpu().numpy()
    return columns, [f"photograph {number}" for number in range(1, len(drawn) + 1)]
