"""One file from a hub: with a time-out that covers everything, a progress report, and a check of its hash."""

import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from koala.system.errors import KoalaError
from koala.system.paths import atomic_path, sha256_file

PATIENCE = 10.0  # seconds that a hub may take for its first MIN_BYTES, and again for each later MIN_BYTES
MIN_BYTES = 64 * 1024  # a hub that trickles slower than this per PATIENCE counts as hanging


class Unreachable(KoalaError):
    """A hub that gave no answer."""


def fetch(url: str, path: Path, progress=None) -> Path:
    """Download `url` to `path`, atomically and checked by hash. KoalaError where the hub refuses or errs, Unreachable
    where it hangs. The transfer runs in a thread that may be left behind: a name's look-up cannot be interrupted."""
    state = {
        "done": 0,
        "total": 0,
        "sha256": hash_in_name(path),
        "error": "",
        "answered": False,
        "stop": False,
    }
    name = f"{urllib.parse.urlsplit(url).netloc} ({path.name})"
    try:
        with atomic_path(path) as temporary:
            thread = threading.Thread(target=_stream, args=(url, temporary, state), daemon=True)
            thread.start()
            _watch(thread, state, name, progress)
            if state["error"]:
                kind = KoalaError if state["answered"] else Unreachable
                raise kind(f"The hub {name} failed: {state['error']}.")
            if state["sha256"] and not sha256_file(temporary).startswith(state["sha256"]):
                raise KoalaError(f"What the hub {name} sent does not have the hash {state['sha256'][:8]}.")
    finally:
        state["stop"] = True
    return path


def _watch(thread, state, name, progress):
    last, since = 0, time.monotonic()
    while thread.is_alive():
        thread.join(0.1)
        if progress and state["done"]:
            progress(state["done"], state["total"], f"weights from {name}")
        if state["done"] >= last + MIN_BYTES:
            last, since = state["done"], time.monotonic()
        elif time.monotonic() - since > PATIENCE and thread.is_alive():
            raise Unreachable(f"The hub {name} did not answer within {PATIENCE:g} s.")


def _stream(url, path, state):
    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, request, fp, code, msg, headers, newurl):
            # Hugging Face names a large file's sha256 in the answer that sends one elsewhere
            etag = headers.get("X-Linked-Etag", "").strip('"')
            state["sha256"] = etag if is_sha256(etag) else state["sha256"]
            return super().redirect_request(request, fp, code, msg, headers, newurl)

    try:
        with urllib.request.build_opener(Redirects).open(url, timeout=PATIENCE) as answer:
            state.update(answered=True, total=int(answer.headers.get("Content-Length") or 0))
            while not state["stop"] and (block := answer.read1(1 << 18)):
                with open(path, "ab") as file:
                    file.write(block)
                state["done"] += len(block)
        if state["done"] < state["total"]:
            state["error"] = f"it sent {state['done']} of {state['total']} bytes"
    except (
        Exception
    ) as error:  # urllib, ssl, socket and http errors: the reader needs the reason, not the kind
        state["answered"] |= isinstance(error, urllib.error.HTTPError)
        state["error"] = str(getattr(error, "reason", None) or error) or type(error).__name__


def hash_in_name(path: Path) -> str | None:
    found = re.search(r"-([0-9a-f]{8,})\.(?:pth|safetensors)$", path.name)
    return found.group(1) if found else None


def is_sha256(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None
