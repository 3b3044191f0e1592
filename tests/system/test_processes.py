"""Freed memory that stays with the process: counted in page faults, not in seconds."""

import os
import re
import subprocess
import sys

import pytest
import torch

from koala.system import device, processes
from koala.system.errors import KoalaError

# Writes a tensor of 64 MiB again and again, within processes.keep_freed_memory() or without: page faults of twenty times, and by how
# many MiB the process shrinks when the context ends.
FAULTS = """
import contextlib, resource, sys, torch
from koala.system import processes
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20
def write(times):
    for _ in range(times):
        torch.ones(16 * 2**20)
with processes.keep_freed_memory() if sys.argv[1] == "kept" else contextlib.nullcontext():
    write(20)  # until the heap has found its size
    before = faults()
    write(20)
    print(faults() - before, end=" ")
    before = resident()
print(before - resident())
"""


@pytest.mark.skipif(processes._glibc() is None, reason="malloc is not glibc's")
def test_freed_memory_is_used_again_within_and_goes_back_at_the_end():
    faults, shrunk = {}, {}
    for how in ("kept", "not"):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        faults[how], shrunk[how] = map(int, done.stdout.split())
    assert faults["not"] > 20 * 30  # at least every 2 MiB, where the system gives huge pages
    assert faults["kept"] < faults["not"] / 10
    assert shrunk["kept"] >= 64 and shrunk["not"] < 8


def test_an_error_leaves_the_context_as_it_is():
    with pytest.raises(KoalaError, match="as it was"), processes.keep_freed_memory():
        raise KoalaError("as it was")


def test_a_machine_without_glibc_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processes.ctypes, "CDLL", None)  # calling it would fail
    entered = []
    with processes.keep_freed_memory():
        entered.append(True)
    assert processes._glibc() is None and entered


def test_running_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert device.is_out_of_memory(caught.value)
    assert device.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not device.is_out_of_memory(RuntimeError("shapes do not fit"))


KERNEL = """
import sys
import jupyter_client
manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")
code = "import sys, koala.config; assert 'torch' not in sys.modules; import torch; print(torch.ones(3).sum())"
client.execute_interactive(code, store_history=False)
client.stop_channels()
manager.shutdown_kernel()
"""


SCRIPT = "import koala, torch"


@pytest.mark.parametrize(
    ("code", "own", "count"),
    [
        (SCRIPT, {}, "1000"),
        (SCRIPT, {"GOMP_SPINCOUNT": "7"}, "7"),
        (SCRIPT, {"OMP_WAIT_POLICY": "active"}, None),
        (KERNEL, {}, "1000"),
    ],
)
def test_threads_wait_instead_of_spinning_unless_the_user_decides(code, own, count):
    """libgomp itself says what it has read, when torch loads it: in a script, and in a notebook's kernel."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = inherited | {"OMP_DISPLAY_ENV": "VERBOSE"} | own
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if not counts:
        pytest.skip("this torch brings another OpenMP")
    assert counts == [count] if count else "1000" not in counts
