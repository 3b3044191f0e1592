"""What a run is made of: its parameters checked, its photographs, their split, and the features of its extractor."""

import dataclasses

import numpy as np

from koala import config as configs
from koala import data, extractors, losses
from koala.data import SPLITS
from koala.experiment import starting
from koala.extractors import controls, weights
from koala.system import device as devices
from koala.system.errors import KoalaError

# When a parameter takes effect: otherwise it would do nothing, and the same run would be trained again under a new name.
COUNTS = {
    **dict.fromkeys((*configs.OF_EXTRACTOR, "init"), ("network", lambda config: config.network == "koala")),
    "mirror": ("network", lambda config: config.network == "pyramid"),
    "rehearse": ("start_from", lambda config: bool(config.start_from)),
    "bins": ("loss", lambda config: config.loss == "binned"),
    "lr_decay": ("schedule", lambda config: config.schedule == "steps"),
    "lr_step": ("schedule", lambda config: config.schedule == "steps"),
}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """photos; rows: row numbers of "train", "validation" and "test"; features (n,D) float16 in row order, with D = 0 where
    the network takes none; extractor: its description (koala.extractors.build's info); controls: what was done to
    its outputs (koala.extractors.controls.apply)."""

    photos: data.Photos
    rows: dict[str, np.ndarray]
    features: np.ndarray
    extractor: dict
    controls: dict


def check(config: configs.RunConfig) -> None:
    """Raises KoalaError for parameters that no run can have, before any photograph is read."""
    width = _width(config)
    losses.build(config.loss, n_bins=config.bins)
    for name, cause in idle(config).items():
        if getattr(config, name) != getattr(configs.RunConfig, name):
            raise KoalaError(
                f"parameter '{name}' does nothing with {cause}={getattr(config, cause)}: leave it out, or change {cause}."
            )
    if config.network == "pyramid" and config.backbone == "none":
        raise KoalaError(
            "network=pyramid has the extractor as its encoder: name a backbone, or use network=koala."
        )
    starting.check(config)
    if config.feature_dims > width:
        raise KoalaError(
            f"parameter 'feature_dims' must be at most {width}, the width of {config.backbone}, not {config.feature_dims}."
        )


def idle(config: configs.RunConfig) -> dict[str, str]:
    """Parameters that do nothing in this configuration -> the one because of which they do nothing."""
    causes = {name: cause for name, (cause, takes_effect) in COUNTS.items() if not takes_effect(config)}
    if config.backbone == "none":
        causes |= dict.fromkeys(configs.OF_EXTRACTOR, "backbone")
    return causes | ({"init": "start_from"} if config.start_from else {})


def _width(config) -> int:
    """Of the extractor's output; KoalaError on a backbone that is none. A pyramid takes maps, and no backbone lacks features."""
    takes_maps = getattr(config, "network", "koala") == "pyramid"  # a FeaturesConfig has no network
    return extractors.width(config.backbone, "features" if takes_maps else config.layer)


def load_photos(config, progress=None) -> data.Photos:
    """The prepared data set that `config.dataset` names, prepared now if need be. A wrong backbone is refused first."""
    _width(config)  # raises KoalaError
    return data.find(config.dataset, config.image_size, progress=progress)


def split_rows(config, photos) -> dict[str, np.ndarray]:
    """Row numbers of train, validation and test among the first max_images rows (all where it is 0); of the training split the
    first train_images, so that networks trained on fewer are judged on the same photographs."""
    count = min(config.max_images or len(photos.files), len(photos.files))
    rows = {split: photos.rows(split, count) for split in SPLITS}
    most = getattr(config, "train_images", 0)  # a FeaturesConfig has none: it is for all runs
    rows["train"] = rows["train"][: most or None]
    for split, members in rows.items():
        if not len(members):
            raise KoalaError(
                f"max_images={config.max_images} leaves no photograph in the {split} split of '{photos.name}': use more."
            )
    return rows


def used(rows: dict[str, np.ndarray]) -> int:
    """How many of the data set's first photographs hold all of the splits' rows."""
    return 1 + int(max(members.max() for members in rows.values()))


def _check_pupil(config, photos) -> None:
    """There is one distilled network of a backbone; on other photographs it may have learnt what is held out here."""
    if config.weights != "distilled":
        return
    learnt = weights.stated(weights.located(config.weights, config.backbone)).get("data", photos.fingerprint)
    if learnt != photos.fingerprint:
        raise KoalaError(
            f"the distilled weights of '{config.backbone}' have learnt from other photographs than '{photos.name}': make them "
            f"again with notebooks/pretrain.ipynb, -p dataset {photos.name} -p backbone {config.backbone}."
        )


def load_inputs(config, photos, rows, device, progress=None) -> Inputs:
    """The photographs with the features that the run uses, from the cache or computed now.

    Raises KoalaError where the extractor's distilled weights have learnt from other photographs."""
    _check_pupil(config, photos)
    count = used(rows)
    if config.network == "pyramid":  # it runs the extractor itself
        info = extractors.build(config.backbone, config.weights, progress=progress).info
        return Inputs(photos, rows, np.zeros((count, 0), np.float16), info, {})
    precision = devices.pick_precision(config.precision, device)
    cached = extractors.compute(
        photos,
        config.backbone,
        config.weights,
        count,
        config.layer,
        device,
        progress=progress,
        precision=precision,
    )
    outputs = cached.array[:count]
    if config.backbone == "none":
        return Inputs(photos, rows, outputs, cached.info, {})
    categories = photos.files["category"].to_numpy()[:count]
    features, applied = controls.apply(
        outputs,
        rows,
        config.feature_source,
        config.feature_dims,
        config.seed,
        categories,
        centre=config.centre_features,
    )
    return Inputs(photos, rows, features, cached.info, applied)
