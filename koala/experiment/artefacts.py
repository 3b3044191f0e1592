"""Artefacts of a run: runs/RUN_ID/ with what was asked, where it ran, what came out. result.json is written last."""

import dataclasses
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch

from koala.system import paths
from koala.system.errors import KoalaError
from koala.training import checkpoint

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-image", "pandas", "pillow")
ARTEFACTS = ("config.json", "env.json", "history.csv", "per_image.csv", "pictures.npz", "model.safetensors")


@dataclasses.dataclass
class Run:
    """A finished run, read back."""

    folder: Path
    config: dict
    env: dict
    result: dict
    history: pd.DataFrame
    per_image: pd.DataFrame

    @property
    def untrained(self) -> bool:
        """Whether the extractor's weights were never trained (a run without extractor is not untrained)."""
        return self.remark == "untrained"

    @property
    def remark(self) -> str:
        return remark(self.config["backbone"], self.env["weights"])


def remark(backbone: str, weights: dict) -> str:
    """What no table may hide about an extractor's weights: "untrained", "distilled here", or "" for neither."""
    if backbone == "none":
        return ""
    if not weights["trained"]:
        return "untrained"
    return "distilled here" if weights.get("weights") == "distilled here" else ""


def run_id(config, fingerprint: str, weights_sha256: str, dataset: str) -> str:
    """Readable prefix + hash of the configuration, of the data and of the extractor's weights actually used.

    Where the data and the weights were found does not count: what they hold does."""
    identity = {k: v for k, v in config.identity().items() if k not in ("dataset", "weights")}
    text = json.dumps([identity, fingerprint, weights_sha256], sort_keys=True)
    parts = (dataset, config.backbone, getattr(config, "loss", "pretrain"), f"s{config.seed}")
    prefix = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in parts)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def labelled(photos) -> str:
    """Fingerprint of a data set with its categories, which the fingerprint leaves out: for what learns from them."""
    names = "\n".join(photos.files["category"])
    return hashlib.sha256(f"{photos.fingerprint}\n{names}".encode()).hexdigest()


def start(config, env: dict, name: str) -> Path:
    """Make runs/NAME with config.json and env.json; returns the folder."""
    folder = paths.runs_dir() / name
    paths.write_json(folder / "config.json", dataclasses.asdict(config))
    paths.write_json(folder / "env.json", env)
    return folder


def environment(weights: dict, photos, device: str, precision: str) -> dict:
    """What a result must travel with: code, versions, machine, extractor weights, data."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "cpu": _cpu(),
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


def clear(folder) -> None:
    """Forget an earlier outcome and its checkpoints, so that the run is trained again."""
    (Path(folder) / "result.json").unlink(missing_ok=True)
    checkpoint.remove(folder)


def is_finished(folder) -> bool:
    """Whether result.json stands and every artefact has the hash that it states; damage is said."""
    path = Path(folder) / "result.json"
    if not path.exists():
        return False
    hashes = paths.read_json(path)["sha256"]
    damaged = [name for name, digest in hashes.items() if not _holds(Path(folder) / name, digest)]
    if damaged:
        print(f"{folder}: {', '.join(damaged)} missing or changed since the run ended; it is run again.")
    return not damaged


def finish(
    folder, model, history: list[dict], per_image: pd.DataFrame, pictures: dict, summary: dict
) -> None:
    """Write the outcome, result.json with the hashes last, and drop the checkpoints.

    pictures: row numbers and the pictures (n,S,S,3) uint8 of named selections, all arrays."""
    folder = Path(folder)
    paths.write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
    paths.write_text(folder / "per_image.csv", per_image.to_csv(index=False, float_format="%.6g"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **pictures)
    _write_bytes(folder / "pictures.npz", buffer.getvalue())
    _write_bytes(
        folder / "model.safetensors",
        safetensors.torch.save({k: v.contiguous().cpu() for k, v in model.state_dict().items()}),
    )
    hashes = {name: paths.sha256_file(folder / name) for name in ARTEFACTS}
    paths.write_json(
        folder / "result.json", {**summary, "run_id": folder.name, "status": "finished", "sha256": hashes}
    )
    checkpoint.remove(folder)


def load(folder) -> Run:
    """Read a finished run. Raises KoalaError where it is unfinished or damaged."""
    folder = Path(folder)
    if not is_finished(folder):
        raise KoalaError(
            f"{folder} holds no finished run: run the notebook train.ipynb with its parameters again."
        )
    config, env, result = (paths.read_json(folder / f"{name}.json") for name in ("config", "env", "result"))
    history, per_image = (pd.read_csv(folder / f"{name}.csv") for name in ("history", "per_image"))
    return Run(folder, config, env, result, history, per_image)


def load_pictures(run: Run) -> dict[str, np.ndarray]:
    with np.load(run.folder / "pictures.npz") as file:
        return dict(file)


def means(per_image: pd.DataFrame) -> pd.DataFrame:
    """Mean of each metric over the photographs, one line a method."""
    return per_image.drop(columns=["row", "path", "category"]).groupby("method").mean()


def _holds(path: Path, digest: str) -> bool:
    return path.exists() and paths.sha256_file(path) == digest


def _write_bytes(path, data: bytes) -> None:
    with paths.atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor()
