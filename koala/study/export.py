"""A study's numbers in a few megabytes, from which its pages can be made again without photographs and training.

reports/STUDY/runs/ holds for each run its config.json, env.json, result.json, history.csv, the metrics of each test photograph
and the photographs of the seeded draw as it coloured them; and once for all runs what these have in common. A study
that was trained here is rounded in the same way when it is read, so that its pages do not depend on where it was read from.
"""

import io
import lzma
from pathlib import Path

import numpy as np
import pandas as pd

from koala import config as configs
from koala import data
from koala.experiment import artefacts, baselines, evaluate
from koala.study import packing
from koala.study import plan as plans
from koala.study.finished import FinishedStudy
from koala.system import paths
from koala.system.errors import KoalaError
from koala.training.batches import at_size

FILES = ("config.json", "env.json", "history.csv", "per_image.npy.xz", "drawn.jpg")
ENV = ("commit", "python", "versions", "machine", "data")
WEIGHTS = ("backbone", "weights", "trained", "sha256", "layer", "width", "size")


def folder(study) -> Path:
    """Where a study's numbers are kept. study: of koala.study.plan."""
    return study.reports / "runs"


def write(study: FinishedStudy) -> Path:
    """Write everything; returns the folder. Runs that are not finished now, and were exported before, stay as they are.

    Raises KoalaError where the photographs of the draw are no longer those of the runs."""
    target = folder(study.plan)
    for (name, seed), run in study.runs.items():
        if run.folder.parent != target:
            _write_run(target / f"{name}-s{seed}", run, study.lines(name, seed))
    _write_common(target, study)
    return target


def exists(plan, name: str, seed: int) -> bool:
    """Whether the run was exported, with the parameters that the study gives it now, and of the same photographs where the
    study's are prepared here."""
    place = folder(plan) / f"{name}-s{seed}"
    if not (place / "result.json").exists():
        return False
    try:
        asked = _asked(artefacts.read_config(place)) == _asked(plans.parameters(plan, name, seed))
        here = _prepared(plan)
        return asked and here in ("", paths.read_json(place / "env.json")["data"]["fingerprint"])
    except (KoalaError, FileNotFoundError):
        return False


def _prepared(plan) -> str:
    """The fingerprint of the study's photographs as they are prepared here; empty where they are not."""
    meta = paths.data_dir() / plans.dataset(plan.data) / "meta.json"
    return paths.read_json(meta)["fingerprint"] if meta.exists() else ""


def _asked(values: dict) -> dict:
    """What decides a run's result, without the folders of photographs and of files of weights, which differ between machines."""
    weights = Path(values.get("weights", configs.RunConfig.weights)).name
    identity = configs.from_dict(configs.RunConfig, values | {"weights": "auto"}).identity()
    return {key: value for key, value in identity.items() if key != "dataset"} | {"weights": weights}


def read(plan, name: str, seed: int) -> artefacts.Run | None:
    """One exported run; None where none `exists`. Its per_image has the lines of the network alone until `complete`.

    Raises KoalaError where a file is not what was written."""
    place = folder(plan) / f"{name}-s{seed}"
    if (place / "result.json").exists() and (changed := artefacts.damaged(place)):
        raise KoalaError(
            f"{place}: {', '.join(changed)} missing or not what was written: take it from git again."
        )
    if not exists(plan, name, seed):
        return None
    config = artefacts.read_config(place)
    env, result = (paths.read_json(place / f"{part}.json") for part in ("env", "result"))
    lines = read_lines(folder(plan), place / "per_image.npy.xz", "model")
    return artefacts.Run(place, config, env, result, pd.read_csv(place / "history.csv"), lines)


def complete(plan, runs: dict) -> None:
    """Give exported runs the lines that need no network, each as it had them: those of its test split, and those of its
    extractor's features; in place."""
    target = folder(plan)
    exported = [(run, len(run.per_image), set()) for run in runs.values() if run.folder.parent == target]
    for file, name, seed, method in files(target / "without-network"):
        lines, holder = read_lines(target, file, method), runs.get((name, seed))
        for run, tested, known in exported:
            own = method not in baselines.OF_FEATURES or (holder and _same_features(run, holder))
            if own and tested == len(lines) and method not in known:
                known.add(method)
                run.per_image = pd.concat([run.per_image, lines], ignore_index=True)


def _same_features(run: artefacts.Run, other: artefacts.Run) -> bool:
    alike = run.extractor == other.extractor and run.config["network"] == other.config["network"]
    return alike and run.own_features and other.own_features


def drawn(study: FinishedStudy) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Row numbers (n,) of the seeded draw and its photographs (n,S,S,3) uint8: "truth", and as each experiment's first seed
    coloured them. Experiments that drew other photographs than the first, or see them at another size, are not among them."""
    shown, rows, truth = {}, None, None
    same = _of_draw(study.first(study.experiments[0]))
    for name in study.experiments:
        run = study.first(name)
        if _of_draw(run) != same:
            continue
        if run.folder.parent == folder(study.plan):
            shown[name] = packing.strip(run.folder / "drawn.jpg")
            rows, truth = (
                np.load(folder(study.plan) / "drawn.npy"),
                packing.strip(folder(study.plan) / "truth.jpg"),
            )
        else:
            kept = artefacts.load_pictures(run)
            shown[name] = packing.as_kept(kept["drawn"])
            rows = kept["drawn_rows"]
            truth = packing.as_kept(_truth(run, rows, kept["drawn"].shape[1]))
    return rows, {"truth": truth, **shown}


def _of_draw(run: artefacts.Run) -> tuple:
    """What decides which photographs are drawn, and how large: the first of the test split."""
    return min(run.result["photographs"]["test"], evaluate.DRAWN), run.config["image_size"]


def _write_run(target: Path, run: artefacts.Run, lines: pd.DataFrame) -> None:
    weights = {key: run.env["weights"].get(key) for key in WEIGHTS if key in run.env["weights"]}
    own = {"parameters": run.parameters, "network": run.network}
    result = {key: value for key, value in run.result.items() if key != "sha256"} | own
    config = run.config | {
        "result_file": "",
        "weights": Path(run.config["weights"]).name,
    }  # no machine's folders
    paths.write_json(target / "config.json", config, seal=False)
    paths.write_json(
        target / "env.json", {key: run.env[key] for key in ENV if key in run.env} | {"weights": weights}
    )
    paths.write_text(target / "history.csv", run.history.to_csv(index=False))
    paths.write_bytes(target / "per_image.npy.xz", packing.packed(lines, packing.STEPS))
    paths.write_bytes(target / "drawn.jpg", packing.jpeg(artefacts.load_pictures(run)["drawn"]))
    hashes = {name: paths.sha256_file(target / name) for name in FILES}
    paths.write_json(target / "result.json", result | {"sha256": hashes})


def _write_common(target: Path, study: FinishedStudy) -> None:
    """The test photographs with their true colours, the rows that need no network, and the draw."""
    fresh = [key for key, run in study.runs.items() if run.folder.parent != target]
    for lines in {len(study.lines(*key)): study.lines(*key) for key in fresh}.values():
        _write_photographs(target, lines)
    _write_without_network(target / "without-network", study, fresh)
    if fresh:
        run = study.runs[fresh[0]]
        kept = artefacts.load_pictures(run)
        truth = _truth(run, kept["drawn_rows"], kept["drawn"].shape[1])
        paths.write_bytes(target / "drawn.npy", packing.npy(kept["drawn_rows"]))
        paths.write_bytes(target / "truth.jpg", packing.jpeg(truth))


def _write_without_network(target: Path, study: FinishedStudy, fresh) -> None:
    """The rows that need no network, each beside the run that holds it now, and no others. fresh: runs that were trained here."""
    held = {"@".join(map(str, key)): key for key in study.methods()}
    there = {file.name.removesuffix(".npy.xz"): file for file, *_ in files(target)}
    for name, key in held.items():
        if key[:2] in fresh or name not in there:
            _write_lines(target, key, study.lines(*key))
    for name in there.keys() - held.keys():  # their holder is another one by now
        there[name].unlink()


def _write_photographs(target: Path, lines: pd.DataFrame) -> None:
    """The names and the true colours of the photographs of some lines, in files that say how many they are."""
    names = lines[["row", "path", "category"]].to_csv(index=False)
    paths.write_bytes(target / f"photographs-{len(lines)}.csv.xz", lzma.compress(names.encode()))
    paths.write_bytes(target / f"true-{len(lines)}.npy.xz", packing.packed(lines, packing.TRUE))


def write_table(target: Path, tables: dict[tuple[str, int, str], pd.DataFrame]) -> None:
    """Lines by (experiment, seed, method), with the photographs that they have in common."""
    for key, lines in tables.items():
        _write_lines(target, key, lines)
    _write_photographs(target, lines)


def _write_lines(target: Path, key: tuple[str, int, str], lines: pd.DataFrame) -> None:
    name = "@".join(map(str, key))
    paths.write_bytes(target / f"{name}.npy.xz", packing.packed(lines, packing.STEPS))


def files(target: Path) -> list[tuple[Path, str, int, str]]:
    """(file, experiment, seed, method) of the lines that were written there, by name."""
    found = sorted(target.glob("*@*@*.npy.xz"))
    keys = [file.name.removesuffix(".npy.xz").split("@") for file in found]
    return [(file, name, int(seed), method) for file, (name, seed, method) in zip(found, keys, strict=True)]


def _truth(run: artefacts.Run, rows: np.ndarray, size: int) -> np.ndarray:
    """The photographs of a run (n,size,size,3) uint8. KoalaError where its data set is not the one that it was."""
    known = run.env["data"]
    photos = data.load(known["name"])
    if photos.fingerprint != known["fingerprint"]:
        raise KoalaError(
            f"'{known['name']}' has been prepared anew since these runs: prepare it as it was, or train them again."
        )
    return at_size(photos.images, rows, size)


def read_lines(target: Path, file: Path, method: str) -> pd.DataFrame:
    """A method's lines of per_image.csv, from its own file and from that of the photographs that it was judged on."""
    count = packing.photographs(file)
    names = lzma.decompress((target / f"photographs-{count}.csv.xz").read_bytes())
    true = packing.unpacked(target / f"true-{count}.npy.xz", packing.TRUE)
    own = packing.unpacked(file, packing.STEPS, true)
    return pd.concat([artefacts.read_lines(io.BytesIO(names)), true, own], axis=1).assign(method=method)
