"""The feature cache: grows, resumes after kill -9, verifies, and never mixes data."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from koala import extractors, lab
from koala.extractors import cache
from koala.system.errors import KoalaError


def photos(n=22, fingerprint="data-1", seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return SimpleNamespace(images=images, fingerprint=fingerprint, name="toy")


class Tiny(nn.Module):
    """Stands in for an extractor: 5 numbers a picture, and a count of how many pictures it saw."""

    def __init__(self, scale=1.0, limit=None):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.limit, self.seen, self.batches = limit, 0, []
        self.info = dict(
            backbone="tiny",
            layer="logits",
            weights="untrained (seed 0)",
            sha256=f"{scale}",
            width=5,
            preprocessing="none",
            precision="fp32",
        )

    def forward(self, gray):
        if self.limit and len(gray) > self.limit:
            raise torch.OutOfMemoryError("out of memory")
        self.seen += len(gray)
        self.batches.append(len(gray))
        return torch.stack([gray.mean((1, 2, 3)) * k * self.scale for k in range(5)], 1)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """compute() with a Tiny extractor in a folder of its own, blocks of 8 rows."""
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "BLOCK", 8)
    monkeypatch.setattr(cache, "BATCH", 3)

    def compute(data, n=None, net=None, **arguments):
        net = net or Tiny()
        monkeypatch.setattr(cache, "build", lambda *_, **__: net)
        return extractors.compute(data, "tiny", "untrained", n, **arguments), net

    return compute


def expected(data):
    rgb = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    return Tiny()(lab.luma(rgb)).half().numpy()


def test_only_the_blocks_of_the_first_n_rows_and_each_once(tiny):
    data = photos()
    result, net = tiny(data, 5)
    assert net.seen == 8 and result.array.shape == (22, 5) and result.array.dtype == np.float16
    assert np.array_equal(result.array[:8], expected(data)[:8]) and not result.array[8:].any()
    result, net = tiny(data, 9)
    assert net.seen == 8  # rows 8..15
    result, net = tiny(data)
    assert net.seen == 6 and np.array_equal(result.array, expected(data))
    result, net = tiny(data)
    assert net.seen == 0 and not result.array.flags.writeable
    index = json.loads((result.folder / "index.json").read_text())
    assert index["parts"]["data"] == "data-1" and set(index["blocks"]) == {"0", "1", "2"}
    assert index["info"]["weights"] == "untrained (seed 0)" and result.key == result.folder.name


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("no folder")
    monkeypatch.setenv("KOALA_HOME", str(tmp_path / "a file"))
    with pytest.raises(KoalaError, match=r"could not write .*lock: .*KOALA_HOME"):
        tiny(photos())


def test_a_changed_byte_is_found_and_its_block_computed_anew(tiny):
    data = photos()
    result, _ = tiny(data)
    path = result.folder / "features.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1  # in the last block
    path.write_bytes(damaged)
    assert tiny(data, 8)[1].seen == 0  # not asked for
    result, net = tiny(data)
    assert net.seen == 6 and np.array_equal(result.array, expected(data))


@pytest.mark.parametrize(
    ("name", "size"), [("features.npy", 100), ("features.npy", 0), ("index.json", 20), ("index.json", 0)]
)
def test_a_file_cut_short_is_computed_anew(tiny, name, size):
    result, _ = tiny(photos())
    os.truncate(result.folder / name, size)
    again, net = tiny(photos())
    assert net.seen == 22 and np.array_equal(again.array, expected(photos()))


def test_other_data_weights_or_preprocessing_have_another_cache(tiny):
    base, _ = tiny(photos())
    other = Tiny()
    other.info = {**other.info, "preprocessing": "other"}
    keys = {
        base.key,
        tiny(photos(fingerprint="data-2"))[0].key,
        tiny(photos(), net=Tiny(2.0))[0].key,
        tiny(photos(), net=other)[0].key,
    }
    assert len(keys) == 4
    renamed = cache.features_dir() / cache.key_of(cache.key_parts("data-3", Tiny().info))
    base.folder.rename(renamed)
    with pytest.raises(KoalaError, match="holds features of other data or another extractor; delete"):
        tiny(photos(fingerprint="data-3"))
    with pytest.raises(
        KoalaError, match="holds features of other data"
    ):  # the same name for fewer photographs
        tiny(photos(10, fingerprint="data-2"))


def test_a_batch_that_does_not_fit_memory_halves_itself(tiny):
    result, net = tiny(photos(), net=Tiny(limit=1))
    assert set(net.batches) == {1} and np.array_equal(result.array, expected(photos()))
    with pytest.raises(KoalaError, match="memory runs out for a single photograph"):
        tiny(photos(fingerprint="x"), net=Tiny(limit=0.5))


def test_numbers_that_float16_cannot_hold_are_an_error_and_leave_no_block(tiny):
    data = photos()
    for scale, text in ((1e6, "values up to .*e\\+06, beyond float16"), (float("nan"), "values up to nan")):
        with pytest.raises(KoalaError, match=text):
            tiny(data, net=Tiny(scale))
        key = cache.key_of(cache.key_parts("data-1", Tiny(scale).info))
        assert json.loads((cache.features_dir() / key / "index.json").read_text())["blocks"] == {}


def test_progress_counts_the_rows_that_are_missing(tiny):
    seen = []
    tiny(photos(), 8)
    tiny(photos(), progress=lambda *step: seen.append(step))
    assert seen[-1][:2] == (14, 14) and [s[0] for s in seen] == sorted(s[0] for s in seen)


def test_none_has_no_width_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    result = extractors.compute(photos(), "none")
    assert result.array.shape == (22, 0) and result.info["width"] == 0 and result.folder is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(KoalaError, match=r"n 23 must be in 0\.\.22"):
        extractors.compute(photos(), "none", n=23)


def test_a_real_extractor_gives_the_same_as_without_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KOALA_HOME", str(tmp_path))
    data = photos(3)
    monkeypatch.setattr(cache, "BATCH", 2)
    result = extractors.compute(data, "efficientnet", "untrained")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.key = "other"
    extractor = extractors.build("efficientnet", "untrained")
    direct = extractor(lab.luma(torch.from_numpy(data.images).permute(0, 3, 1, 2)))
    assert result.info["sha256"] == extractor.info["sha256"] and result.array.shape == (3, 1000)
    assert np.allclose(result.array, direct.numpy(), atol=5e-3)


SCRIPT = """
    import os, signal, sys, time
    sys.path[:0] = [{tests!r}]
    from test_cache import Tiny, photos
    from koala.extractors import cache
    cache.BLOCK, cache.BATCH = 8, 3
    cache.build = lambda *_, **__: Tiny()
    def progress(done, total, what):
        print(done, total, what, flush=True)
        time.sleep({pause})
        if done == {die_at}:
            os.kill(os.getpid(), signal.SIGKILL)
    cache.compute(photos(40), "tiny", progress=progress)
"""


def start(home, die_at=-1, pause=0.0):
    code = textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__), die_at=die_at, pause=pause))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "KOALA_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_9_costs_at_most_a_block_and_changes_no_bit(tmp_path, tiny):
    process = start(tmp_path, die_at=19)  # in the third block
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -9 and out.splitlines()[-1].startswith("19 40")
    result, net = tiny(photos(40))
    assert net.seen == 40 - 16 and np.array_equal(result.array, expected(photos(40)))


@pytest.mark.slow
def test_two_processes_at_once_compute_it_once(tmp_path, tiny):
    both = [start(tmp_path, pause=0.1) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    counted = sorted(max((int(line.split()[0]) for line in out.splitlines()), default=0) for out in outputs)
    assert counted == [0, 40]  # the second waited, and found everything there
    result, net = tiny(photos(40))
    assert net.seen == 0 and np.array_equal(result.array, expected(photos(40)))
