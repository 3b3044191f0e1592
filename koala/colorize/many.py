"""Many files coloured one after the other, each reported as it is done; a bad one is named and the others go on."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from koala import lab, metrics
from koala.colorize import files, metadata
from koala.colorize.painter import Painter, colour
from koala.data import decode
from koala.system import terminal
from koala.system.errors import KoalaError

SHOWN = 8  # results whose small versions are kept, for a page
THUMBNAIL = 256  # pixels a side
JUDGED = 256  # pixels of the longer side at which a colour original is compared
COLOURED = 3.0  # mean chroma from which a file counts as a colour original


@dataclasses.dataclass
class Outcome:
    """What became of one file. problem: "" where it was coloured. numbers: of a colour original, CIEDE2000 of the result
    (ciede2000) and of the photograph left gray (gray), colourfulness of both. before, after: small versions, of the first
    few only."""

    source: Path
    target: Path
    seconds: float = 0.0
    sides: tuple[int, int] = (0, 0)
    problem: str = ""
    numbers: dict = dataclasses.field(default_factory=dict)
    before: np.ndarray | None = None
    after: np.ndarray | None = None

    def __str__(self):
        """One line for a terminal."""
        if self.problem:
            return f"not coloured: {self.problem}"
        line = f"{self.source.name} ({self.sides[0]}x{self.sides[1]}, {self.seconds:.1f} s) -> {self.target}"
        if self.numbers:
            line += ", CIEDE2000 {ciede2000:.1f} from its own colours (left gray {gray:.1f})".format(
                **self.numbers
            )
        return line


def say(line: str) -> None:
    """A line for the notebook or the shell, and for papermill's terminal."""
    print(line, flush=True)
    terminal.say(line)


def paint_file(
    painter: Painter,
    source: Path,
    target: Path,
    size: int = 0,
    strength: float = 1.0,
    overwrite: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Colour one file and write it with the metadata it had: (H,W,3) uint8 before and after.

    Raises KoalaError that names the file where it cannot be read or written, or stands already."""
    if not overwrite and target.exists():
        raise KoalaError(f"{target} exists already: overwrite=true replaces it.")
    rgb, kept = files.checked(source, lambda data: (decode.whole(data), metadata.read(data)))
    coloured = colour(painter, rgb, size, strength)
    metadata.write(target, coloured, kept)
    return rgb, coloured


def paint_all(
    painter: Painter,
    selection: files.Selection,
    targets: list[Path],
    size: int = 0,
    strength: float = 1.0,
    overwrite: bool = False,
    report: Callable[[str], None] = say,
) -> list[Outcome]:
    """Colour every file of `selection` to its target; report(line) is called for each, and for what was left out.

    Raises KoalaError where none could be coloured."""
    outcomes = []
    for source, target in zip(selection.photographs, targets, strict=True):
        outcome, started = Outcome(source, target), time.monotonic()
        try:
            before, after = paint_file(painter, source, target, size, strength, overwrite)
            outcome.sides, outcome.numbers = before.shape[1::-1], compare(before, after)
            if sum(other.after is not None for other in outcomes) < SHOWN:
                outcome.before, outcome.after = thumbnail(before), thumbnail(after)
        except KoalaError as error:
            outcome.problem = str(error)
        outcome.seconds = time.monotonic() - started
        outcomes.append(outcome)
        report(str(outcome))
    for text in selection.left_out():
        report(text)
    if all(outcome.problem for outcome in outcomes):
        raise KoalaError("no photograph could be coloured: " + "; ".join(o.problem for o in outcomes[:3]))
    return outcomes


def compare(before: np.ndarray, after: np.ndarray) -> dict:
    """Numbers of a colour original and its coloured version, both (H,W,3) uint8, at JUDGED pixels; {} for a gray one."""
    true, pred = (torch.from_numpy(_fitted(rgb)).permute(2, 0, 1)[None] for rgb in (before, after))
    if lab.rgb_to_lab(true)[:, 1:].norm(dim=1).mean() < COLOURED:
        return {}
    ab = lab.rgb_to_lab(pred)[:, 1:]
    values, gray = metrics.evaluate(true, ab), metrics.evaluate(true, torch.zeros_like(ab))
    numbers = {name: values[name].item() for name in ("ciede2000", "colourfulness", "colourfulness_true")}
    return numbers | {"gray": gray["ciede2000"].item()}


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> its centre square, (THUMBNAIL,THUMBNAIL,3) uint8: for the notebook's grid."""
    edge = min(rgb.shape[:2])
    top, left = ((length - edge) // 2 for length in rgb.shape[:2])
    square = Image.fromarray(rgb[top : top + edge, left : left + edge])
    return np.array(square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))


def _fitted(rgb: np.ndarray) -> np.ndarray:
    image = Image.fromarray(rgb)
    image.thumbnail((JUDGED, JUDGED), Image.Resampling.BOX)
    return np.array(image)
