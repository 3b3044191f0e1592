"""Which files are coloured, and where the results go. Links out of a folder are not followed; no input is overwritten."""

import collections
import dataclasses
import os
from pathlib import Path

import numpy as np
from PIL import Image

from koala.data import decode, samples
from koala.data.sources import IMAGES
from koala.system import paths
from koala.system.errors import KoalaError

FORMATS = ("jpg", "png", "tif", "webp")
NO_COLOURS = (".gif",)  # 256 at most: written as PNG


@dataclasses.dataclass(frozen=True)
class Selection:
    """Photographs to colour. base: the folder that their names are relative to, None for single files; links: those that
    lead out of it and were not followed; others: number of files of other kinds."""

    photographs: list[Path]
    base: Path | None = None
    links: tuple[Path, ...] = ()
    others: int = 0

    def left_out(self) -> list[str]:
        """What was not taken, in sentences."""
        said = [f"{link}: a link out of the folder, not followed" for link in self.links]
        return said + [f"{self.others:,} files of other kinds left alone"] * bool(self.others)


def find(image: str, output: str = "") -> Selection:
    """The photograph, or those of a folder by name and suffix, without those in the folder `output` inside it: they are
    results. `examples` are photographs of the installed packages. `read` rejects files that are not images.

    Raises KoalaError where there is none."""
    if image == "examples":
        return Selection(samples.photographs())
    if not str(image).strip():
        raise KoalaError("image is empty: name a photograph, a folder of photographs, or examples.")
    place = paths.resolve(image)
    if place.is_file():
        return Selection([place])
    results = output_folder(output).resolve()
    entries = sorted(p for p in place.rglob("*") if place not in results.parents or results not in p.parents)
    photographs = [p for p in entries if p.suffix.lower() in IMAGES]
    links = tuple(p for p in photographs if p.is_symlink() and place not in Path(os.path.realpath(p)).parents)
    others = sum(p.is_file() for p in entries) - sum(p.is_file() for p in photographs)
    if len(photographs) == len(links):
        raise KoalaError(f"there is no photograph in '{image}' (looked for {', '.join(IMAGES)}).")
    return Selection([p for p in photographs if p not in links], place, links, others)


def output_folder(output: str) -> Path:
    """Where results go: koala's own folder where none is named."""
    return Path(output).expanduser() if output else paths.data_dir() / "colorized"


def is_own(output: str) -> bool:
    """Whether results go to koala's own folder, where those of an earlier call are replaced."""
    return output_folder(output).resolve() == output_folder("").resolve()


def targets(selection: Selection, output: str = "", kind: str = "") -> list[Path]:
    """Where each coloured photograph goes: a file name with a photograph's suffix for one photograph, else a folder, which
    is created. Names follow the photographs' own; kind (one of FORMATS) replaces their suffixes.

    Raises KoalaError where a result would be one of the photographs, or the folder cannot be made."""
    place = output_folder(output)
    if place.suffix.lower() in IMAGES and len(selection.photographs) == 1 and not place.is_dir():
        chosen, folder = [place], place.parent
        if not _writable(place.suffix):
            raise KoalaError(
                f"Pillow cannot write {place.suffix} here: name the output '{place.with_suffix('.png')}'."
            )
    else:
        chosen, folder = [place / name for name in _names(selection, kind)], place
    inputs = {os.path.realpath(photograph) for photograph in selection.photographs}
    for target in chosen:
        if os.path.realpath(target) in inputs:
            raise KoalaError(f"output '{target}' is one of the photographs itself: choose another folder.")
    _make(folder)
    return chosen


def read(path: str | Path) -> np.ndarray:
    """(H,W,3) uint8 of an image file, upright. KoalaError that names the file where it cannot be read."""
    return checked(path, decode.whole)


def checked(path: str | Path, decoder):
    """decoder(the file's bytes). KoalaError that names the file and the reason where that is impossible."""
    path = Path(path)
    try:
        if path.is_symlink() and not path.exists():
            raise KoalaError("a link to nothing")
        if path.exists() and not path.is_file():  # a pipe would wait for ever
            raise KoalaError("a folder" if path.is_dir() else "not a regular file")
        return decoder(path.read_bytes())
    except OSError as error:
        raise KoalaError(f"{path}: unreadable ({error.strerror or error})") from None
    except KoalaError as error:
        raise KoalaError(f"{path}: {error}") from None


def _names(selection: Selection, kind: str) -> list[Path]:
    """Names in the output folder. Where two would be the same, as a.gif and a.png are as PNG, they keep their suffixes."""
    own = [p.relative_to(selection.base) if selection.base else Path(p.name) for p in selection.photographs]
    names = [name.with_suffix(_suffix(name.suffix, kind)) for name in own]
    often = collections.Counter(str(name).casefold() for name in names)
    clear = [
        name if often[str(name).casefold()] == 1 or name == first else Path(f"{first}{name.suffix}")
        for first, name in zip(own, names, strict=True)
    ]
    if len({str(name).casefold() for name in clear}) < len(clear):
        raise KoalaError("two of the photographs would be written to one name: colour them in two folders.")
    return clear


def _suffix(suffix: str, kind: str) -> str:
    if kind:
        return f".{kind}"
    return suffix if _writable(suffix) and suffix.lower() not in NO_COLOURS else ".png"


def _writable(suffix: str) -> bool:
    return Image.registered_extensions().get(suffix.lower()) in Image.SAVE


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or error
        raise KoalaError(
            f"the output folder '{folder}' cannot be made ({reason}): choose another one."
        ) from None
