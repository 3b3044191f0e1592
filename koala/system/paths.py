"""Where files are, and how they are written: atomically, so that a kill leaves the old or the new one, never a part."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import tempfile
from pathlib import Path

from koala.system.errors import KoalaError

ROOT = Path(__file__).resolve().parents[2]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of data sets and studies, after which folders are named


def home() -> Path:
    """Folder that holds data/ and runs/: the environment variable KOALA_HOME, else the repository root."""
    return Path(os.environ.get("KOALA_HOME") or ROOT).expanduser().resolve()


def data_dir() -> Path:
    return home() / "data"


def features_dir() -> Path:
    return data_dir() / "features"


def runs_dir() -> Path:
    return home() / "runs"


def reports_dir() -> Path:
    """Rendered reports: reports/ of the repository, or the environment variable KOALA_REPORTS."""
    return Path(os.environ.get("KOALA_REPORTS") or ROOT / "reports").expanduser().resolve()


def exists(path) -> bool:
    """Whether there is such a file or folder; False for a name that no file can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def resolve(name: str) -> Path:
    """A user's path: as it stands, or, as papermill and JupyterLab start in different folders, from the root.

    Raises KoalaError where neither exists."""
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # ~nobody
        path = path.expanduser()
    for candidate in (path, ROOT / path):
        if exists(candidate):
            return candidate.resolve()
    shown = f"{name!r}" if len(name) <= 200 else f"{name[:200]!r} ..."
    raise KoalaError(f"there is no file or folder {shown} (looked in {looked_in()}).")


def matches(pattern: str) -> list[Path]:
    """The files and folders that a user's glob matches, sorted: as it stands, or else from the root."""
    return sorted(map(Path, glob.glob(os.path.expanduser(pattern)) or glob.glob(str(ROOT / pattern))))


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; flushed to disk and renamed over it on success, removed on error.

    Raises KoalaError where it cannot be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes files that only the owner can read
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise KoalaError(
            f"could not write {path}: {error.strerror or error}; what stood there before is unchanged."
        ) from error


def looked_in() -> str:
    """The folders that relative paths are looked up in, for a message."""
    return " and ".join(dict.fromkeys(map(str, (Path.cwd(), ROOT))))


@contextlib.contextmanager
def locked(path, on_wait=None):
    """Context: this process alone holds the file at `path`, which is created if it is missing; the kernel frees it with the
    process, however it ends. on_wait: called once where another process holds it.

    Raises KoalaError where the file cannot be made."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a")
    except OSError as error:
        raise KoalaError(
            f"could not write {path}: {error.strerror or error}; make its folder writable, "
            "or name another one in the environment variable KOALA_HOME."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait:
                on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_bytes(path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path, text: str) -> None:
    write_bytes(path, text.encode())


class Damaged(KoalaError):
    """A file that does not hold what was written to it."""


def write_json(path, value: dict, seal: bool = True) -> None:
    """Write a dict, with its seal: `read_json` then notices every byte that has changed.

    seal=False: for a file of parameters, which papermill must be able to read; result.json holds its hash."""
    value = json.loads(json.dumps(value, default=str))  # as it will be read
    write_text(path, _json_text(sealed(value) if seal else value))


def read_json(path, seal: bool = True) -> dict:
    """What `write_json` wrote, without its seal. Raises Damaged where that is not what the file holds."""
    text = Path(path).read_bytes()
    try:
        value = json.loads(text)
        whole = not seal or _json_text(sealed(value)).encode() == text.replace(b"\r\n", b"\n")
    except (ValueError, AttributeError, RecursionError):  # no JSON, or not of a dict
        whole = False
    if not whole:
        raise Damaged(f"{path} is not what was written: some of it has changed, or an older koala wrote it.")
    return {key: part for key, part in value.items() if key != "seal"}


def sealed(value: dict) -> dict:
    """value with `seal`, the sha256 of all the rest."""
    rest = {key: part for key, part in value.items() if key != "seal"}
    return rest | {"seal": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _json_text(value: dict) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def sha256_file(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
