"""experiment.ipynb as a user calls it: it trains what is missing, reads back what is finished, and answers."""

from calling import make_environment, papermill, text_of

from koala.system import paths


def test_one_experiment_is_trained_beside_its_control_and_answered(tmp_path, photo_folder):
    plan = tmp_path / "small.yaml"
    plan.write_text(
        "experiments: [efficientnet, efficientnet-256]\nseeds: [0]\n"
        f"data: {{source: '{photo_folder}', name: small, image_size: 32}}\nscale: {{epochs: 1, device: cpu}}\n"
    )
    environment = make_environment(tmp_path / "home")
    values = ("-p", "study", plan, "-p", "experiment", "efficientnet-256")
    done = papermill(environment, "experiment", tmp_path / "out.ipynb", *values)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = text_of(tmp_path / "out.ipynb")
    assert "efficientnet-256 minus efficientnet" in shown and "feature_dims" in shown
    results = paths.Path(environment["KOALA_HOME"]) / "runs" / "studies" / "small"
    before = {path.name: path.stat().st_mtime_ns for path in results.glob("*.json")}
    assert set(before) == {"efficientnet-s0.json", "efficientnet-256-s0.json"}
    papermill(environment, "experiment", tmp_path / "out.ipynb", *values)
    assert {path.name: path.stat().st_mtime_ns for path in results.glob("*.json")} == before
