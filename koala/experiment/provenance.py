"""Where a run comes from: the environment that is stored with every result, and the identity that names it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess

from koala.extractors.weights import DISTILLED
from koala.system import device as devices
from koala.system import paths
from koala.system.errors import KoalaError

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-image", "pandas", "pillow")


def run_id(config, fingerprint: str, weights_sha256: str, dataset: str, start_sha256: str = "") -> str:
    """Readable prefix + hash of the configuration, of the data, of the extractor's weights actually used, and of those that
    the network starts from: their contents count, not the paths that they come from."""
    identity = {k: v for k, v in config.identity().items() if k not in ("dataset", "weights", "start_from")}
    identity |= {"start_from": start_sha256} if start_sha256 else {}
    identity |= {"sees": "one gray"} if identity.get("network") == "pyramid" else {}  # earlier ones saw two
    text = json.dumps([identity, fingerprint, weights_sha256], sort_keys=True)
    parts = (dataset, config.backbone, getattr(config, "loss", "pretrain"), f"s{config.seed}")
    prefix = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in parts)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def labelled(photos) -> str:
    """Fingerprint of a data set with its categories, which the fingerprint leaves out: for runs that learn from them."""
    names = "\n".join(photos.files["category"])
    return hashlib.sha256(f"{photos.fingerprint}\n{names}".encode()).hexdigest()


def remark(backbone: str, weights: dict) -> str:
    """What every table must say of an extractor's weights: "untrained", "distilled here", or "" for neither."""
    if backbone == "none":
        return ""
    if not weights["trained"]:
        return "untrained"
    return DISTILLED if weights.get("weights") == DISTILLED else ""


def check_extractor(name: str, weights: dict, info: dict) -> None:
    """KoalaError where an extractor (koala.extractors.build's info) has other weights than the run of that name, whose
    env.json has `weights`."""
    if info["sha256"] != weights["sha256"]:
        raise KoalaError(
            f"{name} was trained with an extractor with {weights['weights']}, and here is one with {info['weights']}: get the "
            "weights that it was trained with, or train it again."
        )


def environment(weights: dict, photos, device: str, precision: str) -> dict:
    """What is stored with every result: code, versions, machine, extractor weights, data."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "cpu": devices.cpu_name(),
            "cores": os.cpu_count(),
            "device": device,
            "precision": precision,
        },
        "weights": weights,
        "data": {"name": photos.name, "fingerprint": photos.fingerprint, "photographs": len(photos.files)},
    }


def commit() -> str:
    """The commit of the code, with "+changes" where files of koala or the notebooks differ from it."""
    git = ["git", "-C", str(paths.ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "koala", "notebooks"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git)"
    return head + ("+changes" if changed.strip() else "")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
