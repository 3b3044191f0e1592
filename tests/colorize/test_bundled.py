"""The network that comes with koala: weights packed in 8 bits, sealed, and made again from a run."""

import json

import pytest
import safetensors.torch
import torch

from koala import colorize
from koala.colorize import bundled
from koala.extractors import quantize
from koala.system.errors import KoalaError


def test_packed_weights_are_within_half_a_step_and_small():
    state = {"conv.weight": torch.randn(8, 4, 3, 3), "conv.bias": torch.randn(8), "fine": torch.zeros(3, 3)}
    packed = quantize.quantize(state)
    restored = quantize.dequantize(safetensors.torch.load(safetensors.torch.save(packed)))
    assert packed["conv.weight"].dtype == torch.int8 and set(restored) == set(state)
    step = state["conv.weight"].flatten(1).abs().amax(1) / 127
    off = (restored["conv.weight"] - state["conv.weight"]).abs().flatten(1).amax(1)
    assert (off <= step / 2 + 1e-6).all()
    assert torch.equal(restored["conv.bias"], state["conv.bias"]) and not restored["fine"].any()


def test_what_comes_with_koala_is_trained_and_under_8_mb():
    painter = colorize.load()
    assert painter.weights["trained"]
    assert sum(p.stat().st_size for p in bundled.FOLDER.iterdir()) < 8e6


def test_a_run_is_packed_with_its_working_size_and_sealed(run, tmp_path, monkeypatch):
    bundled.pack(run.folder, tmp_path, working_size=48)
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    painter, original = colorize.load(), colorize.load(run.folder.name)
    assert painter.size == 48 and original.size == 32
    for name, weight in original.model.state_dict().items():
        assert (painter.model.state_dict()[name] - weight).abs().max() <= weight.abs().max() / 127
    for name in ("result.json", "env.json", "model.safetensors"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"e", b"f", 1))
        with pytest.raises(KoalaError, match="restore it from git"):
            colorize.load()
        (tmp_path / name).write_bytes(content)
    assert json.loads((tmp_path / "config.json").read_text())["result_file"] == ""
