"""Which device and which precision a run uses, from what the machine has."""

import fcntl
import functools
import os
import tempfile
from pathlib import Path

import torch

from koala.errors import KoalaError

_leases = []  # open lock files: a lease lasts as long as its process


def pick(device: str = "auto") -> torch.device:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N".

    auto takes the first GPU that no other run of koala on this machine holds, so that parallel runs spread
    over the GPUs. Raises KoalaError for a device that is not there."""
    if device == "auto":
        return _free_gpu() if torch.cuda.is_available() else torch.device("cpu")
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise KoalaError(
            f"device '{device}' is not on this machine, which has {torch.cuda.device_count()} GPUs; use device=auto."
        )
    return wanted


@functools.cache
def _free_gpu() -> torch.device:
    for index in range(torch.cuda.device_count()):
        identity = getattr(
            torch.cuda.get_device_properties(index), "uuid", index
        )  # holds under CUDA_VISIBLE_DEVICES
        try:
            handle = open(Path(tempfile.gettempdir()) / f"koala-{os.getuid()}-gpu-{identity}.lock", "w")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _leases.append(handle)
        return torch.device("cuda", index)
    return torch.device("cuda", 0)  # all are taken: share the first


def pick_precision(precision: str, device: torch.device) -> str:
    """ "fp32" or "bf16". auto takes bf16 where matrix units exist for it: Ampere and later, CPUs with AMX."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if device.type == "cpu" and has_amx() else "fp32"


def has_amx() -> bool:
    """Whether this CPU has AMX tiles for bf16; without them bf16 gains little or loses on a CPU."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def autocast(device: torch.device, precision: str):
    """Context for the network's forward pass; losses and Lab leave it again for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def describe(device: torch.device) -> str:
    """One line about the device, for the notebook and env.json."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' if threads > 1 else ''}{', AMX' if has_amx() else ''}"
