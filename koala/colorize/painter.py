"""A trained network applied to a photograph of any size: a*b* predicted small, joined with the photograph's own lightness."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from koala import config as configs
from koala import extractors, lab, losses
from koala.colorize import files, packed, upsample
from koala.experiment import artefacts, provenance
from koala.extractors import controls
from koala.model import Koala
from koala.pyramid import Pyramid
from koala.system import paths
from koala.system.errors import KoalaError

SMALLEST = 64  # pixels of the shorter side: photographs smaller than those trained on are enlarged
LONGEST = 16  # times the shorter side that the network sees: a narrower photograph is squeezed, its length would fill memory


@dataclasses.dataclass
class Painter:
    """A trained network with what belongs to it.

    env: where and on what it was trained, as env.json has it. extractor: None where the network takes no
    features, or holds the extractor itself (koala.pyramid). size: the working size, pixels of the shorter side that the
    network sees."""

    name: str
    config: configs.RunConfig
    env: dict
    model: torch.nn.Module
    loss: losses.Loss
    extractor: extractors.Extractor | None
    device: torch.device
    size: int

    @property
    def weights(self) -> dict:
        """What its extractor was, and what was done to the extractor's output."""
        return self.env["weights"]


def load(run: str = "auto", device: torch.device | str = "cpu") -> Painter:
    """The painter of a finished run: its folder or id, or "auto" for the network that comes with koala.

    Its working size is what was measured to be best, where that was measured, else what the network was trained at.
    Raises KoalaError where there is no such run, or where the extractor's weights are not those it was trained with."""
    folder = packed.folder() if run == "auto" else artefacts.find(run)
    config = configs.from_dict(configs.RunConfig, paths.read_json(folder / "config.json", seal=False))
    env = paths.read_json(folder / "env.json")
    size = paths.read_json(folder / "result.json").get("working_size", config.image_size)
    state, loss = packed.read(folder / "model.safetensors"), losses.build(config.loss, n_bins=config.bins)
    extractor = _extractor(folder.name, config, env["weights"])
    if config.network == "pyramid":
        model, extractor = Pyramid(extractor, loss.bins), None
    else:
        model = Koala(state["embedding.weight"].shape[1] if "embedding.weight" in state else 0, loss.bins)
    model.load_state_dict(state)
    device = torch.device(device)
    extractor = extractor.to(device) if extractor else None
    return Painter(folder.name, config, env, model.to(device).eval(), loss, extractor, device, size)


def colour(painter: Painter, photograph, size: int = 0, strength: float = 1.0) -> np.ndarray:
    """A photograph of any size coloured, (H,W,3) uint8: an array (H,W,3) or (H,W) uint8, or a file.

    Its lightness stays; the colours of a photograph that has some are replaced. size: pixels of the shorter side that the
    network sees (0: what `working_size` says). strength: the predicted chroma is multiplied by it; 0 is gray."""
    rgb = files.read(photograph) if isinstance(photograph, str | Path) else _as_rgb(photograph)
    ab, L = predict(painter, rgb, size)
    return upsample.join(rgb, ab * strength, L)


def predict(painter: Painter, rgb: np.ndarray, size: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(H,W,3) uint8 -> predicted a*b* (1,2,h,w) and L* (1,1,h,w) of the same grid, on the CPU, in their units.

    a*b* is the mean of what the network says of the photograph and of its mirror image (48 scenes of 256 pixels,
    working sizes 64 to 160: CIEDE2000 0.03 to 0.14 lower than without, colourfulness 0.1 to 0.5 lower)."""
    small = shrink(torch.from_numpy(rgb).permute(2, 0, 1)[None], size or working_size(painter, rgb))
    (ab, L), (mirrored, _) = (_network(painter, one) for one in (small, small.flip(3)))
    return (ab + mirrored.flip(3)) / 2, L


def working_size(painter: Painter, rgb: np.ndarray) -> int:
    """Pixels of the shorter side at which the network sees a photograph (H,W,3): the painter's working size, or the photograph's
    own where that is smaller, but at least SMALLEST.

    Enlarged photographs were never trained on: 300 of tiny-imagenet at their 64 pixels have CIEDE2000 10.52, enlarged to 160
    10.92."""
    return min(painter.size, max(SMALLEST, min(rgb.shape[:2])))


@torch.no_grad()
def _network(painter: Painter, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    L_norm, gray = lab.network_inputs(small.to(painter.device))  # as in training
    output = painter.model.half(L_norm, _features(painter, gray))  # (1, C, h, w)
    ab = lab.denorm_ab(painter.loss.decode(output.float()))
    return ab.cpu(), F.avg_pool2d(lab.denorm_L(L_norm), 2).cpu()


def shrink(full: torch.Tensor, size: int) -> torch.Tensor:
    """(1,3,H,W) uint8 -> (1,3,h,w) uint8: the shorter side near `size`, both multiples of 8. Smaller ones are enlarged."""
    H, W = full.shape[2:]
    scale = min(size / min(H, W), LONGEST * size / max(H, W))
    h, w = (max(8, 8 * round(side * scale / 8)) for side in (H, W))
    planes = [  # one by one: as floats, all three together are large
        F.interpolate(full[:, i : i + 1].float(), (h, w), mode="bilinear", antialias=True) for i in range(3)
    ]
    return torch.cat(planes, 1).round().clamp(0, 255).to(torch.uint8)


def _as_rgb(array) -> np.ndarray:
    """(H,W,3) uint8, writable. KoalaError where it is no photograph."""
    array = np.asarray(array)
    if array.ndim == 2:
        array = np.stack([array] * 3, 2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise KoalaError(
            f"a photograph must be uint8 of shape (H,W,3) or (H,W), or a file's name, not {array.dtype} {array.shape}."
        )
    return np.require(array, requirements=["C", "W"])  # torch warns where it cannot write


def _features(painter: Painter, gray: torch.Tensor):
    """What the network takes beside L: the luma itself, the extractor's features, or nothing."""
    if painter.config.network == "pyramid":
        return gray
    if painter.extractor is None:
        return None
    outputs = painter.extractor(gray).cpu().numpy()
    features = np.asarray(controls.project(outputs, painter.weights), np.float32)
    return torch.from_numpy(features).to(painter.device)


def _extractor(name: str, config: configs.RunConfig, weights: dict):
    """The extractor that the run was trained with; None for none. KoalaError where only another one is available."""
    if config.backbone == "none":
        return None
    choice = config.weights if weights["trained"] else "untrained"
    extractor = extractors.build(config.backbone, choice, config.layer)
    provenance.check_extractor(name, weights, extractor.info)
    return extractor
