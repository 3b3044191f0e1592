"""Downloads from a local server that is slow, breaks off, sends other bytes, too many of them, or goes on."""

import hashlib
import http.server
import threading
import time

import numpy as np
import pytest

from koala.system import download
from koala.system.errors import KoalaError

CONTENT = np.random.default_rng(0).bytes(600_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges. manners: what to do instead; asked: the range of each request."""

    content, manners, cut, pause, length = CONTENT, "", 250_000, 0.0, None

    def do_GET(self):
        asked = self.headers.get("Range")
        self.asked.append(asked)
        start = int(asked[6:-1]) if asked and self.manners != "no ranges" else 0
        body = self.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.manners != "no length":
            self.send_header("Content-Length", str((self.length or len(self.content)) - start))
        self.end_headers()
        if self.manners == "breaks":
            body = body[: self.cut]
        for i in range(0, len(body), 50_000):
            self.wfile.write(body[i : i + 50_000])
            time.sleep(self.pause)
        if self.manners == "stops":
            time.sleep(60)  # longer than anybody waits

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("H", (Handler,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_port}/archive.zip"
    yield handler
    server.shutdown()
    server.server_close()


def fetch(server, place, **options):
    options = {"sha256": SHA256, "size": len(CONTENT)} | options
    return download.fetch(server.url, place / "archive.zip", **options)


def leftovers(place) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_slow_transfer_arrives_and_is_told(server, tmp_path):
    server.pause, told = 0.05, []
    path = fetch(server, tmp_path, progress=lambda *step: told.append(step[:2]))
    assert path.read_bytes() == CONTENT and leftovers(tmp_path) == ["archive.zip"]
    assert told == sorted(told) and {total for _, total in told} == {len(CONTENT)}


def test_a_transfer_that_breaks_off_goes_on_at_once(server, tmp_path):
    server.manners = "breaks"
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=250000-", "bytes=500000-"]


def test_a_transfer_that_breaks_off_for_good_goes_on_at_the_next_call(server, tmp_path):
    server.manners, server.cut = "breaks", 40_000
    with pytest.raises(KoalaError, match="sent 40000 of 600000 bytes"):
        fetch(server, tmp_path)
    assert leftovers(tmp_path) == ["archive.zip.part"]
    server.manners = ""
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=40000-"] and leftovers(tmp_path) == ["archive.zip"]


def test_a_server_without_ranges_begins_again(server, tmp_path):
    (tmp_path / "archive.zip.part").write_bytes(CONTENT[:100_000])
    server.manners = "no ranges"
    assert fetch(server, tmp_path).read_bytes() == CONTENT and server.asked == ["bytes=100000-"]


def test_a_transfer_that_stops_is_given_up_and_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    server.content, server.manners, server.length = CONTENT[:300_000], "stops", len(CONTENT)
    with pytest.raises(KoalaError, match=r"timed out|did not answer"):
        fetch(server, tmp_path)
    assert (tmp_path / "archive.zip.part").read_bytes() == CONTENT[:300_000]
    server.content, server.manners, server.length = CONTENT, "", None
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "part", [b"", CONTENT[:1000], b"other bytes", CONTENT[:-1] + b"?", CONTENT + b"more"]
)
def test_wrong_bytes_are_never_kept(server, tmp_path, part):
    """Sent by the server, or left by somebody in the unfinished file: the hash tells, and the next call starts anew."""
    server.content = CONTENT if part else b"?" + CONTENT[1:]
    (tmp_path / "archive.zip.part").write_bytes(part)
    if part != CONTENT[:1000]:
        with pytest.raises(KoalaError, match="does not have the hash"):
            fetch(server, tmp_path)
        assert leftovers(tmp_path) == []
    server.content = CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_no_more_is_taken_than_there_should_be(server, tmp_path):
    server.content = CONTENT + b"more"
    with pytest.raises(KoalaError, match="offers 600,004 bytes, more than 600,000"):
        fetch(server, tmp_path)
    server.manners = "no length"
    with pytest.raises(KoalaError, match="sends more than 500,000 bytes"):
        fetch(server, tmp_path, sha256=None, size=500_000)
    assert leftovers(tmp_path) in ([], ["archive.zip.part"])
    assert fetch(server, tmp_path).read_bytes() == CONTENT  # what comes behind it is not read


def test_https_is_not_left_for_http():
    redirects = download._Redirects(download.Transfer("https://host/x", None, 1, None))
    request = download.urllib.request.Request("https://host/x")
    with pytest.raises(download.urllib.error.URLError, match="from https on to http://"):
        redirects.redirect_request(request, None, 302, "", {}, "http://host/x")
    assert redirects.redirect_request(request, None, 302, "", {}, "https://other/x")
