"""The benchmark's literal step computes what the engine computes, and its notebook runs."""

import itertools
import re

import numpy as np
import pytest
import torch
from calling import make_environment, papermill, text_of

from koala import extractors, lab, losses
from koala.experiment import benchmark, literal, waiting
from koala.model import Koala
from koala.study import command_line

CPU = torch.device("cpu")
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def test_the_literal_step_has_the_engines_loss_and_gradients():
    model = Koala(1000)
    reference = literal.LiteralKoala(model)
    features = torch.randn(2, 1000)
    L_norm, ab_norm = literal.training_pair(PICTURES)
    rgb = torch.from_numpy(PICTURES).permute(0, 3, 1, 2)  # (2, 3, 32, 32)
    for one, other in zip((L_norm, ab_norm), lab.training_pair(rgb), strict=True):
        assert (one - other).abs().max() < 1e-4
    value = literal.mean_squared_error(reference(L_norm, features), ab_norm)
    engine = losses.build("mse").compute(model.half(L_norm, features), ab_norm)
    assert value.item() == pytest.approx(engine.item(), rel=1e-5)
    (literal_gradient,) = torch.autograd.grad(value, [reference.fusion.weight])
    encoder, embedding = torch.autograd.grad(engine, [model.fusion.weight, model.embedding.weight])
    assert torch.allclose(literal_gradient, torch.cat([encoder, embedding[:, :, None, None]], 1), atol=1e-7)


def test_every_variant_takes_a_step_that_moves_the_weights():
    extractor = extractors.build("resnet18", "untrained")
    names = [line.name for line in benchmark.variants(CPU)]
    assert len(set(names)) == len(names) and names[0].startswith("literal")
    for line in benchmark.variants(CPU):
        if line.compiled == "off":
            step, model = benchmark.build(line, PICTURES, extractor, CPU)
            before = [parameter.clone() for parameter in model.parameters()]
            assert benchmark.seconds_of(step, CPU) > 0
            moved = [not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)]
            assert all(moved), line.name


def test_a_training_step_at_64_px_takes_three_times_the_operations_of_the_forward_pass():
    from koala import config
    from koala.training import step
    from koala.training.batches import make_batches

    batches = make_batches(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 1000), np.float16), CPU)
    job = step.Job(Koala(1000), losses.build("mse"), batches, config.RunConfig(), "fp32")
    flop = []  # of every convolution's and the embedding's output: two for each multiplication
    for module in job.model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda m, _, out: flop.append(2 * out.numel() * m.weight[0].numel()))
    counted = benchmark.count_flop(job, np.array([0]))
    assert 2.9 * sum(flop) < counted <= 3 * sum(flop)  # less: the first layer needs no gradient of its input


def test_notebook(tmp_path):
    values = dict(small=16, large=24, batch_small=2, batch_large=2, rounds=1, steps=2, device="cpu")
    # compiling takes longer than all the rest
    environment = make_environment(tmp_path) | {"CXX": "no-compiler-here", "OMP_NUM_THREADS": "1"}
    arguments = command_line(values | {"backbone": "resnet18"})
    done = papermill(environment, "benchmark", tmp_path / "out.ipynb", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = text_of(tmp_path / "out.ipynb")
    assert "fused Adam" in shown and "not extrapolated" in shown and "torch.compile" not in shown
    assert "a single thread, which never waits" in shown


def test_the_step_beside_others_is_the_engines():
    assert waiting.rate("photos", 16, 2, steps=1) > 0


@pytest.mark.slow
def test_each_way_of_waiting_is_measured_in_a_process_with_its_settings(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")  # the caller's own settings reach no measurement
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    commands, run = [], waiting.subprocess.run
    monkeypatch.setattr(
        waiting.subprocess, "run", lambda *args, **kw: commands.append(run(*args, **kw)) or commands[-1]
    )
    rows = waiting.measure("photos", 16, 2, rounds=1, steps=1)
    assert [row["way"] for row in rows] == list(waiting.WAYS)
    for row, kind in itertools.product(rows, waiting.MEASUREMENTS):
        assert 0 < row[f"{kind}, lowest"] <= row[kind] <= row[f"{kind}, highest"]
    seen = [re.findall(r"(GOMP_SPINCOUNT|OMP_WAIT_POLICY) = '(\w+)'", done.stderr) for done in commands]
    assert [dict(found)["GOMP_SPINCOUNT"] for found in seen] == sum(waiting.MEASUREMENTS.values()) * [
        "300000",
        "0",
        "1000",
    ]
    assert "ACTIVE" not in str(seen)
