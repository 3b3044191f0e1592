"""Weights: reading without running code, fitting with a name for the first mismatch, and hubs that fail in every way."""

import hashlib
import http.server
import re
import socket
import threading
import time
import types

import pytest
import safetensors.torch
import torch
from torch import nn

from koala import extractors
from koala.extractors import backbones, origins, weights
from koala.system import download
from koala.system.errors import KoalaError

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, no proxy, nothing remembered."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(origins, "_silent_hubs", {})
    torch.hub.set_dir(str(tmp_path / "torch" / "hub"))
    yield
    torch.hub._hub_dir = None


def save(path, state):
    safetensors.torch.save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [dict, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_read_as_it_was_saved(tmp_path, suffix, wrap):
    state = wrap(NET.state_dict())
    if suffix == ".safetensors" and "epoch" in state:
        pytest.skip("safetensors holds tensors only")
    read = weights.read(save(tmp_path / f"w{suffix}", state))
    fitted = weights.fit(read, NET.state_dict(), "w")
    assert weights.sha256_state(fitted) == weights.sha256_state(NET.state_dict())


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-run", "w"))


def test_a_file_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Trap()}, tmp_path / "bad.pth")
    with pytest.raises(KoalaError, match=r"bad\.pth is not a readable file of weights"):
        weights.read(tmp_path / "bad.pth")
    assert not (tmp_path / "trap-was-run").exists()


def test_files_without_weights_are_one_sentence(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save(tmp_path / "list.pth", [1, 2])
    for name, message in (
        ("text.pth", "not a readable"),
        ("empty.safetensors", "not a readable"),
        ("list.pth", "holds no state dict"),
        ("none.pth", "there is no file"),
    ):
        with pytest.raises(KoalaError, match=message) as caught:
            weights.read(tmp_path / name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_the_first_entry_that_does_not_fit_is_named():
    good = NET.state_dict()
    cases = (
        (
            {**good, "0.weight": torch.zeros(4, 3, 5, 5)},
            r"'0\.weight' has shape \(4, 3, 5, 5\).*needs \(4, 3, 3, 3\)",
        ),
        ({k: v for k, v in good.items() if k != "1.bias"}, r"no entry '1\.bias'.*another architecture"),
        ({**good, "2.weight": torch.zeros(1)}, r"its entry '2\.weight' is unknown"),
    )
    for state, message in cases:
        with pytest.raises(KoalaError, match=message):
            weights.fit(state, good, "w.pth")
    assert set(weights.fit({**good, "AuxLogits.fc.weight": torch.zeros(1)}, good, "w.pth")) == set(good)


def test_pairing_by_order_checks_every_step():
    good = NET.state_dict()
    theirs = {f"their.{i}.{name.rsplit('.', 1)[-1]}": tensor for i, (name, tensor) in enumerate(good.items())}
    fitted = weights.fit(theirs, good, "w", by_order=True)
    assert list(fitted) == list(good) and weights.sha256_state(fitted) == weights.sha256_state(good)
    swapped = dict(reversed(theirs.items()))
    with pytest.raises(KoalaError, match="stands where"):
        weights.fit(swapped, good, "w", by_order=True)
    with pytest.raises(KoalaError, match="it has 6 entries, the network 7"):
        weights.fit(dict(list(theirs.items())[:6]), good, "w", by_order=True)


def test_the_hash_depends_on_names_types_shapes_and_values_only():
    state = NET.state_dict()
    assert weights.sha256_state(dict(reversed(state.items()))) == weights.sha256_state(state)
    changes = (
        ("0.bias", state["0.bias"].double()),
        ("0.bias", state["0.bias"].view(2, 2)),
        ("0.bias", state["0.bias"] + 1e-6),
    )
    hashes = {weights.sha256_state({**state, name: value}) for name, value in changes}
    assert len(hashes) == 3 and weights.sha256_state(state) not in hashes


# Hubs


REVISION = "0123456789abcdef0123456789abcdef01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    payload, etag, cut = b"", None, 0

    def do_GET(self):
        if self.path.startswith("/missing") or (
            "/resolve/" in self.path and f"/{REVISION}/" not in self.path
        ):
            return self.send_error(404)
        if self.path.startswith("/timm/") and not self.path.endswith("moved"):
            self.send_response(302)
            self.send_header("Location", self.path + "/moved")
            self.send_header("X-Linked-Etag", f'"{self.etag}"')
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.payload)))
        self.end_headers()
        self.wfile.write(self.payload[: len(self.payload) - self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """A local hub that serves NET's weights; .handler changes its manners."""
    path = save(tmp_path / "served.safetensors", NET.state_dict())
    handler = type("H", (Handler,), {"payload": path.read_bytes()})
    handler.sha256 = handler.etag = hashlib.sha256(handler.payload).hexdigest()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.handler, server.base = handler, f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent():
    """A server that accepts and never answers, as a hub behind a broken firewall; `asked` counts who tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        hub = types.SimpleNamespace(url=f"http://127.0.0.1:{server.getsockname()[1]}", asked=0, open=[])

        def accept():
            while True:
                try:
                    hub.open.append(server.accept())
                except OSError:
                    return
                hub.asked += 1

        threading.Thread(target=accept, daemon=True).start()
        yield hub


def url_of(hub):
    return f"{hub.base}/net-{hub.handler.sha256[:8]}.safetensors"


def test_a_hub_is_asked_once_and_the_cache_afterwards(hub):
    seen = []
    state, where = origins.imagenet(origins.Origin(url=url_of(hub)), progress=lambda *step: seen.append(step))
    assert where.startswith("hub 127.0.0.1") and weights.sha256_state(state) == weights.sha256_state(
        NET.state_dict()
    )
    assert not seen or seen[-1][1] == len(hub.handler.payload)
    hub.shutdown()
    _, where = origins.imagenet(origins.Origin(url=url_of(hub)))
    assert where.startswith("torch cache net-")


def test_hugging_face_names_the_hash_in_its_redirect(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.base)
    origin = origins.Origin(hub="timm/net.in1k", revision=REVISION)
    hub.handler.etag = "0" * 64
    with pytest.raises(KoalaError, match="does not have the hash 00000000"):
        origins.imagenet(origin)
    hub.handler.etag = hub.handler.sha256
    assert origins.imagenet(origin)[1].startswith("hub 127.0.0.1")
    assert origins.imagenet(origin)[1] == "hub cache timm/net.in1k"


def test_repositories_that_koala_names_are_pinned_to_a_commit(hub, monkeypatch):
    named = [row.origin for row in backbones.ROWS.values() if row.origin.hub]
    assert named and all(re.fullmatch("[0-9a-f]{40}", origin.revision) for origin in named)
    monkeypatch.setenv("HF_ENDPOINT", hub.base)
    with pytest.raises(
        KoalaError, match="Not Found"
    ):  # the repository has moved on: its main is another commit
        origins.imagenet(origins.Origin(hub="timm/net.in1k"))


def test_what_does_not_arrive_whole_and_true_is_not_kept(hub, tmp_path):
    cases = (
        (f"{hub.base}/net-00000000.pth", 0, "does not have the hash 00000000"),
        (url_of(hub), 10, "sent .* of .* bytes|IncompleteRead"),
        (f"{hub.base}/missing-12345678.pth", 0, "failed: .*Not Found"),
    )
    for url, cut, message in cases:
        hub.handler.cut = cut
        with pytest.raises(KoalaError, match=message):
            origins.imagenet(origins.Origin(url=url))
    assert not [p for p in (tmp_path / "torch").rglob("*") if p.is_file()]
    assert not origins._silent_hubs  # it answered: another file may be there


def test_a_damaged_file_in_the_cache_is_named(tmp_path):
    path = tmp_path / "torch/hub/checkpoints/net-12345678.pth"
    path.parent.mkdir(parents=True)
    save(path, NET.state_dict())
    with pytest.raises(KoalaError, match=r"net-12345678\.pth is damaged.*delete it"):
        origins.imagenet(origins.Origin(url="http://127.0.0.1:9/net-12345678.pth"))


def test_a_file_named_as_the_hubs_must_have_its_hash(tmp_path):
    path = save(tmp_path / "net-12345678.pth", NET.state_dict())
    assert weights.from_file(path, "https://hub.example/other-12345678.pth")
    with pytest.raises(KoalaError, match="is damaged"):
        weights.from_file(path, "https://hub.example/net-12345678.pth")


def refusal(origin, patient=True):
    with pytest.raises(KoalaError) as caught:
        origins.imagenet(origin, patient)
    return str(caught.value)


def test_a_hub_that_refuses_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 3600.0)
    message = refusal(origins.Origin(url="http://127.0.0.1:9/net-12345678.pth"))
    assert "Connection refused" in message and "weights=untrained" in message


def test_a_hub_that_hangs_costs_its_patience_once(silent, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    monkeypatch.setenv("HF_ENDPOINT", silent.url)
    origin = origins.Origin(
        url=f"{silent.url}/net-12345678.pth", hub="timm/net.in1k", package="no-such-package"
    )
    message = refusal(origin)
    assert "pip install no-such-package" in message and silent.asked == 1  # not for the second address, too
    assert "timed out" in message or "did not answer within 1 s" in message
    refusal(origin, patient=False)
    assert silent.asked == 1  # auto remembers
    other = origins.Origin(
        url="http://127.0.0.1:9/net-12345678.pth"
    )  # one more host of many: none is waited for
    assert "127.0.0.1:9" not in refusal(other, patient=False) and "127.0.0.1:9" in refusal(other)
    refusal(origin)
    assert silent.asked == 2  # imagenet asks again


def test_a_name_server_that_hangs_costs_the_same(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(5))
    message = refusal(origins.Origin(url="http://hub.example/net-12345678.pth"))
    assert "did not answer within 1 s" in message


def test_a_hub_that_trickles_counts_as_hanging(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 1.0)

    class Trickle(Handler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b"x" * 100)
                time.sleep(0.1)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    message = refusal(origins.Origin(url=f"http://127.0.0.1:{server.server_port}/net-12345678.pth"))
    server.shutdown()
    assert "did not answer within 1 s" in message


@pytest.mark.slow
def test_the_real_patience_is_ten_seconds(silent):
    began = time.monotonic()
    message = refusal(origins.Origin(url=f"{silent.url}/net-12345678.pth"))
    assert time.monotonic() - began > 9 and (
        "timed out" in message or "did not answer within 10 s" in message
    )


def test_no_hub_is_asked_when_hugging_face_is_offline(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids" in refusal(origins.Origin(url=url_of(hub)))


def test_imagenet_stops_and_auto_goes_on_untrained_and_says_why(monkeypatch):
    row = backbones.Row(
        "timm",
        "resnet10t",
        32,
        backbones.IMAGENET,
        features=512,
        origin=origins.Origin(url="http://127.0.0.1:9/net-12345678.pth"),
    )
    monkeypatch.setitem(backbones.ROWS, "tiny", row)
    with pytest.raises(
        KoalaError, match=r"backbone 'tiny': no ImageNet weights: .*To do: connect to the network once"
    ):
        extractors.build("tiny", "imagenet")
    info = extractors.build("tiny", "auto").info
    assert (
        not info["trained"]
        and info["weights"] == "untrained (seed 0)"
        and "Connection refused" in info["reason"]
    )


def test_distilled_weights_are_found_in_the_data_folder_or_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    with pytest.raises(KoalaError, match=r"no distilled weights of 'resnet18'.*pretrain"):
        extractors.build("resnet18", "distilled")
    file = tmp_path / "data" / "weights" / "resnet18-distilled.safetensors"
    file.parent.mkdir(parents=True)
    state = extractors.build("resnet18", "untrained").net.state_dict()
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, file)
    info = extractors.build("resnet18", "distilled").info
    assert info["trained"] and info["weights"] == "distilled here"
