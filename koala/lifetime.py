"""Helper processes that do not outlive the one that they work for."""

import ctypes
import sys


def end_with_parent(how: int) -> None:
    """In a child: let the kernel send signal `how` when the parent is gone (Linux; elsewhere the child finds out)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, how)  # PR_SET_PDEATHSIG
