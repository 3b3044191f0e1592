"""One file from a hub: with a time-out that covers everything, a bound on its size, and a check of its hash.

A file whose SHA-256 is known is fetched into NAME.part beside it. A transfer that breaks off is resumed from there: at
once if anything has arrived, else at the next call.
"""

import contextlib
import dataclasses
import os
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
LARGEST = 16 * 2**30  # bytes: more than any network's weights


class Unreachable(KoalaError):
    """A hub that gave no answer."""


@dataclasses.dataclass
class Transfer:
    """One download, shared by the thread that fetches it and the one that watches it. done, total, most: bytes; total: as
    the hub states it, 0 for unknown; most: where it is stopped; sha256: the hash, or its first digits."""

    url: str
    path: Path
    most: int
    sha256: str | None
    done: int = 0
    total: int = 0
    error: str = ""
    answered: bool = False
    stop: bool = False


def fetch(url: str, path: Path, progress=None, sha256: str | None = None, size: int | None = None) -> Path:
    """Download `url` to `path`, atomically; checked by `sha256`, else by the hash in its name, or the one that the hub states.

    size: bytes, where it is known; no more are read. progress(done, total, what) is called in bytes. Raises
    Unreachable where the hub hangs, and KoalaError where it refuses, errs, or sends something else. The transfer runs in
    a thread that may be left behind: the look-up of a name cannot be interrupted."""
    name = f"{urllib.parse.urlsplit(url).netloc} ({path.name})"
    with _destination(path, resume=bool(sha256)) as temporary:
        wanted = Transfer(url, temporary, size or LARGEST, sha256 or hash_in_name(path))
        while True:
            transfer = dataclasses.replace(wanted, done=temporary.stat().st_size)
            before = transfer.done
            try:
                _run(transfer, name, progress)
                break
            except KoalaError:
                if not sha256 or transfer.done < before + MIN_BYTES:
                    raise
        if transfer.sha256 and not sha256_file(temporary).startswith(transfer.sha256):
            temporary.unlink()  # nothing of it can be trusted
            raise KoalaError(f"What the hub {name} sent does not have the hash {transfer.sha256[:8]}.")
    return path


@contextlib.contextmanager
def _destination(path: Path, resume: bool):
    """A path to download to, renamed to `path` on success. resume: one that stays after a failure."""
    if not resume:
        with atomic_path(path) as temporary:
            yield temporary
        return
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise KoalaError(f"could not write {path}: {error.strerror or error}.") from error


def _run(transfer: Transfer, name: str, progress) -> None:
    """One transfer, from `done` on, to its end. Raises Unreachable or KoalaError."""
    thread = threading.Thread(target=_stream, args=(transfer,), daemon=True)
    thread.start()
    try:
        _watch(thread, transfer, name, progress)
    finally:
        transfer.stop = True
    if transfer.error:
        kind = KoalaError if transfer.answered else Unreachable
        raise kind(f"The hub {name} failed: {transfer.error}.")


def _watch(thread, transfer: Transfer, name: str, progress) -> None:
    last, since = transfer.done, time.monotonic()
    while thread.is_alive():
        thread.join(0.1)
        if progress and transfer.done:
            progress(transfer.done, transfer.total, f"weights from {name}")
        if abs(transfer.done - last) >= MIN_BYTES:
            last, since = transfer.done, time.monotonic()
        elif time.monotonic() - since > PATIENCE and thread.is_alive():
            raise Unreachable(f"The hub {name} did not answer within {PATIENCE:g} s.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, transfer: Transfer):
        self.transfer = transfer

    def redirect_request(self, request, fp, code, msg, headers, newurl):
        if request.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"it sends one from https on to {newurl}")
        # Hugging Face names a large file's sha256 in the answer that sends one elsewhere
        etag = headers.get("X-Linked-Etag", "").strip('"')
        if is_sha256(etag) and not is_sha256(self.transfer.sha256 or ""):
            self.transfer.sha256 = etag
        return super().redirect_request(request, fp, code, msg, headers, newurl)


def _stream(transfer: Transfer) -> None:
    """In a thread of its own: append what the hub sends to the transfer's file."""
    try:
        if transfer.done >= transfer.most:
            return  # all of it was here already: its hash will show
        request = urllib.request.Request(transfer.url)
        if transfer.done:
            request.add_header("Range", f"bytes={transfer.done}-")
        opener = urllib.request.build_opener(_Redirects(transfer))
        with opener.open(request, timeout=PATIENCE) as answer:
            _begin(transfer, answer)
            with open(transfer.path, "r+b") as file:
                file.truncate(transfer.done)
                file.seek(transfer.done)
                while not transfer.stop and (block := answer.read1(1 << 18)):
                    if transfer.stop:  # another one may be at work by now
                        return
                    wanted = block[: transfer.most - transfer.done]
                    if wanted != block and not transfer.sha256:
                        raise OSError(f"it sends more than {transfer.most:,} bytes")
                    file.write(wanted)
                    transfer.done += len(wanted)
                    if wanted != block:  # what comes behind is not read: the hash will show
                        break
        if transfer.done < transfer.total:
            transfer.error = f"it sent {transfer.done} of {transfer.total} bytes"
    except Exception as error:  # of urllib, ssl, socket and http: the reader needs the reason, not the kind
        transfer.answered |= isinstance(error, urllib.error.HTTPError)
        transfer.error = str(getattr(error, "reason", None) or error) or type(error).__name__


def _begin(transfer: Transfer, answer) -> None:
    """Note what the hub is about to send: the rest, if it says so, else all of it from the beginning."""
    transfer.answered = True
    rest = answer.headers.get("Content-Range", "")
    if answer.status != 206 or not rest.startswith(f"bytes {transfer.done}-"):
        transfer.done = 0
    transfer.total = transfer.done + int(answer.headers.get("Content-Length") or 0)
    if transfer.total > transfer.most:
        raise OSError(f"it offers {transfer.total:,} bytes, more than {transfer.most:,}")


def hash_in_name(path: Path) -> str | None:
    """The first digits of the SHA-256 that torch's and timm's files carry in their names, or None."""
    match = re.search(r"-([0-9a-f]{8,})\.(?:pth|safetensors)$", path.name)
    return match.group(1) if match else None


def is_sha256(text: str) -> bool:
    """Whether the text is a whole SHA-256 in lower case."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None
