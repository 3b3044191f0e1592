"""Lines for the terminal in which papermill runs a notebook: it shows its progress bar only, and drops what cells print."""

import functools
import os
import sys
from pathlib import Path

import psutil


def say(text: str) -> None:
    """Write a line to papermill's terminal; nothing where the notebook runs in JupyterLab or elsewhere.

    ipykernel keeps the stderr that papermill handed on to the kernel: sys.stderr.fileno()."""
    if papermill_words() is None:
        return
    try:
        terminal = sys.stderr.fileno()
    except OSError:  # ipykernel leaves descriptor 2 where it is, and keeps no copy, as under pytest
        terminal = 2
    line = f"\r\x1b[K{text}\n" if os.isatty(terminal) else f"\n{text}\n"  # over papermill's bar
    os.write(terminal, line.encode(errors="replace"))


def output_notebook() -> Path | None:
    """Where papermill writes the executed notebook; None where it writes none, or another program runs it."""
    named = [word for word in papermill_words() or () if word.endswith(".ipynb")]
    return Path(named[1]) if len(named) > 1 else None


@functools.cache
def papermill_words() -> tuple[str, ...] | None:
    """papermill's command line, word by word, if it started this kernel; else None."""
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return None
    kernel = "ipykernel" in sys.modules and hasattr(sys.stderr, "fileno")
    return tuple(command) if kernel and any("papermill" in word for word in command[:3]) else None
