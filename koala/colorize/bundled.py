"""python -m koala.colorize.bundled RUN_ID --data NAME[:SIZE] ...: pack a run as the network that comes with koala, judge it on
held-out photographs, and write its card, MODEL.md, with a sheet of photographs drawn by seed. RUN_ID auto: judge the network
that comes with koala as it is."""

import argparse
import dataclasses
import sys
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from koala import losses, metrics
from koala.colorize import judged, packed
from koala.colorize.painter import load
from koala.experiment import artefacts, starting
from koala.system import paths
from koala.system.errors import KoalaError

SIZES = (64, 96, 128, 160, 192)  # working sizes that are tried
DRAWN, ACROSS, TILE = 24, 3, 128  # photographs of the sheet, next to each other, and pixels of each
TEMPERATURES = (0.38, 0.7, 1.0)  # that classes are decoded at: Zhang et al.'s, and towards the mean
KEPT = ("ciede2000", "ab_rmse", "psnr", "colourfulness", "colourfulness_true", "chroma_ratio")


def make(run: str, names: list[str], beside: list[str], most: int, fit: int, seed: int) -> Path:
    """Pack, choose the working size, judge, draw, write; returns the card's path. Arguments as on the command line."""
    unpacked = load(run)
    for name in beside:  # a wrong name stops here, before anything is replaced
        load(name)
    sets = {name: judged.held_out(unpacked, name, most, fit) for name in names}
    if run != "auto":
        packed.pack(artefacts.find(run), packed.FOLDER)
    painter = load()
    sizes = _choose_size(painter, sets, most)
    if sizes is not None:
        painter.size = int(sizes["size"][0])
        packed.keep_size(packed.FOLDER, painter.size)
        print(f"working size {painter.size}")
    tables = {}
    for name, held in sets.items():
        tables[name] = judged.beside_baselines(painter, held)
        print(f"{name}: {tables[name].groupby('method')['ciede2000'].mean().round(2).to_dict()}")
    others = [line for other in beside for line in _beside(other, sets)]
    place = paths.reports_dir() / "colorizer"
    sheet(painter, sets, place / "photographs.jpg", seed)
    _keep(tables, place / "per_photograph.csv.gz")
    result = paths.read_json(packed.FOLDER / "result.json")
    command = ["python -m koala.colorize.bundled", result["run_id"], "--data", *names]
    command += ["--beside", *beside] * bool(beside)
    command += [f"--most {most} --fit {fit} --seed {seed}"]
    return _write_card(result, painter, sets, tables, sizes, others, seed, " ".join(command))


def sheet(painter, sets: dict[str, judged.HeldOut], path: Path, seed: int) -> None:
    """DRAWN held-out photographs as one JPEG, in equal parts from each judged set: gray, result, truth side by side."""
    sets = [held for held in sets.values() if held.judged]
    rng, tiles = np.random.default_rng(seed), []
    for number, held in enumerate(sets):
        count = DRAWN * (number + 1) // len(sets) - DRAWN * number // len(sets)
        for row in rng.choice(held.rows["test"], count, replace=False):
            truth = np.array(held.photos.images[row])
            coloured = judged.colour_rows(painter, held.photos, [row])[0]
            tiles.append(np.concatenate([_tile(part) for part in (_gray(truth), coloured, truth)], 1))
    if not tiles:
        return
    rows = [np.concatenate(tiles[at : at + ACROSS], 1) for at in range(0, len(tiles), ACROSS)]
    with paths.atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, "JPEG", quality=85, subsampling=0)


def _tile(rgb: np.ndarray) -> np.ndarray:
    framed = np.full((TILE + 4, TILE + 4, 3), 255, np.uint8)
    framed[2:-2, 2:-2] = Image.fromarray(rgb).resize((TILE, TILE), Image.Resampling.BICUBIC)
    return framed


def _gray(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L").convert("RGB"))


def _choose_size(painter, sets, most) -> pd.DataFrame | None:
    """Working sizes on the largest photographs of the judged sets; None where all are as small as in training."""
    large = [held for held in sets.values() if held.judged and held.photos.images.shape[1] > SIZES[0]]
    if not large:
        return None
    return judged.best_size(painter, max(large, key=lambda held: held.photos.images.shape[1]), SIZES, most)


def _beside(run: str, sets) -> list[dict]:
    """Another run on the same test photographs, for the card: a line for each temperature that its loss may be decoded at."""
    painter, lines = load(run), []
    config = painter.config
    trained_on = paths.read_json(artefacts.find(run) / "result.json")["photographs"]["train"]
    for temperature in TEMPERATURES if painter.loss.encode else (None,):
        line = {"run": painter.name, "config": config, "photographs": trained_on, "temperature": temperature}
        if temperature:
            painter.loss = losses.build(config.loss, n_bins=config.bins, temperature=temperature)
        tables = {
            name: judged.measure(painter, held.photos, held.rows["test"])
            for name, held in sets.items()
            if held.judged
        }
        kept = ["ciede2000", "colourfulness"]
        lines.append(line | {"sets": {name: table[kept].mean().to_dict() for name, table in tables.items()}})
    return lines


def _keep(tables: dict[str, pd.DataFrame], path: Path) -> None:
    lines = pd.concat([t[["row", "method", *KEPT]].assign(data=name) for name, t in tables.items()])
    with paths.atomic_path(path) as temporary:
        lines.to_csv(temporary, index=False, float_format="%.5g", compression={"method": "gzip", "mtime": 1})


def _write_card(result, painter, sets, tables, sizes, others, seed, command) -> Path:
    template = (Path(__file__).parent / "card.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string(template).render(
        run=result,
        stages=_stages(painter, result),
        env=painter.env,
        painter=painter,
        parameters=sum(p.numel() for p in painter.model.parameters()),
        megabytes=sum(file.stat().st_size for file in packed.FOLDER.iterdir()) / 1e6,
        sets=[_summary(name, sets[name], table) for name, table in tables.items()],
        sizes=None if sizes is None else sizes.sort_values("size").to_dict("records"),
        others=others,
        seed=seed,
        drawn=DRAWN,
        command=command,
    )
    path = paths.ROOT / "MODEL.md"
    paths.write_text(path, text)
    return path


def _stages(painter, result: dict) -> list[dict]:
    """What the network was trained on, first to last, as koala.experiment.starting.learned has it."""
    stages = [starting.learned(result, dataclasses.asdict(painter.config), painter.env)]
    while "start" in stages[-1]:
        stages.append(stages[-1]["start"])
    return stages[::-1]


def _summary(name: str, held: judged.HeldOut, table: pd.DataFrame) -> dict:
    """What the card says of one data set."""
    lines = []
    for method in (m for m in judged.METHODS if (table["method"] == m).any()):
        mean = table[table["method"] == method][list(KEPT)].mean()
        apart = judged.difference(table, method) if held.judged and method != "model" else None
        lines.append({"method": judged.METHODS[method], "apart": apart, **mean})
    own = table[table["method"] == "model"]
    hues = [
        {
            "hue": hue,
            "share": own[f"{hue}_share"].mean(),
            "recall": (own[f"{hue}_recall"] * own[f"{hue}_share"]).sum()
            / max(own[f"{hue}_share"].sum(), 1e-9),
        }
        for hue in metrics.HUES
    ]
    return {
        "name": name.partition(":")[0],
        "pixels": held.photos.images.shape[1],
        "count": len(own),
        "judged": held.judged,
        "sources": held.photos.files.loc[held.rows["test"], "group"].nunique(),
        "dropped": held.dropped,
        "fitted": len(held.rows["train"]),
        "lines": lines,
        "truth": own["colourfulness_true"].mean(),
        "hues": hues,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m koala.colorize.bundled", description=__doc__)
    parser.add_argument("run", help="id or folder of a finished run, or auto")
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME[:SIZE]", help="prepared data sets")
    parser.add_argument("--beside", nargs="*", default=[], metavar="RUN", help="other runs for the card")
    parser.add_argument("--most", type=int, default=1000, help="test photographs of each data set")
    parser.add_argument(
        "--fit", type=int, default=25_000, help="photographs that the baselines are made from"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the photographs that are drawn")
    asked = parser.parse_args(arguments)
    try:
        print(make(asked.run, asked.data, asked.beside, asked.most, asked.fit, asked.seed))
    except KoalaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
