"""The network that comes with koala: weights packed in 8 bits, sealed, and made again from a run."""

import dataclasses
import json

import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image
from small_runs import small, train

from koala import colorize, losses
from koala.colorize import bundled, judged, packed
from koala.extractors import quantize
from koala.model import Koala
from koala.system import paths
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
    assert sum(p.stat().st_size for p in packed.FOLDER.iterdir()) < 8e6


def test_a_run_is_packed_with_its_working_size_and_sealed(run, tmp_path, monkeypatch):
    packed.pack(run.folder, tmp_path)
    packed.keep_size(tmp_path, 48)
    monkeypatch.setattr(packed, "FOLDER", tmp_path)
    painter, original = colorize.load(), colorize.load(run.folder.name)
    assert painter.size == 48 and original.size == 32
    for name, weight in original.model.state_dict().items():
        assert (painter.model.state_dict()[name] - weight).abs().max() <= weight.abs().max() / 127
    for name in ("config.json", "result.json", "env.json", "model.safetensors"):
        content = (tmp_path / name).read_bytes()
        middle = len(content) // 2
        (tmp_path / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(KoalaError, match=f"{name} missing or not what was packed: restore it from git"):
            colorize.load()
        (tmp_path / name).write_bytes(content)
    assert json.loads((tmp_path / "config.json").read_text())["result_file"] == ""


def test_the_command_packs_judges_and_writes_the_card(run, photo_folder, tmp_path, monkeypatch):
    for name, value in (("FOLDER", tmp_path / "network"), ("DRAWN", 6), ("TILE", 16)):
        monkeypatch.setattr(packed if name == "FOLDER" else bundled, name, value)
    monkeypatch.setattr(judged, "FEWEST", 3)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("KOALA_REPORTS", str(tmp_path / "reports"))
    sizes = (f"{photo_folder}:72", str(photo_folder))
    further = train(small(photo_folder, lr=0.0001, start_from=run.folder.name, rehearse=True))
    assert bundled.main([further.folder.name, "--data", *sizes, "--beside", run.folder.name]) == 0
    card = (tmp_path / "MODEL.md").read_text()
    painter = colorize.load()
    assert f"| {painter.size} (chosen) |" in card and painter.size in bundled.SIZES
    table = pd.read_csv(tmp_path / "reports/colorizer/per_photograph.csv.gz")
    for method, label in (("model", "the network"), ("gray", "gray (no colour)")):
        mean = table[(table.method == method) & (table.data == sizes[0])].ciede2000.mean()
        assert f"| {label} | {mean:.2f} |" in card
    photographs = paths.read_json(run.folder / "result.json")["photographs"]["train"]
    assert f"| mse | {photographs}, {run.config['epochs']} | " in card
    assert f"\n2. {photographs} photographs" in card and "as many photographs of what it had learned" in card
    further_on = (
        f"-p dataset {photo_folder} -p precision fp32 -p start_from {run.folder.name} -p rehearse true"
    )
    assert f"colorizer-larger.yaml {further_on}" in card
    sealed = (tmp_path / "network" / "model.safetensors").read_bytes()
    assert bundled.main(["auto", "--data", sizes[1]]) == 0  # what comes with koala, as it is
    assert (tmp_path / "network" / "model.safetensors").read_bytes() == sealed
    assert "Other losses" not in (tmp_path / "MODEL.md").read_text()
    held = judged.held_out(painter, sizes[1], 1000, 0)
    seen = held.photos.files.iloc[held.photos.rows("train")]["sha256"]
    assert not held.photos.files.iloc[held.rows["test"]]["sha256"].isin(set(seen)).any()
    with Image.open(tmp_path / "reports/colorizer/photographs.jpg") as sheet:
        assert sheet.size == (3 * 3 * 20, 2 * 20)
    assert bundled.main(["nothing", "--data", str(photo_folder)]) == 1


def test_classes_are_decoded_at_several_temperatures(run, photo_folder, monkeypatch):
    painter = colorize.load(run.folder.name)
    loss = losses.build("binned")
    monkeypatch.setattr(judged, "FEWEST", 3)
    sets = {"one": judged.held_out(painter, str(photo_folder), 1000, 0)}
    config = dataclasses.replace(painter.config, loss="binned")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Koala(0, loss.bins, init="he").eval()  # torch's own weights tell no class from another
    other = dataclasses.replace(painter, config=config, loss=loss, model=model)
    monkeypatch.setattr(bundled, "load", lambda _: other)
    lines = bundled._beside(run.folder.name, sets)
    assert [line["temperature"] for line in lines] == list(bundled.TEMPERATURES)
    strength = [line["sets"]["one"]["colourfulness"] for line in lines]
    assert strength == sorted(strength, reverse=True)  # nearer to the mean is paler


def test_differences_are_paired():
    lines = pd.DataFrame({"row": [0, 1, 2] * 2, "method": ["model"] * 3 + ["gray"] * 3})
    lines["ciede2000"] = [1.0, 12.0, 23.0, 2.0, 14.0, 26.0]
    assert judged.difference(lines, "gray") == pytest.approx((-2.0, 1.96 * 1 / 3**0.5))
