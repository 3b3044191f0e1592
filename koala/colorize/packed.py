"""The trained network that comes with koala, its weights in 8 bits: any finished run can be packed as it."""

from pathlib import Path

import safetensors.torch

from koala.experiment import artefacts
from koala.extractors.quantize import dequantize, quantize
from koala.system import paths
from koala.system.errors import KoalaError

FOLDER = Path(__file__).parent / "network"


def folder() -> Path:
    """Where the network that comes with koala lies. KoalaError where it is missing."""
    if not (FOLDER / "config.json").exists():
        raise KoalaError(
            f"{FOLDER} is missing: restore it from git, or train a run and name it with the parameter run."
        )
    damaged = artefacts.damaged(FOLDER)
    if damaged:
        raise KoalaError(
            f"{FOLDER}: {', '.join(damaged)} missing or not what was packed: restore it from git."
        )
    return FOLDER


def read(path: Path) -> dict:
    """A network's weights from a safetensors file, packed or not. KoalaError where it is missing or unreadable."""
    if not path.exists():
        raise KoalaError(
            f"{path} is missing: train a run first (notebooks/train.ipynb) and name it, or restore the file."
        )
    try:
        return dequantize(safetensors.torch.load(path.read_bytes()))
    except Exception as error:
        raise KoalaError(f"{path} cannot be read as safetensors ({error}).") from None


def pack(run_folder: Path, target: Path) -> None:
    """Write config.json, env.json, result.json and the packed weights of any finished run to `target`."""
    run = artefacts.load(run_folder)
    state = quantize(read(run.folder / "model.safetensors"))
    paths.write_bytes(target / "model.safetensors", safetensors.torch.save(state))
    config = run.config | {"result_file": ""}  # a path of the machine that trained it
    paths.write_json(target / "config.json", config, seal=False)
    paths.write_json(target / "env.json", run.env)
    names = ("config.json", "env.json", "model.safetensors")
    hashes = {name: paths.sha256_file(target / name) for name in names}
    paths.write_json(target / "result.json", run.result | {"sha256": hashes})


def keep_size(target: Path, working_size: int) -> None:
    """Write down the working size that was measured to be best: pixels of the shorter side that the network sees."""
    result = paths.read_json(target / "result.json")
    paths.write_json(target / "result.json", result | {"working_size": working_size})
