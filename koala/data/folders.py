"""Files below a folder, in a fixed order. Links out of it are not followed.

What a Mac puts beside a user's own files (__MACOSX/, ._NAME) is left out.
"""

import os
import stat
from pathlib import Path

from koala.data.reasons import Reason, printable
from koala.data.records import Entry


def walk(folder: Path):
    """Yield (name relative to the folder, path) of every file and link below it, sorted, links not followed."""
    stack = [(folder, "")]
    while stack:
        here, prefix = stack.pop()
        try:
            children = sorted(os.scandir(here), key=lambda child: os.fsencode(child.name))
        except OSError:
            yield prefix.rstrip("/"), here  # an unreadable folder is reported as one bad file
            continue
        inner = [child for child in children if child.is_dir(follow_symlinks=False)]
        for child in children:
            if not child.is_dir(follow_symlinks=False):
                yield prefix + child.name, Path(child.path)
        stack += [(Path(child.path), f"{prefix}{child.name}/") for child in reversed(inner)]


def is_debris(name: str) -> bool:
    """Whether it is a file that a Mac adds to a user's own: no photograph, whatever its suffix."""
    return "/__MACOSX/" in f"/{name}" or name.rpartition("/")[2].startswith("._")


def list_folder(folder: Path):
    """Yield an Entry for every file below the folder."""
    for name, path in walk(folder):
        if not is_debris(name):
            status = os.lstat(path)
            problem = _problem(folder, path, status)
            yield Entry(printable(name), str(path), "file", status.st_size, problem=problem)


def _problem(folder: Path, path: Path, status) -> Reason | None:
    if stat.S_ISLNK(status.st_mode):
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(folder):
            return Reason("link-out")
        return None if target.is_file() else Reason("link")
    if stat.S_ISDIR(status.st_mode):
        return Reason("unreadable-folder")
    return None if stat.S_ISREG(status.st_mode) else Reason("irregular")
