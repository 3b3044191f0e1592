"""Whether a prepared file still holds what was written: its bytes are read once per change of the file, not at every start.

The result is stored beside the data set (data/.NAME.verified.json: size, time and inode of each file, with its hash), so
that the 60 processes of a study do not read 16 GB each. Running data.ipynb reads the bytes again.
"""

import contextlib
import time
from pathlib import Path

from koala.system import paths
from koala.system.errors import KoalaError

SETTLED = (
    2  # seconds since a file's last change: another one within the same tick of the clock would not show
)
_known: dict[Path, list] = {}  # of this process


def holds(path: Path, sha256: str, anew: bool = False) -> bool:
    """Whether the file has this hash; False where it is missing. anew: by its bytes, even if they were read before."""
    try:
        stamp = _stamp(path, sha256)
        if not anew and stamp in (_known.get(path), _stored(path).get(path.name)):
            return True
        if paths.sha256_file(path) != sha256:
            return False
    except OSError:
        return False
    trust(path, sha256)
    return True


def trust(path: Path, sha256: str) -> None:
    """Note that the file, which has just been written or read, has this hash."""
    stamp = _known[path] = _stamp(path, sha256)
    if time.time() - path.stat().st_mtime > SETTLED:
        with contextlib.suppress(KoalaError):  # where nothing can be written, it is read again
            paths.write_json(_beside(path), _stored(path) | {path.name: stamp})


def _stamp(path: Path, sha256: str) -> list:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, sha256]


def _stored(path: Path) -> dict:
    try:
        return paths.read_json(_beside(path))
    except (OSError, paths.Damaged):
        return {}


def _beside(path: Path) -> Path:
    return path.parent.with_name(f".{path.parent.name}.verified.json")
