"""One run: it learns, repeats to the bit, goes on after a stop to the same bits, and survives damage."""

import dataclasses
import signal
import subprocess
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import CPU, prepare, small
from small_runs import train as run

from koala import experiment, extractors, lab, losses, training
from koala.config import RunConfig
from koala.experiment import evaluate, pipeline, provenance
from koala.system import device, paths
from koala.system.errors import KoalaError
from koala.training import checkpoint, loop
from koala.training.step import Step, mean_loss


@pytest.fixture
def config(photo_folder):
    return small(photo_folder, epochs=2)


def contents(run) -> dict[str, bytes]:
    return {
        name: (run.folder / name).read_bytes()
        for name in ("history.csv", "per_image.csv", "model.safetensors")
    }


class Stop(Exception):
    pass


def stop_after(calls):
    """A progress callback that raises after so many steps."""
    count = iter(range(calls))

    def progress(*_):
        if next(count, None) is None:
            raise Stop

    return progress


def test_one_seed_repeats_to_the_bit_and_another_does_not(config):
    first = run(config)
    before = contents(first)
    assert contents(run(dataclasses.replace(config, resume=False))) == before
    other = run(dataclasses.replace(config, seed=1))
    assert other.folder != first.folder
    for name, content in contents(other).items():
        assert content != before[name], name


def test_a_finished_run_is_read_back_and_a_changed_one_is_trained_again(config):
    first = run(config)
    time = (first.folder / "result.json").stat().st_mtime_ns
    again = run(config, progress=stop_after(0))  # no step is taken
    assert (again.folder / "result.json").stat().st_mtime_ns == time
    (first.folder / "history.csv").write_text("epoch\n")
    with pytest.raises(Stop):
        run(config, progress=stop_after(0))


def test_going_on_after_a_stop_gives_the_same_bits(config):
    first = run(config)
    expected = contents(first)
    often = dataclasses.replace(config, checkpoint_minutes=1e-9)
    for steps in (1, 3, 5):  # 3 steps an epoch: within the first, at its end, within the second
        (first.folder / "result.json").unlink()
        with pytest.raises(Stop):
            run(dataclasses.replace(often, resume=False), progress=stop_after(steps))
        taken = []
        resumed = run(often, progress=lambda done, *_, taken=taken: taken.append(done))
        assert contents(resumed) == expected, steps
        assert len([done for done in taken if done]) < 6 + 10, steps


def test_sigterm_keeps_the_state(config):
    folder = paths.runs_dir() / "x"
    inputs = prepare(config)
    job = pipeline.make_job(config, inputs, CPU)
    with pytest.raises(KoalaError, match="the state is kept"):
        training.fit(job, inputs.rows, folder, progress=lambda *_: signal.raise_signal(signal.SIGTERM))
    state = checkpoint.load(folder)
    assert (state["epoch"], state["step"]) == (0, 1)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stop_while_the_last_epoch_is_judged_is_no_less_a_stop(config):
    folder, inputs = paths.runs_dir() / "x", prepare(config)
    job = pipeline.make_job(config, inputs, CPU)

    def stop(history):
        if len(history) == config.epochs:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KoalaError, match=f"stopped after epoch {config.epochs}; the state is kept"):
        training.fit(job, inputs.rows, folder, on_epoch=stop)
    assert checkpoint.load(folder)["epoch"] == config.epochs


def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys):
    for step in (1, 2):
        checkpoint.save(tmp_path, {"epoch": 0, "step": step, "w": torch.ones(3) * step})
    assert checkpoint.load(tmp_path)["step"] == 2
    newest = max(tmp_path.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert checkpoint.load(tmp_path)["step"] == 1
    assert "damaged" in capsys.readouterr().out
    checkpoint.save(
        tmp_path, {"epoch": 0, "step": 3, "w": torch.ones(3)}
    )  # over the damaged one, not the good one
    assert checkpoint.load(tmp_path)["step"] == 3 and not capsys.readouterr().out.count("step 1")


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for two checkpoints (76 MB each), and not for the third that is written before one goes."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "koala", place], capture_output=True
    ).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_stops_with_one_sentence_and_keeps_the_last_state(config, small_disk, monkeypatch):
    config = dataclasses.replace(config, epochs=4)
    expected = contents(run(config))
    monkeypatch.setenv("KOALA_HOME", str(small_disk))
    with pytest.raises(KoalaError, match="No space left on device; what stood there before is unchanged"):
        run(config)
    (folder,) = (path.parent for path in paths.runs_dir().glob("*/config.json"))
    assert checkpoint.load(folder)["epoch"] == 2 and not (folder / "result.json").exists()
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert contents(run(config)) == expected


def test_out_of_memory_halves_the_micro_batch_with_the_same_result(config, monkeypatch):
    inputs = prepare(config)
    expected = training.fit(pipeline.make_job(config, inputs, CPU), inputs.rows, paths.runs_dir() / "a")
    honest = Step.forward

    def small_memory(step, rgb, features):
        if len(rgb) > 5 and step.training:
            raise torch.OutOfMemoryError("out of memory")
        return honest(step, rgb, features)

    monkeypatch.setattr(Step, "forward", small_memory)
    job = pipeline.make_job(config, inputs, CPU)
    found = training.fit(job, inputs.rows, paths.runs_dir() / "b")
    assert job.micro_batch == 4
    assert pd.DataFrame(found).to_numpy() == pytest.approx(pd.DataFrame(expected).to_numpy(), rel=1e-4)


def test_learning_rate_and_order():
    config = RunConfig()
    rates = [loop.learning_rate(config, step, per_epoch=10) for step in (0, 19, 20, 39, 40)]
    assert rates == [0.001, 0.001, 0.0005, 0.0005, 0.00025]
    rows = np.arange(50)
    orders = [loop.epoch_order(rows, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == rows.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_training_lowers_the_loss(config):
    history = run(dataclasses.replace(config, epochs=6)).history
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0]


def test_losses_in_the_history_are_means_over_photographs(config):
    """The validation loss equals the mean squared error of the full-resolution prediction, computed literally."""
    inputs = prepare(config)
    job, rows = pipeline.make_job(config, inputs, CPU), inputs.rows
    rgb, _ = job.batches(rows["validation"])
    L_norm, ab_norm = lab.training_pair(rgb)
    with torch.no_grad():
        literal = ((job.model.eval()(L_norm) - ab_norm) ** 2).mean().item()
    assert mean_loss(job, rows["validation"]) == pytest.approx(literal, rel=1e-5)


def test_the_extractor_is_bit_identical_after_training(config):
    extractor = extractors.build("efficientnet", "untrained")
    before = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    with_features = dataclasses.replace(config, backbone="efficientnet", weights="untrained", epochs=1)
    finished = run(with_features)
    photos = prepare(with_features).photos
    extractor.train()
    extractor(lab.luma(torch.from_numpy(np.array(photos.images[:4])).permute(0, 3, 1, 2)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in extractor.state_dict().items())
    assert finished.env["weights"]["sha256"] == extractors.build("efficientnet", "untrained").info["sha256"]
    assert finished.untrained


def test_per_image_table_holds_every_photograph_for_every_method(config):
    finished = run(config)
    table, test = finished.per_image, finished.result["photographs"]["test"]
    assert table.groupby("method").size().to_dict() == dict.fromkeys(
        ("category", "gray", "lightness", "mean", "model"), test
    )  # without features nothing is linear in them
    gray = table[table.method == "gray"]
    assert gray.chroma_ratio.max() < 0.05 and gray.colourfulness.max() < 2
    ranked = evaluate.ranked(table)
    errors = table[table.method == "model"].set_index("row").ciede2000
    assert errors[ranked["best"]].max() <= errors[ranked["median"]].min() <= errors[ranked["worst"]].max()


def test_run_id_names_what_was_learned_from_and_not_where(config):
    name = provenance.run_id(config, "data", "weights", "photos")
    assert name.startswith("photos-none-mse-s0-")
    assert (
        provenance.run_id(
            dataclasses.replace(config, device="auto", dataset="elsewhere"), "data", "weights", "photos"
        )
        == name
    )
    for other in (
        provenance.run_id(dataclasses.replace(config, lr=0.002), "data", "weights", "photos"),
        provenance.run_id(config, "other data", "weights", "photos"),
        provenance.run_id(config, "data", "other weights", "photos"),
    ):
        assert other != name


def test_fewer_training_photographs_are_judged_on_the_same_others(config):
    photos = experiment.load_photos(config)
    whole = experiment.split_rows(config, photos)
    fewer = experiment.split_rows(dataclasses.replace(config, train_images=3), photos)
    assert fewer["train"].tolist() == whole["train"][:3].tolist() and len(whole["train"]) > 3
    assert all(fewer[split].tolist() == whole[split].tolist() for split in ("validation", "test"))


def test_too_few_photographs_and_wrong_device_are_one_sentence(config):
    photos = experiment.load_photos(config)
    with pytest.raises(KoalaError, match="max_images=1 leaves no photograph"):
        experiment.split_rows(dataclasses.replace(config, max_images=1), photos)
    with pytest.raises(KoalaError, match="device 'cuda:99' is not on this machine"):
        device.pick("cuda:99")


def test_precision_auto_takes_bf16_where_the_cpu_multiplies_it(monkeypatch):
    for amx, flags, expected in (
        (False, {"avx2"}, "fp32"),
        (True, {"avx2"}, "bf16"),
        (False, {"avx512_bf16"}, "bf16"),
    ):
        monkeypatch.setattr(device, "has_amx", lambda answer=amx: answer)
        monkeypatch.setattr(device, "_cpu_flags", lambda answer=flags: answer)
        assert device.pick_precision("auto", CPU) == expected
    assert device.pick_precision("bf16", CPU) == "bf16"


def test_bf16_without_hardware_for_it_is_named_slow_once(monkeypatch, capsys):
    device._tell.cache_clear()
    for flags, said in (({"avx512_bf16", "avx2"}, 0), (set(), 0), ({"avx2"}, 1)):  # the second: no x86
        monkeypatch.setattr(device, "has_amx", lambda: False)
        monkeypatch.setattr(device, "_cpu_flags", lambda answer=flags: answer)
        assert device.pick_precision("fp32", CPU) == "fp32" and not capsys.readouterr().out
        assert [device.pick_precision("bf16", CPU) for _ in range(2)] == ["bf16"] * 2
        assert capsys.readouterr().out.count("bf16 is emulated") == said


def test_precision_on_gpus_follows_their_capability(monkeypatch):
    for capability, expected in (((6, 1), "fp32"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, answer=capability: answer)
        assert device.pick_precision("auto", torch.device("cuda")) == expected
    with pytest.raises(KoalaError, match="precision=fp16 needs a GPU"):
        device.pick_precision("fp16", CPU)


def test_a_team_on_gpus_takes_as_many_as_it_is_asked_for(monkeypatch):
    """Three GPUs, of which another process holds the last."""
    cuda, known = torch.device("cuda", 0), {0: None}
    monkeypatch.setattr(device, "_leases", known)

    def lease(most=None):
        taken = [1][:most]
        known.update(dict.fromkeys(taken))
        return taken

    monkeypatch.setattr(device, "_lease", lease)
    assert device.pick_team(1, cuda) == 1 and device.leased() == [0]
    assert device.pick_team(2, cuda) == 2 and device.leased() == [0, 1]
    with pytest.raises(KoalaError, match="processes=3 need a GPU each, and 2 are free"):
        device.pick_team(3, cuda)
    monkeypatch.setattr(device, "_leases", {})  # device=cuda:1 leases none
    assert device.pick_team(0, torch.device("cuda", 1)) == 1
    with pytest.raises(KoalaError, match="device=cuda:1 names one: use device=auto"):
        device.pick_team(2, torch.device("cuda", 1))


def test_fp16_scales_its_loss_leaves_out_what_overflows_and_goes_on(config, monkeypatch):
    """On a CPU, whose autocast knows fp16, too: gradients are scaled back, and the scale is part of the state."""
    config = dataclasses.replace(config, image_size=16, lr=0.0001, epochs=1)
    expected = run(config).history
    monkeypatch.setattr(device, "pick_precision", lambda *_: "fp16")
    inputs = prepare(config)
    history = run(config).history
    assert history.train_loss.to_numpy() == pytest.approx(expected.train_loss.to_numpy(), rel=0.02)
    folder = paths.runs_dir() / "fp16"
    trainer = loop.Trainer(pipeline.make_job(config, inputs, CPU))
    batch, weight = trainer.job.batches(inputs.rows["train"][:16]), next(trainer.job.model.parameters())
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # overflows
    before = weight.detach().clone()
    trainer.take(batch)
    assert torch.equal(before, weight) and trainer.scaler.get_scale() == 2.0**39
    loop._save(trainer, folder, loop.fresh())
    again = loop.Trainer(pipeline.make_job(config, inputs, CPU))
    loop._restore(again, folder)
    assert again.scaler.get_scale() == 2.0**39
    again.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    again.take(batch)
    assert not torch.equal(before, next(again.job.model.parameters()))


def test_every_loss_trains_through_the_same_loop(config):
    for name in losses.LOSSES:
        finished = run(dataclasses.replace(config, loss=name, epochs=1))
        assert np.isfinite(finished.history.to_numpy()).all(), name
        assert finished.per_image[finished.per_image.method == "model"].ciede2000.between(0, 100).all(), name


def test_a_compiler_that_fails_costs_one_line(config, monkeypatch, capsys):
    """A run that was to be compiled goes on without; asked for where there is no compiler, it is refused."""
    expected = contents(run(config))

    def broken(module, mode):
        class Broken(torch.nn.Module):
            def forward(self, *_):
                raise ImportError("no header Python.h")

        return Broken()

    monkeypatch.setattr(
        device, "compile_step", lambda module, mode: module if mode == "off" else broken(module, mode)
    )
    monkeypatch.setattr(device, "pick_compile", lambda *_: "on")
    assert contents(run(dataclasses.replace(config, resume=False))) == expected
    assert (
        "torch.compile failed (ImportError: no header Python.h): going on without it."
        in capsys.readouterr().out
    )


def test_compiling_is_off_on_a_cpu_and_refused_without_a_compiler(monkeypatch):
    assert device.pick_compile("auto", CPU, 10**6, 64) == "off"
    with pytest.raises(KoalaError, match="needs a GPU"):
        device.pick_compile("graphs", CPU, 10, 64)
    monkeypatch.setattr(device, "can_compile", lambda _: False)
    with pytest.raises(KoalaError, match="needs a C"):
        device.pick_compile("on", CPU, 10, 64)


@pytest.mark.slow
def test_a_compiled_run_has_the_same_losses(config):
    if not device.can_compile(CPU):
        pytest.skip("no C++ compiler")
    expected = run(config).history
    found = run(dataclasses.replace(config, resume=False, compile="on")).history
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-3)


def test_a_network_that_blows_up_in_its_last_step_is_not_finished(config):
    with pytest.raises(KoalaError, match=r"validation loss is (nan|inf) in epoch 1: lower the learning rate"):
        run(dataclasses.replace(config, epochs=1, batch_size=64, lr=1e30))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(loss="mse", bins=20), "'bins' does nothing with loss=mse"),
        (dict(mirror=True), "'mirror' does nothing with network=koala"),
        (dict(schedule="cosine", lr_step=3), "'lr_step' does nothing with schedule=cosine"),
        (
            dict(network="pyramid", backbone="efficientnet", init="he"),
            "'init' does nothing with network=pyramid",
        ),
        (dict(network="pyramid"), "has the extractor as its encoder: name a backbone"),
        (dict(backbone="none", feature_source="zero"), "'feature_source' does nothing with backbone=none"),
    ],
)
def test_a_parameter_that_would_do_nothing_is_refused(values, message):
    with pytest.raises(KoalaError, match=message):
        experiment.check(dataclasses.replace(RunConfig(backbone="none"), **values))


def test_categories_count_where_they_are_learnt_from(config, photo_folder):
    photos = prepare(config).photos
    other = dataclasses.replace(
        photos, files=photos.files.assign(category=photos.files["category"].iloc[::-1].to_numpy())
    )
    assert provenance.labelled(photos) == provenance.labelled(photos) != provenance.labelled(other)


def test_the_second_of_two_equal_runs_waits_for_the_first(config, capfd):
    inputs = prepare(config)
    first = threading.Thread(target=experiment.run, args=(config, inputs, CPU))
    first.start()
    while not list(paths.runs_dir().glob("*/.lock")):
        time.sleep(0.01)
    second = experiment.run(config, inputs, CPU)
    first.join()
    text = capfd.readouterr().out
    assert second.result["status"] == "finished" and ("waiting for it" in text and "reading it back" in text)
