"""Training state on disk: two slots written in turn, each with its hash, so that one good state is always there."""

import hashlib
import io
from pathlib import Path

import torch

from koala.system import paths
from koala.system.errors import KoalaError

SLOTS = ("checkpoint-a.pt", "checkpoint-b.pt")
DIGEST = hashlib.sha256().digest_size


def save(folder, state: dict) -> None:
    """Write `state` (tensors and plain values, with integers `epoch` and `step`) over the older slot, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    slots = (Path(folder) / slot for slot in SLOTS)
    oldest = min(slots, key=lambda path: path.stat().st_mtime_ns if path.exists() else 0)
    paths.write_bytes(oldest, hashlib.sha256(payload).digest() + payload)


def load(folder) -> dict | None:
    """The newest state whose hash is right, or None. A damaged file is reported and left out."""
    states = [_read(Path(folder) / slot) for slot in SLOTS]
    return max(states, key=_position)


def remove(folder) -> None:
    for slot in SLOTS:
        (Path(folder) / slot).unlink(missing_ok=True)
        (Path(folder) / slot).with_suffix(".damaged").unlink(missing_ok=True)


def _read(path: Path) -> dict | None:
    if not path.exists():
        return None
    data = path.read_bytes()
    if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        print(f"{path.name} is damaged (its hash is wrong): it is put aside, the one before it is used.")
        path.rename(path.with_suffix(".damaged"))
        return None
    try:
        return torch.load(io.BytesIO(data[DIGEST:]), weights_only=True, map_location="cpu")
    except Exception as error:
        raise KoalaError(f"{path} cannot be read ({error}); delete it to start this run again.") from error


def _position(state: dict | None) -> tuple[int, int]:
    return (state["epoch"], state["step"]) if state else (-1, -1)
