"""The parameter guard: names, types, ranges; and that notebook, dataclass, papermill and params agree."""

import dataclasses
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.translators import PythonTranslator

from koala import config, study
from koala.experiment import inputs
from koala.system import parameters, paths, yaml_files
from koala.system.errors import KoalaError

NOTEBOOKS = {
    "train": config.RunConfig,
    "data": config.DataConfig,
    "features": config.FeaturesConfig,
    "analysis": config.AnalysisConfig,
    "colorize": config.ColorizeConfig,
    "experiment": config.ExperimentConfig,
    "probe": config.ProbeConfig,
    "benchmark": config.BenchmarkConfig,
    "pretrain": config.PretrainConfig,
}
DEFAULTS = dataclasses.asdict(config.RunConfig())


def check(changes=(), injected=""):
    return config.check(config.RunConfig, DEFAULTS | dict(changes), ["", "# Parameters\n" + injected])


def test_defaults_pass_and_text_is_coerced():
    resolved = check({"resume": "false", "lr": "1e-3", "epochs": "7", "dataset": 2012})
    assert (resolved.resume, resolved.lr, resolved.epochs, resolved.dataset) == (False, 0.001, 7, "2012")


def test_an_unknown_name_in_papermills_cell_is_refused_and_the_nearest_one_named():
    with pytest.raises(KoalaError, match="unknown parameter 'backbon', did you mean 'backbone'"):
        check(injected='backbon = "convnext"\n')


def test_only_the_last_injected_cell_counts():
    cells = ["# Parameters\nbackbon = 1", "x = 1", "# Parameters\nepochs = 2"]
    assert parameters.injected_names(cells) == ["epochs"]


@pytest.mark.parametrize("key", ["epochs = 1\nimport os\nx", "epochs: int", "os.environ['x']", "x; y"])
def test_a_key_that_papermill_would_write_as_code_is_refused(key):
    injected = PythonTranslator.codify({key: 1}, "Parameters").removeprefix("# Parameters\n")
    with pytest.raises(KoalaError, match="a parameter is a name with a value, not"):
        check(injected=injected)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", "many", "'epochs' must be a whole number, not 'many'"),
        ("epochs", 1.5, "'epochs' must be a whole number"),
        ("epochs", True, "'epochs' must be a number"),
        ("epochs", 0, "'epochs' must be at least 1, not 0"),
        ("lr", "nan", "'lr' must be a finite number"),
        ("lr", -1, "'lr' must be more than 0"),
        ("lr_decay", 1.5, "'lr_decay' must be at most 1"),
        ("image_size", 100, "'image_size' must be a multiple of 8"),
        ("loss", "mze", "'loss' must be one of .* did you mean 'mse'"),
        ("resume", "maybe", "'resume' must be true or false"),
        ("weights", "imagnet", "'weights' .* did you mean 'imagenet'"),
        ("weights", "no/such/file.pth", "'weights' must be .* an existing .pth or .safetensors file"),
        ("device", "gpu", "'device' must be auto, cpu, cuda"),
        ("backbone", ["a"], "'backbone' must be text"),
        ("epochs", 10**9, "'epochs' must be at most 10,000"),
        ("epochs", "9" * 5000, "'epochs' has 5,000 characters"),
        ("batch_size", 10**6, "'batch_size' must be at most 65,536"),
        ("dataset", "x" * 5000, "'dataset' has 5,000 characters"),
        ("weights", "x" * 4000 + ".pth", "'weights' must be .* existing"),
        ("weights", "~nobody/\0.pth", "'weights' must be .* existing"),
        ("loss", "m\ns" * 100, r"not 'm.ns.* \.\.\.\.$"),
    ],
)
def test_wrong_values_are_one_sentence(name, value, words):
    with pytest.raises(KoalaError, match=words) as caught:
        check({name: value})
    assert "\n" not in str(caught.value)


def test_error_is_shown_as_one_line_in_a_notebook():
    assert KoalaError("what to do")._render_traceback_() == ["KoalaError: what to do"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_dataclass_and_papermill_agree(name):
    path = paths.ROOT / "notebooks" / f"{name}.ipynb"
    fields = {field.name: field.default for field in dataclasses.fields(NOTEBOOKS[name])}
    listed = papermill.inspect_notebook(str(path))
    assert list(listed) == list(fields)
    for key, parameter in listed.items():
        assert parameter["inferred_type_name"] == type(fields[key]).__name__, key
        assert eval(parameter["default"]) == fields[key], key
        assert parameter["help"], f"{key} has no help comment"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_stored_clean_and_with_short_cells(name):
    notebook = nbformat.read(paths.ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert before.cell_type == "markdown", f"no sentence before: {cell.source[:60]}"
            assert "parameters" in cell.metadata.get("tags", []) or len(cell.source.splitlines()) <= 12


EXPERIMENTS = sorted(path.stem for path in (study.PARAMS / "experiments").glob("*.yaml"))


def experiment(name: str) -> dict:
    return yaml_files.read(study.PARAMS / "experiments" / f"{name}.yaml")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_files_are_valid(name):
    """Names, types and ranges; and that a run can be built from them, before any photograph is read."""
    values = experiment(name)
    inputs.check(config.from_dict(config.RunConfig, values))
    injected = PythonTranslator.codify(values, "Parameters")  # what papermill writes, the guard reads
    assert parameters.injected_names([injected]) == list(values)


@pytest.mark.parametrize("name", ["1-inception", "2-convnext", "3-reduced", "4-crossentropy"])
def test_the_four_experiments_hold_the_reports_values(name):
    values = experiment(name)
    assert (values["lr"], values["lr_decay"], values["lr_step"]) == (0.001, 0.5, 2)
    assert (values["epochs"], values["batch_size"], values["image_size"]) == (20, 64, 224)


def test_identity_leaves_out_where_and_how():
    base = config.RunConfig()
    assert (
        base.identity() == dataclasses.replace(base, device="cpu", resume=False, result_file="x").identity()
    )
    assert base.identity() != dataclasses.replace(base, seed=1).identity()


@pytest.mark.parametrize(
    "path", sorted((study.PARAMS / "studies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_study_files_are_valid(path):
    assert study.load(path.stem).runs()


def test_wrong_study_files_are_one_sentence(tmp_path):
    text = (study.PARAMS / "studies" / "demo.yaml").read_text()
    for old, new, words in [
        ("seeds", "seedz", "'seedz' is no key"),
        ("efficientnet,", "eficientnet,", "did you mean 'efficientnet'"),
        ('probe: ""', "probe: vit", "probe 'vit' is not one of its experiments"),
        ("epochs: 12", "epoch: 12", "unknown parameter 'epoch', did you mean 'epochs'"),
        ("seeds: [0]", "seeds: 3", "'seeds' must be a list"),
        ('probe: ""', "probe: no-extractor", "probe 'no-extractor' has no extractor"),
        ('probe: ""', "probe: [1]", "'probe' must be an experiment's name"),
        ("seeds: [0]", "seeds: [0, 0]", "'seeds' names one of .* twice"),
        ("seeds: [0]", "seeds: [0, 0.0]", "'seeds' must hold whole numbers, not 0.0"),
        ("seeds: [0]", "seeds: [-1]", "'seed' must be at least 0"),
        ("seeds: [0]", "seeds: [0]\nseeds: [1]", "line 7 cannot be read: 'seeds' stands there twice"),
        ("name: photos", "name: ../../photos", "'name' must be letters, digits"),
        ("name: photos", "name: a/b", "'name' must be letters, digits"),
        ("efficientnet,", "../studies/demo,", "there is no params/experiments/../studies/demo.yaml"),
        ("efficientnet,", "[vit],", r"'experiments' must hold names, not \['vit'\]"),
        ("epochs: 12", "epochs: 3000000", "'epochs' must be at most 10,000"),
    ]:
        path = Path(tmp_path) / "mine.yaml"
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(KoalaError, match=words):
            study.load(str(path))


def test_a_study_says_how_its_distilled_weights_are_made_and_of_what_it_has_a_vector(tmp_path):
    path = tmp_path / "mine.yaml"
    start = "seeds: [0]\ndata: {source: photos, name: photos}\n"
    for text, words in [
        ("experiments: [convnext-distilled]", "'distill' must say .* it does not for convnext"),
        ("experiments: [no-extractor]\ndistill: {convnext: {epochs: 1}}", "of no other; .* convnext"),
        ("experiments: [pyramid]\nprobe: pyramid", "'pyramid' has no extractor with one vector"),
    ]:
        path.write_text(start + text)
        with pytest.raises(KoalaError, match=words):
            study.load(str(path))


def test_a_renamed_parameter_is_told_the_right_name():
    values = dataclasses.asdict(config.RunConfig())
    values["epoch"] = values.pop("epochs")
    with pytest.raises(KoalaError, match="unknown parameter 'epoch', did you mean 'epochs'"):
        config.check(config.RunConfig, values)
