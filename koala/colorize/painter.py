"""A trained run applied to pictures of any size: gray in, colour out."""

import contextlib
import dataclasses
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from koala import config as configs
from koala import extractors, lab, losses
from koala.colorize import bundled
from koala.data import decode, samples
from koala.data.sources import IMAGES
from koala.experiment import artefacts
from koala.extractors import controls
from koala.model import Koala
from koala.system import paths
from koala.system.errors import KoalaError

LONGEST = 16  # times the shorter side that the network sees: a narrower picture is squeezed, or its length would fill memory
STRIP = 2**20  # pixels whose Lab is held at a time: it takes about 100 bytes each


@dataclasses.dataclass
class Painter:
    """A trained network with its extractor, its loss's decoder and what was done to the extractor's output."""

    name: str
    config: configs.RunConfig
    weights: dict
    model: Koala
    loss: losses.Loss
    extractor: object
    device: torch.device


def load(run: str, device: torch.device) -> Painter:
    """The painter of a finished run: its folder or id, or "auto" for the network that comes with koala.

    Raises KoalaError where there is none, or where the extractor's weights are not those that it was trained with."""
    folder = bundled.folder() if run == "auto" else find_run(run)
    config = configs.from_dict(configs.RunConfig, paths.read_json(folder / "config.json", seal=False))
    weights = paths.read_json(folder / "env.json")["weights"]
    state = bundled.read(folder / "model.safetensors")
    loss = losses.build(config.loss, n_bins=config.bins)
    width = state["embedding.weight"].shape[1] if "embedding.weight" in state else 0
    model = Koala(width, loss.bins)
    model.load_state_dict(state)
    return Painter(
        folder.name,
        config,
        weights,
        model.to(device).eval(),
        loss,
        _extractor(config, weights, device),
        device,
    )


def find_run(run: str) -> Path:
    """Folder of a run by its path or its id in runs/."""
    folders = [paths.runs_dir() / run]
    with contextlib.suppress(KoalaError):
        folders.append(paths.resolve(run))
    for folder in folders:
        if artefacts.is_finished(folder):
            return folder
    known = sorted(path.parent.name for path in paths.runs_dir().glob("*/result.json"))
    raise KoalaError(
        f"there is no finished run '{run}' (finished are: {', '.join(known) or 'none'}); or use run=auto."
    )


def find_pictures(image: str, output: str = "") -> list[Path]:
    """The picture, or those of a folder by name, without those in the folder `output` inside it: they are results.

    `examples` are photographs of the installed packages. What only looks like a picture is found, too, and refused by
    `read`. Raises KoalaError where there is none."""
    if image == "examples":
        return samples.photographs()
    place = paths.resolve(image)
    if place.is_file():
        return [place]
    results_in = _output_folder(output).resolve()
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGES)
    if place in results_in.parents:
        found = [p for p in found if results_in not in p.parents]
    if not found:
        raise KoalaError(f"there is no picture in '{image}' (looked for {', '.join(IMAGES)}).")
    return found


def _output_folder(output: str) -> Path:
    return Path(output).expanduser() if output else paths.data_dir() / "colorized"


def targets(pictures: list[Path], image: str, output: str) -> list[Path]:
    """Where each coloured picture goes: a file name with a picture's suffix for one picture, else a folder.

    Names in the folder follow the pictures' own, with .png. The folder is made. Raises KoalaError where it cannot be,
    or where a target is one of the pictures."""
    place = _output_folder(output)
    if place.suffix.lower() in IMAGES and len(pictures) == 1 and not place.is_dir():
        found, folder = [place], place.parent
        if Image.registered_extensions().get(place.suffix.lower()) not in Image.SAVE:
            raise KoalaError(
                f"Pillow cannot write {place.suffix} here: name the output '{place.with_suffix('.png')}'."
            )
    else:
        base = paths.resolve(image) if image != "examples" else None
        names = [p.relative_to(base) if base and base.is_dir() else Path(p.name) for p in pictures]
        found, folder = [place / name.with_suffix(".png") for name in names], place
    inputs = {os.path.realpath(picture) for picture in pictures}
    for target in found:
        if os.path.realpath(target) in inputs:
            raise KoalaError(f"output '{target}' is one of the pictures itself: choose another folder.")
    if len(set(found)) < len(found):
        raise KoalaError("two pictures differ only in their suffix: colour them in two folders.")
    _make(folder)
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or error
        raise KoalaError(
            f"the output folder '{folder}' cannot be made ({reason}): choose another one."
        ) from None


@torch.no_grad()
def colour(painter: Painter, rgb: np.ndarray, size: int = 0) -> np.ndarray:
    """(H,W,3) uint8 of any size -> the same picture coloured, (H,W,3) uint8.

    The network sees it with its shorter side at `size` pixels (0: as it was trained); the a*b* that it predicts is
    enlarged to the full picture, whose own lightness stays. A colour picture keeps its lightness, loses its colour."""
    small = _shrink(torch.from_numpy(rgb).permute(2, 0, 1)[None], size or painter.config.image_size)
    L_norm, gray = lab.network_inputs(small.to(painter.device))  # what training saw, the extractor included
    output = painter.model.half(L_norm, _features(painter, gray))  # (1, C, h/2, w/2)
    ab = lab.denorm_ab(painter.loss.decode(output.float())).cpu()
    return _with_ab(rgb, F.interpolate(ab, rgb.shape[:2], mode="bilinear")[0])


def _shrink(full: torch.Tensor, size: int) -> torch.Tensor:
    """(1,3,H,W) uint8 -> (1,3,h,w) uint8, the shorter side near `size`, both multiples of 8; enlarged if it is smaller."""
    H, W = full.shape[2:]
    scale = min(size / min(H, W), LONGEST * size / max(H, W))
    h, w = (max(8, 8 * round(side * scale / 8)) for side in (H, W))
    planes = [
        F.interpolate(full[:, i : i + 1].float(), (h, w), mode="bilinear", antialias=True) for i in range(3)
    ]
    return (
        torch.cat(planes, 1).round().clamp(0, 255).to(torch.uint8)
    )  # one by one: as floats, all three are large


def _with_ab(rgb: np.ndarray, ab: torch.Tensor) -> np.ndarray:
    """The lightness of (H,W,3) uint8 with other a*b* (2,H,W) -> (H,W,3) uint8, STRIP pixels at a time."""
    pixels, ab = torch.from_numpy(rgb).reshape(-1, 3), ab.reshape(2, -1)
    out = torch.empty_like(pixels)
    for start in range(0, len(pixels), STRIP):
        here = slice(start, start + STRIP)
        L = lab.rgb_to_lab(pixels[here].T[None, :, None])[:, :1]  # (1, 1, 1, n)
        out[here] = lab.lab_to_rgb(torch.cat([L, ab[None, :, None, here]], 1))[0, :, 0].T
    return out.view(rgb.shape).numpy()


def paint_file(painter: Painter, source: Path, target: Path, size: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Colour one file and write it; returns the picture and the coloured picture. KoalaError names a bad file."""
    rgb = read(source)
    coloured = colour(painter, rgb, size)
    with paths.atomic_path(target) as temporary:
        Image.fromarray(coloured).save(
            temporary, format=Image.registered_extensions()[target.suffix.lower()], **_options(target)
        )
    return rgb, coloured


def read(path: Path) -> np.ndarray:
    """(H,W,3) uint8 of a picture file, upright. KoalaError that names the file where it cannot be read."""
    try:
        if path.is_symlink() and not path.exists():
            raise KoalaError("a link to nothing")
        if path.exists() and not path.is_file():  # a pipe would wait for ever
            raise KoalaError("a folder" if path.is_dir() else "not a regular file")
        return decode.whole(path.read_bytes())
    except OSError as error:
        raise KoalaError(f"{path}: unreadable ({error.strerror or error})") from None
    except KoalaError as error:
        raise KoalaError(f"{path}: {error}") from None


def thumbnail(rgb: np.ndarray, side: int = 256) -> np.ndarray:
    """(H,W,3) uint8 -> centre square, (side,side,3) uint8: for the notebook's grid."""
    edge = min(rgb.shape[:2])
    top, left = ((length - edge) // 2 for length in rgb.shape[:2])
    return np.asarray(
        Image.fromarray(rgb[top : top + edge, left : left + edge]).resize(
            (side, side), Image.Resampling.LANCZOS
        )
    )


def _features(painter, gray):
    if painter.extractor is None:
        return None
    outputs = painter.extractor(gray).cpu().numpy()
    return torch.from_numpy(np.asarray(controls.project(outputs, painter.weights), np.float32)).to(
        painter.device
    )


def _extractor(config, weights, device):
    if config.backbone == "none":
        return None
    extractor = extractors.build(
        config.backbone, "untrained" if not weights["trained"] else config.weights, config.layer
    )
    if extractor.info["sha256"] != weights["sha256"]:
        raise KoalaError(
            f"this run was trained with {weights['weights']} of {config.backbone} (sha256 {weights['sha256'][:12]}), but what "
            f"can be had here is {extractor.info['weights']}: get those weights, or colour with another run."
        )
    return extractor.to(device)


def _options(target: Path) -> dict:
    return {"quality": 95} if target.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif", ".webp") else {}
