"""Artefacts of a run: runs/RUN_ID/ with its configuration, environment and results. result.json is written last.

A finished run that is trained again is written to runs/RUN_ID/again/, which replaces the old outcome once it is finished."""

import contextlib
import dataclasses
import io
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch

from koala import config as configs
from koala.experiment import provenance
from koala.system import paths
from koala.system.errors import KoalaError
from koala.training import checkpoint

ARTEFACTS = ("config.json", "env.json", "history.csv", "per_image.csv", "pictures.npz", "model.safetensors")
AGAIN = "again"  # folder in a finished run's, where it is trained again


@dataclasses.dataclass
class Run:
    """A finished run, read back."""

    folder: Path
    config: dict
    env: dict
    result: dict
    history: pd.DataFrame
    per_image: pd.DataFrame

    @property
    def untrained(self) -> bool:
        """Whether the extractor's weights were never trained (a run without extractor is not untrained)."""
        return self.remark == "untrained"

    @property
    def remark(self) -> str:
        return provenance.remark(self.config["backbone"], self.env["weights"])

    @property
    def resolved(self) -> configs.RunConfig:
        """Its configuration with what `auto` took: the precision, and untrained weights where there were no others (by now
        there might be)."""
        weights = "untrained" if self.untrained else self.config["weights"]
        precision = self.env["machine"]["precision"]
        return configs.from_dict(
            configs.RunConfig, self.config | {"weights": weights, "precision": precision}
        )

    def check_extractor(self, info: dict) -> None:
        """KoalaError where an extractor (koala.extractors.build's info) has other weights than the run's."""
        provenance.check_extractor(self.folder.name, self.env["weights"], info)

    def check_photographs(self, photos) -> None:
        """KoalaError where a data set is not the one that the run was trained with."""
        if photos.fingerprint != self.env["data"]["fingerprint"]:
            raise KoalaError(
                f"{self.folder.name}: its photographs are not those it was trained with; train it again."
            )

    @property
    def network(self) -> str:
        """The sha256 of its network's weights; empty of an exported run from which it is not known."""
        return self.result["sha256"].get("model.safetensors") or self.result.get("network", "")

    @property
    def own_features(self) -> bool:
        """Whether its network got what its extractor says of the photograph itself, in all dimensions (or has no extractor)."""
        return self.config["feature_source"] == "image" and not self.config["feature_dims"]

    @property
    def extractor(self) -> tuple:
        """What tells its extractor from others: which network, with which weights, and which layer's output."""
        return self.config["backbone"], self.env["weights"].get("sha256"), self.config["layer"]

    @property
    def parameters(self) -> int:
        """Trained parameters of the network: those in model.safetensors, or what result.json says of an exported run."""
        path = Path(self.folder) / "model.safetensors"
        if not path.exists():
            return self.result["parameters"]
        with safetensors.safe_open(path, "np") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())


def workplace(folder, resume: bool) -> Path:
    """Where a run is trained: its folder, or `again` inside it where a finished outcome is to be replaced."""
    folder = Path(folder)
    _settle(folder)
    return folder if resume or not (folder / "result.json").exists() else folder / AGAIN


@contextlib.contextmanager
def locked(folder):
    """Context: two processes never train the same run; the second waits, and then reads the first one's back."""
    folder = Path(folder)
    text = f"run {folder.name} is being trained by another process: waiting for it."
    with paths.locked(folder / ".lock", lambda: print(text, flush=True)):
        for left in folder.glob(".*.tmp"):  # of a process that was killed while writing
            left.unlink()
        yield


def start(config, env: dict, work: Path) -> None:
    """Write config.json and env.json to the run's workplace; without config.resume, after removing an unfinished state."""
    if not config.resume:
        checkpoint.remove(work)
    paths.write_json(work / "config.json", dataclasses.asdict(config), seal=False)
    paths.write_json(work / "env.json", env)


def find(run: str) -> Path:
    """Folder of a finished run by its path or its id in runs/. KoalaError where there is none."""
    folders = [paths.runs_dir() / run]
    with contextlib.suppress(KoalaError):
        folders.append(paths.resolve(run))
    if found := next(filter(is_finished, folders), None):
        return found
    known = ", ".join(sorted(path.parent.name for path in paths.runs_dir().glob("*/result.json")))
    raise KoalaError(f"there is no finished run '{run}' (finished are: {known or 'none'}).")


def is_finished(folder) -> bool:
    """Whether result.json is there and every artefact has the hash that it states; damage is reported."""
    _settle(Path(folder))
    if not (Path(folder) / "result.json").exists():
        return False
    names = damaged(folder)
    if names:
        print(
            f"{folder}: {', '.join(names)} missing or changed since the run ended: it does not count as finished."
        )
    return not names


def damaged(folder) -> list[str]:
    """Names of the files of a finished run that are missing or not what was written."""
    try:
        hashes = paths.read_json(Path(folder) / "result.json")["sha256"]
    except (OSError, paths.Damaged):
        return ["result.json"]
    return [name for name, digest in hashes.items() if not _holds(Path(folder) / name, digest)]


def finish(
    folder, model, history: list[dict], per_image: pd.DataFrame, pictures: dict, summary: dict
) -> None:
    """Write the outcome to a run's workplace, put it in place, and drop the checkpoints.

    pictures: row numbers and the coloured photographs (n,S,S,3) uint8 of named selections."""
    folder = Path(folder)
    paths.write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
    paths.write_text(folder / "per_image.csv", per_image.to_csv(index=False, float_format="%.6g"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **pictures)
    paths.write_bytes(folder / "pictures.npz", buffer.getvalue())
    paths.write_bytes(
        folder / "model.safetensors",
        safetensors.torch.save({k: v.contiguous().cpu() for k, v in model.state_dict().items()}),
    )
    seal(folder, ARTEFACTS, summary)


def seal(work: Path, names, summary: dict) -> None:
    """Write result.json, with the hashes of the named files, over a complete outcome: with it the run is finished."""
    folder = work.parent if work.name == AGAIN else work
    hashes = {name: paths.sha256_file(work / name) for name in names}
    result = {**summary, "run_id": folder.name, "status": "finished", "sha256": hashes}
    paths.write_json(work / "result.json", result)
    _settle(folder)
    checkpoint.remove(folder)


def _settle(folder: Path) -> None:
    """Move an outcome that is complete in `again` to its place, result.json last: after a kill, the next call finishes it."""
    again = folder / AGAIN
    if not (again / "result.json").exists():
        return
    checkpoint.remove(again)
    with contextlib.suppress(FileNotFoundError):  # another process moves it, too
        for path in sorted(again.iterdir(), key=lambda path: path.name == "result.json"):
            os.replace(path, folder / path.name)
        again.rmdir()


def load(folder) -> Run:
    """Read a finished run. Raises KoalaError where it is unfinished or damaged."""
    folder = Path(folder)
    if not is_finished(folder):
        raise KoalaError(
            f"{folder} holds no finished run: run the notebook train.ipynb with its parameters again."
        )
    config = read_config(folder)
    env, result = (paths.read_json(folder / f"{name}.json") for name in ("env", "result"))
    history, per_image = pd.read_csv(folder / "history.csv"), read_lines(folder / "per_image.csv")
    return Run(folder, config, env, result, history, per_image)


def read_lines(source) -> pd.DataFrame:
    """A table with the columns path and category. A category may be called 1 or NA: names are read as they stand."""
    names = {"path": str, "category": str}
    table = pd.read_csv(source, dtype=names, keep_default_na=False, na_values=[""])
    return table.fillna(dict.fromkeys(names, ""))


def read_config(folder: Path) -> dict:
    """A run's config.json; parameters that koala did not have then are at their defaults, as its network was trained."""
    return dataclasses.asdict(configs.RunConfig()) | paths.read_json(folder / "config.json", seal=False)


def load_pictures(run: Run) -> dict[str, np.ndarray]:
    with np.load(run.folder / "pictures.npz") as file:
        return dict(file)


def means(per_image: pd.DataFrame) -> pd.DataFrame:
    """Mean of each metric over the photographs, one line per method; chroma_ratio is the ratio of the mean chromas, since
    nearly gray photographs would raise a mean of ratios."""
    table = per_image.drop(columns=["row", "path", "category"]).groupby("method").mean()
    return table.assign(chroma_ratio=table.chroma / table.chroma_true) if "chroma" in table else table


def _holds(path: Path, digest: str) -> bool:
    return path.exists() and paths.sha256_file(path) == digest
