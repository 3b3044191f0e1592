"""Several processes that train one network, one per GPU, on one machine or more: what they share and which does what.

torch.distributed.run starts them (`python -m koala.experiment.worker --help`), DistributedDataParallel averages their
gradients. Order of photographs, batch size, learning rates and split are those of one process: the rows of each step are
divided among the processes. Without a process group all of this is the identity.
"""

import contextlib
import os

import numpy as np
import torch
import torch.distributed as dist


def active() -> bool:
    return dist.is_available() and dist.is_initialized()


def size() -> int:
    return dist.get_world_size() if active() else 1


def launched() -> bool:
    """Whether koala.experiment.launch started this process for a notebook, which holds the run's lock and shows its progress."""
    return os.environ.get("KOALA_LAUNCHED") == "1"


def rank() -> int:
    """This process's number; only rank 0 writes files."""
    return dist.get_rank() if active() else 0


def share(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """This process's rows of a step, and the factor of its mean loss in the mean over all processes.

    The average over processes of factor * mean loss is the mean over `rows`, also where they cannot be divided evenly.
    With fewer rows than processes some compute a row that does not count, with factor 0, since all must take part."""
    mine = np.array_split(rows, size())[rank()]
    return (mine, len(mine) * size() / len(rows)) if len(mine) else (rows[:1], 0.0)


def total(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over the processes, in place."""
    if active():
        dist.all_reduce(value)
    return value


def least(number: int, device: torch.device) -> int:
    """The smallest of the processes' numbers."""
    if not active():
        return number
    value = torch.tensor(number, device=device)
    dist.all_reduce(value, dist.ReduceOp.MIN)
    return value.item()


def from_first(make):
    """The value of make() in process 0, in every process."""
    if not active():
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box, 0)
    return box[0]


@contextlib.contextmanager
def first_here():
    """Context that one process of this machine runs first: it prepares what the others then read."""
    if active() and os.environ["LOCAL_RANK"] != "0":
        dist.barrier()
    yield
    if active() and os.environ["LOCAL_RANK"] == "0":
        dist.barrier()


def wrap(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The module whose backward pass averages gradients over the processes; itself where there is only one."""
    if not active():
        return module
    return torch.nn.parallel.DistributedDataParallel(
        module, [device.index] if device.type == "cuda" else None
    )


def unsynchronized(module: torch.nn.Module):
    """Context in which a backward pass only adds up this process's gradients."""
    return module.no_sync() if hasattr(module, "no_sync") else contextlib.nullcontext()
