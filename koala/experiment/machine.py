"""What a machine can do: seconds of a call, operations of a training step, its fastest matrix product, peak memory."""

import resource
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from koala.training.step import Job, Step

LEAST = 0.3  # seconds of one measurement: short steps are repeated


def seconds_of(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, averaged over as many as take LEAST seconds."""
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < LEAST:
        step()
        count += 1
        wait(device)
    return (time.perf_counter() - start) / count


def count_flop(job: Job, rows) -> float:
    """Floating-point operations of a training step on `rows`, multiplications and additions counted separately."""
    step = Step(job.model, job.loss, "fp32")
    with FlopCounterMode(display=False) as counter:
        step(*job.batches(rows)).backward()
    return counter.get_total_flops()


def peak(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product, the best of five: this machine's limit.

    The product is taken as such and as a 1x1 convolution, and the faster counts: on a CPU these are two libraries."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device, dtype=kind)
    image = matrix.view(1, 32, -1, size).permute(0, 3, 1, 2)  # (1, size, 32, size / 32), channels last
    weight = torch.randn(size, size, 1, 1, device=device, dtype=kind)
    with torch.no_grad():
        products = (lambda: matrix @ matrix, lambda: torch.nn.functional.conv2d(image, weight))
        return 2 * size**3 / min(seconds_of(product, device) for _ in range(5) for product in products)


def peak_memory(device: torch.device) -> float:
    """Peak memory in MiB: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak(device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def wait(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
