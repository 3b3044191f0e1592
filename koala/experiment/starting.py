"""A network that begins where another run's ended: trained further, on other photographs or with another schedule."""

from pathlib import Path

import safetensors.torch
import torch

from koala import config as configs
from koala import data
from koala.experiment import artefacts
from koala.system.errors import KoalaError

SAME = ("network", "backbone", "layer", "feature_dims", "centre_features", "feature_source", "loss", "bins")


def check(config: configs.RunConfig) -> None:
    """Raises KoalaError where config.start_from names no finished run, or one whose network is another one."""
    run = _run(config)
    for name in SAME if run else ():
        theirs = run.config[name]
        if theirs != getattr(config, name):
            raise KoalaError(
                f"start_from={config.start_from} has {name}={theirs}, this run {name}={getattr(config, name)}: its weights "
                f"do not fit. Give both the same {name}."
            )


def identity(config: configs.RunConfig) -> str:
    """The sha256 of the weights that the run starts from; empty where it starts from initial ones."""
    run = _run(config)
    return run.result["sha256"]["model.safetensors"] if run else ""


def begin(config: configs.RunConfig, inputs, model: torch.nn.Module) -> None:
    """Give the model the weights of config.start_from, if it names a run.

    Raises KoalaError where that run's extractor had other weights or other dimensions, or where it has learned from a
    photograph that is held out here."""
    run = _run(config)
    if not run:
        return
    theirs = run.env["weights"]
    kept = [(part.get("indices"), part.get("mean")) for part in (theirs, inputs.controls)]
    if theirs["sha256"] != inputs.extractor["sha256"] or kept[0] != kept[1]:
        raise KoalaError(
            f"start_from={config.start_from} was trained with another extractor's outputs ({theirs['weights']}): start from "
            "a run with the same backbone, weights and dimensions, and the same photographs where features are centred."
        )
    held_out = inputs.photos.files[inputs.photos.files["split"] != "train"]["sha256"]
    known = int(held_out.isin(seen(run.config, run.env)).sum())
    if known:
        raise KoalaError(
            f"start_from={config.start_from} was trained on {known:,} of the photographs that '{inputs.photos.name}' holds "
            "out: prepare both data sets so that they have no file in common, or one split."
        )
    model.load_state_dict(safetensors.torch.load_file(run.folder / "model.safetensors"))


def described(config: configs.RunConfig) -> dict:
    """For env.json, {"start": ...}: the run that this one starts from, with all that it was trained on; {} where it does not."""
    run = _run(config)
    if not run:
        return {}
    weights = {"sha256": run.result["sha256"]["model.safetensors"]}
    return {"start": learned(run.result, run.config, run.env) | weights}


def learned(result: dict, config: dict, env: dict) -> dict:
    """What a run was trained on, from its own result, config and env: run, dataset, its fingerprint, image_size, epochs, seed,
    rehearse, photographs, and as "start" the same of the run that it started from."""
    names = ("dataset", "image_size", "epochs", "seed", "rehearse")
    own = {name: config[name] for name in names if name in config}
    own |= {"fingerprint": env["data"]["fingerprint"]}
    own |= {"run": result["run_id"], "photographs": result["photographs"]["train"]}
    return own | ({"start": env["start"]} if "start" in env else {})


def before(config: configs.RunConfig) -> configs.RunConfig:
    """The configuration of the run that this one starts from."""
    return configs.from_dict(configs.RunConfig, _run(config).config)


def seen(config: dict, env: dict) -> set[str]:
    """The sha256 of every file that a run, and all those before it, were trained on. config, env: the run's own.

    The data sets are read, and prepared again where they are not there. Raises KoalaError where one is another by now."""
    photos = data.find(config["dataset"], config["image_size"])
    if photos.fingerprint != env.get("data", config).get("fingerprint", photos.fingerprint):
        raise KoalaError(
            f"'{photos.name}' has been prepared anew since a network was trained on it, so that nobody knows what that has "
            "seen: prepare it as it was."
        )
    own = set(photos.files.loc[photos.files["split"] == "train", "sha256"])
    before = env.get("start")
    return own | seen(before, before) if before else own


def _run(config: configs.RunConfig) -> artefacts.Run | None:
    return artefacts.load(Path(artefacts.find(config.start_from))) if config.start_from else None
