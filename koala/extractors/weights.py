"""Reading weights from a file, by name or as distilled here, and fitting them to a network. Nothing is unpickled."""

import hashlib
import json
from pathlib import Path

import torch

from koala.extractors.quantize import dequantize
from koala.system.download import hash_in_name, is_sha256
from koala.system.errors import KoalaError
from koala.system.paths import data_dir, resolve, sha256_file

DISTILLED = "distilled here"  # what such weights are called wherever they appear


def read(name) -> dict:
    """A .pth or .safetensors file -> state dict on the CPU. Runs no code of the file; KoalaError if it is no such file."""
    path = resolve(str(name))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = dequantize(load_file(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a file that is not theirs
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise KoalaError(
            f"{path} is not a readable file of weights (.pth or .safetensors, tensors only): {first}"
        ) from error
    return _unwrap(state, path)


def from_file(name, url: str | None) -> dict:
    """`read`, and if the file has the name of the hub's at `url`, its hash is checked, too."""
    path = resolve(str(name))
    return read(checked(path) if url and url.endswith("/" + path.name) else path)


def located(choice: str, backbone: str) -> str:
    """The file that `distilled` means, which pretrain.ipynb writes; any other choice unchanged.

    Raises KoalaError where there is no such file yet."""
    if choice != "distilled":
        return choice
    path = distilled_file(backbone)
    if not path.exists():
        raise KoalaError(
            f"there are no distilled weights of '{backbone}' at {path}: make them with notebooks/pretrain.ipynb."
        )
    return str(path)


def distilled_file(backbone: str) -> Path:
    """Where pretrain.ipynb writes the weights of a backbone that it has trained."""
    return data_dir() / "weights" / f"{backbone}-distilled.safetensors"


def stated(name: str) -> dict:
    """What a .safetensors file of pretrain.ipynb says of its network: size, the pixels a side that it was trained on, data, the
    fingerprint of its photographs, and others; {} of any other file."""
    if not name.endswith(".safetensors"):
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(resolve(name), "pt") as file:
            return json.loads((file.metadata() or {}).get("koala", "{}"))
    except (SafetensorError, ValueError):  # `read` says what is wrong with it
        return {}


def fit(state: dict, expected: dict, what: str, by_order: bool = False) -> dict:
    """`state` under the names of `expected`, with equal shapes. KoalaError that names the first mismatch.

    by_order: entries are paired by position, as the PyPI packages need it; the last part of each name must agree."""
    if by_order and set(state) != set(expected):
        state = _rename(state, expected, what)
    for name, tensor in expected.items():
        if name not in state:
            raise KoalaError(
                f"{what} does not fit: it has no entry '{name}'; are these weights of another architecture?"
            )
        if state[name].shape != tensor.shape:
            raise KoalaError(
                f"{what} does not fit: '{name}' has shape {tuple(state[name].shape)}, "
                f"the network needs {tuple(tensor.shape)}."
            )
    extra = next((name for name in state if name not in expected and not name.startswith("AuxLogits.")), None)
    if extra is not None:
        raise KoalaError(f"{what} does not fit: its entry '{extra}' is unknown to the network.")
    return {name: state[name] for name in expected}


def sha256_state(state: dict) -> str:
    """Hash of names, types, shapes and values: equal for equal weights from whatever file."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unwrap(state, path) -> dict:
    for key in ("state_dict", "model", "model_state_dict"):  # the usual training checkpoints
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, torch.Tensor) for v in state.values())
    ):
        raise KoalaError(
            f"{path} holds no state dict (names with tensors), so no weights can be taken from it."
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _rename(state: dict, expected: dict, what: str) -> dict:
    for theirs, ours in zip(state, expected, strict=False):
        if (
            theirs.rsplit(".", 1)[-1] != ours.rsplit(".", 1)[-1]
            or state[theirs].shape != expected[ours].shape
        ):
            raise KoalaError(
                f"{what} does not fit: its entry '{theirs}' {tuple(state[theirs].shape)} stands where "
                f"'{ours}' {tuple(expected[ours].shape)} belongs."
            )
    if len(state) != len(expected):
        raise KoalaError(f"{what} does not fit: it has {len(state)} entries, the network {len(expected)}.")
    return dict(zip(expected, state.values(), strict=True))


def checked(path: Path) -> Path:
    """The path, where the file has the hash that its name carries, if any. Raises KoalaError."""
    digest = hash_in_name(path) or (path.resolve().name if is_sha256(path.resolve().name) else None)
    if digest and not sha256_file(path).startswith(digest):
        raise KoalaError(f"{path} is damaged: it does not have the hash {digest[:8]} of its name; delete it.")
    return path
