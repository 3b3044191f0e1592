"""Which device and which precision a run uses, from what the machine has."""

import fcntl
import functools
import os
import platform
import tempfile
from pathlib import Path

import torch

from koala.system.errors import KoalaError

# Of an AMD EPYC with AVX2 alone, one thread: a training step at 32 px took 13 times as long in bf16 as in fp32, the features of
# EfficientNet-Lite0 13 times, those of Inception-v3 of 2015 8 times.
SLOWLY = "on a CPU about ten times slower than fp32"

_leases = {}  # number of a GPU -> open lock file: a lease lasts as long as its process


def pick(device: str = "auto") -> torch.device:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N".

    auto takes the first GPU that no other run of koala on this machine uses, so that parallel runs spread
    over the GPUs. Raises KoalaError for a device that the machine does not have."""
    if device == "auto":
        return _free_gpu() if torch.cuda.is_available() else torch.device("cpu")
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise KoalaError(
            f"device '{device}' is not on this machine, which has {torch.cuda.device_count()} GPUs; use device=auto."
        )
    return wanted


def pick_team(processes: int, device: torch.device) -> int:
    """How many processes train together: as many as asked; for 0 one, and one more for each further GPU that is free.

    Raises KoalaError where fewer GPUs are free than are asked for, and where a single one was named for several."""
    if device.type != "cuda":
        return max(processes, 1)
    if not _leases:  # of a GPU that was named, no other one is used
        if processes > 1:
            raise KoalaError(
                f"processes={processes} need a GPU each, and device={device} names one: use device=auto."
            )
        return 1
    team = 1 + len(_lease(most=processes - 1 if processes else None))
    if team < processes:
        raise KoalaError(f"processes={processes} need a GPU each, and {team} are free: use fewer, or wait.")
    return team


def leased() -> list[int]:
    """Numbers of the GPUs that this process holds."""
    return sorted(_leases)


@functools.cache
def _free_gpu() -> torch.device:
    (index,) = _lease(most=1) or [0]  # all are in use: share the first
    return torch.device("cuda", index)


def _lease(most: int | None = None) -> list[int]:
    """Lease the GPUs that no other process holds, at most `most`; their numbers."""
    taken = []
    for index in range(torch.cuda.device_count()):
        if index in _leases or len(taken) == most:
            continue
        properties = torch.cuda.get_device_properties(index)
        identity = getattr(properties, "uuid", index)  # the same under any CUDA_VISIBLE_DEVICES
        try:
            handle = open(Path(tempfile.gettempdir()) / f"koala-{os.getuid()}-gpu-{identity}.lock", "w")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _leases[index] = handle
        taken.append(index)
    return taken


def pick_precision(precision: str, device: torch.device) -> str:
    """ "fp32", "bf16" or "fp16". auto takes bf16 where the hardware computes with it: GPUs from Ampere on, CPUs with AMX
    or AVX512_BF16 (there it trained 2.0 times as fast as fp32 and ran extractors 1.9 to 2.3 times as fast); and fp16
    on GPUs with tensor cores for it alone (Volta and Turing: V100, T4). Raises KoalaError for fp16 on a CPU; says
    once where bf16 is asked for and `emulates_bf16`."""
    if precision == "fp16" and device.type != "cuda":
        raise KoalaError(
            f"precision=fp16 needs a GPU, and this run is on {device.type}: use bf16, fp32 or auto."
        )
    if precision == "bf16" and emulates_bf16(device):
        _tell(f"precision=bf16 is emulated by {describe(device)}: {SLOWLY}; precision=auto takes fp32.")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "bf16" if device.type == "cpu" and has_bf16() else "fp32"


def has_bf16() -> bool:
    """Whether this CPU multiplies bf16: AMX, or AVX-512 with the BF16 extension."""
    return has_amx() or "avx512_bf16" in _cpu_flags()


def emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 works there without hardware for it, by way of float32, and is slower than that."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) < (8, 0)
    return "avx2" in _cpu_flags() and not has_bf16()  # of other processors too little is known


@functools.cache
def _tell(sentence: str) -> None:
    """Print it once in this process."""
    print(sentence)


def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_info("flags").split())


@functools.cache
def _cpu_info(key: str) -> str:
    """The first processor's value of `key` in Linux's table of processors; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def has_amx() -> bool:
    """Whether this CPU has AMX tiles for bf16."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def pick_compile(wanted: str, device: torch.device, steps: int, image_size: int) -> str:
    """ "off", "on" (torch.compile) or "graphs" (also as CUDA graphs), from those or "auto".

    auto compiles on a GPU when the run has enough steps to earn back the minute or so of compiling, as graphs where
    photographs are so small that launching kernels takes longer than running them. On a CPU it is off: there
    compiling takes longer than it saves. Raises KoalaError where it is asked for and there is no compiler."""
    if wanted == "auto":
        pays = device.type == "cuda" and steps >= 2000 and can_compile(device)
        return ("graphs" if image_size <= 96 else "on") if pays else "off"
    if wanted == "graphs" and device.type != "cuda":
        raise KoalaError(
            f"compile=graphs needs a GPU, and this run is on {device.type}: use compile=on or auto."
        )
    if wanted != "off" and not can_compile(device):
        raise KoalaError(
            f"compile={wanted} needs a C++ compiler{' and Triton' * (device.type == 'cuda')}: use compile=off."
        )
    return wanted


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it generates code with."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()
    except Exception:  # its own kind, without a public name
        return False
    return device.type != "cuda" or has_triton()


def not_compiled(error: Exception) -> str:
    """What to say where torch.compile has failed with this error."""
    why = str(error).partition("\n")[0][:200]
    return f"torch.compile failed ({type(error).__name__}: {why}): going on without it."


def compile_step(module: torch.nn.Module, mode: str):
    """The module, compiled as `pick_compile` decided. Each new shape of a batch is compiled at its first use."""
    if mode == "off":
        return module
    return torch.compile(module, dynamic=False, mode="reduce-overhead" if mode == "graphs" else "default")


def repeatable(fast: bool = False):
    """Context for training: the same bits each time, so that a resumed run ends like one that was never interrupted; fp32 is
    fp32, not TF32. fast gives that up on a GPU: cudnn chooses its fastest algorithms, and fp32 is computed in TF32."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=fast, deterministic=not fast, allow_tf32=fast)


def autocast(device: torch.device, precision: str):
    """Context for the network's forward pass; losses and Lab leave it again for float32."""
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=kind, enabled=precision != "fp32")


def describe(device: torch.device) -> str:
    """One line about the device, for the notebook and env.json."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    threads = torch.get_num_threads()
    bf16 = ", AMX" if has_amx() else ", AVX512_BF16" if has_bf16() else ""
    return f"{device.type} ({cpu_name()}), {threads} thread{'s' * (threads > 1)}{bf16}"


def cpu_name() -> str:
    """The processor's name as Linux knows it, else as Python does."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's or the host's memory ran out (the CPU allocator raises a plain RuntimeError)."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
