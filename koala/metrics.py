"""How good is a colorization? One value per photograph; averages, intervals and tables come later.

What is judged is what a viewer sees: lightness of the truth with the predicted a*b*, clipped to sRGB and rounded to uint8
(`Truth.compare`), so that every number covers the clipping. Means over photographs should skip NaN, which stands where a value
has no meaning (the chroma ratio of a gray photograph, the error of a hue that it does not have).
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from koala import lab
from koala.difference import chroma, ciede2000, hue
from koala.ssim import Moments, moments, ssim
from koala.system.errors import KoalaError

BASELINES = {"gray": "gray (no colour)", "mean": "mean colour", "lightness": "colour by lightness"}
# Hue sectors: lower end of the CIELAB hue angle in degrees, upper end = the next one's lower end. sRGB's own red lies
# at 40, yellow at 103, green at 136, cyan at 196, blue at 306, magenta at 328; skin and wood near 55, sky near 265.
HUES = {"red": 0, "orange": 45, "yellow": 75, "green": 110, "cyan": 180, "blue": 230, "purple": 310}
MIN_CHROMA = 10  # below it a hue angle is noise
AUC_THRESHOLDS = 151  # t = 0, 1, ..., 150 (Zhang, Isola & Efros 2016)


def eager(function: Callable) -> Callable:
    """The function as it is: what `Truth` makes quicker unless told how."""
    return function


class Truth:
    """Photographs, and what judging a prediction needs of them alone: computed when first asked for, once for all the
    predictions that are compared with them."""

    def __init__(self, rgb: torch.Tensor, quick: Callable[[Callable], Callable] = eager):
        """rgb (N,3,H,W) uint8; quick: called with each function that takes long, returns what to call in its place (see
        koala.experiment.evaluate.quickest). KoalaError on another type or shape."""
        if not isinstance(rgb, torch.Tensor) or rgb.dtype != torch.uint8:
            kind = getattr(rgb, "dtype", type(rgb).__name__)
            raise KoalaError(f"rgb_true must be a uint8 tensor, got {kind}.")
        self.rgb, self.quick = rgb.contiguous(), quick  # one layout for the truth and what is predicted
        self.lab = quick(lab.rgb_to_lab)(self.rgb)  # (N, 3, H, W)

    def compare(self, ab_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """a*b* (N,2,H,W) -> rgb_pred (N,3,H,W) uint8 and lab_pred (N,3,H,W), the photographs as a viewer sees them, with the
        truth's lightness, and their CIEDE2000 (N,H,W) to the truth. KoalaError where the shape does not fit."""
        if ab_pred.shape != self.lab[:, 1:].shape:
            raise KoalaError(
                f"ab_pred must have the shape {tuple(self.lab[:, 1:].shape)}, got {tuple(ab_pred.shape)}."
            )
        rgb_pred = self.quick(lab.lab_to_rgb)(torch.cat([self.lab[:, :1], ab_pred.float()], 1))
        lab_pred = self.quick(lab.rgb_to_lab)(rgb_pred)
        return rgb_pred, lab_pred, self.quick(ciede2000)(self.lab, lab_pred)

    @functools.cached_property
    def chroma(self):  # (N,)
        return _mean_chroma(self.lab)

    @functools.cached_property
    def colourfulness(self):  # (N,)
        return colourfulness(self.rgb)

    @functools.cached_property
    def sector(self):  # (N, H, W)
        return self.quick(_sector)(self.lab)

    @functools.cached_property
    def moments(self) -> Moments | None:
        return self.quick(moments)(self.rgb)


def evaluate(rgb_true: torch.Tensor, ab_pred: torch.Tensor) -> dict[str, torch.Tensor]:
    """rgb_true (N,3,H,W) uint8, ab_pred (N,2,H,W) in units of a*b* -> one value per photograph, float32 (N,), for each of

    ciede2000 mean over pixels · psnr, ssim on RGB · ab_rmse over pixels and both channels · auc in [0, 1] ·
    colourfulness (of the prediction), colourfulness_true · chroma, chroma_true mean chroma of the prediction and of
    the truth · chroma_ratio the first over the second, NaN for a truth below 1 · a_shift, b_shift mean a*, b* of the
    prediction minus the truth's (b < 0: too blue, a < 0: too green)."""
    truth = Truth(rgb_true)
    return _of_photographs(truth, *truth.compare(ab_pred))


def measure(truth: Truth, ab_pred: torch.Tensor) -> dict[str, torch.Tensor]:
    """What `evaluate` returns, and the same by the true colour's hue. For each name in HUES, over its pixels (true chroma
    above MIN_CHROMA):

    NAME_share of the photograph's pixels · NAME_painted share of the photograph's pixels that are predicted in this hue,
    with chroma above MIN_CHROMA · NAME_ciede2000 the mean over its pixels · NAME_recall the share of them that got the
    same hue, with chroma above MIN_CHROMA. The last two are NaN where a photograph has no such pixel."""
    rgb_pred, lab_pred, error = truth.compare(ab_pred)
    return _of_photographs(truth, rgb_pred, lab_pred, error) | _of_hues(truth, lab_pred, error)


def _of_photographs(truth, rgb_pred, lab_pred, error) -> dict[str, torch.Tensor]:
    values = truth.quick(_compared)(truth.rgb, truth.lab, truth.moments, rgb_pred, lab_pred)
    ratio = values["chroma"] / truth.chroma.clamp_min(1e-3)
    return {
        "ciede2000": error.mean((1, 2)),
        **values,
        "colourfulness_true": truth.colourfulness,
        "chroma_true": truth.chroma,
        "chroma_ratio": torch.where(truth.chroma < 1, math.nan, ratio),
    }


def _compared(rgb_true, lab_true, moments_true, rgb_pred, lab_pred) -> dict[str, torch.Tensor]:
    """What `evaluate` returns of a prediction, apart from CIEDE2000: in one function, since it is compiled sooner as one."""
    difference = lab_pred[:, 1:] - lab_true[:, 1:]  # (N, 2, H, W)
    a_shift, b_shift = difference.mean((2, 3)).unbind(1)
    return {
        "psnr": psnr(rgb_true, rgb_pred),
        "ssim": ssim(rgb_true, rgb_pred, moments_true),
        "ab_rmse": difference.square().mean((1, 2, 3)).sqrt(),
        "auc": auc(lab_true[:, 1:], lab_pred[:, 1:]),
        "colourfulness": colourfulness(rgb_pred),
        "chroma": _mean_chroma(lab_pred),
        "a_shift": a_shift,
        "b_shift": b_shift,
    }


def _mean_chroma(pixels):
    return chroma(pixels[:, 1], pixels[:, 2]).mean((1, 2))


def psnr(rgb1: torch.Tensor, rgb2: torch.Tensor) -> torch.Tensor:
    """uint8 (N,3,H,W) twice -> dB (N,), as scikit-image's, but never above 58.9 dB: the squared error counts as at
    least 1/12, the noise of rounding to uint8. Else one gray photograph (infinite PSNR) would decide the mean."""
    squared = (rgb1.float() - rgb2.float()).square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / squared.clamp_min(1 / 12))


def auc(ab_true: torch.Tensor, ab_pred: torch.Tensor) -> torch.Tensor:
    """a*b* (N,2,H,W) twice -> (N,) in [0, 1]: share of pixels with an a*b* error of at most t, averaged over
    t = 0, 1, ..., 150 (Zhang, Isola & Efros 2016, raw: every pixel counts the same)."""
    error = chroma(
        *(ab_pred - ab_true).unbind(1)
    )  # (N, H, W); 151 - ceil(error) of the thresholds are not below it
    return ((AUC_THRESHOLDS - error.ceil()).clamp_min(0) / AUC_THRESHOLDS).mean((1, 2))


def colourfulness(rgb: torch.Tensor) -> torch.Tensor:
    """uint8 (N,3,H,W) -> (N,): Hasler & Suesstrunk 2003, with signed opponent colours as in the paper (DDColor's
    and CT2's code takes absolute values first and gets other numbers)."""
    R, G, B = rgb.float().unbind(1)
    opponents = torch.stack([R - G, (R + G) / 2 - B], 1)  # (N, 2, H, W)
    mean = opponents.mean((2, 3), keepdim=True)
    spread = (
        (opponents - mean).square().mean((2, 3)).sqrt()
    )  # torch.std_mean takes five times as long on a CPU
    return spread.norm(dim=1) + 0.3 * mean.flatten(1).norm(dim=1)


def _of_hues(truth, lab_pred, error) -> dict[str, torch.Tensor]:
    n, kinds = len(error), len(HUES) + 1  # the last kind: no hue
    true, painted = truth.sector, truth.quick(_sector)(lab_pred)
    photograph = torch.arange(n, dtype=torch.int32, device=true.device).view(n, 1, 1)
    place = ((photograph * kinds + true) * kinds + painted).flatten()
    counts = torch.bincount(place, minlength=n * kinds**2).view(n, kinds, kinds)  # true, painted
    errors = torch.bincount(place, error.flatten(), n * kinds**2).view(n, kinds, kinds).sum(2)
    of_true, of_painted = counts.sum(2), counts.sum(1)
    pixels, values = error[0].numel(), {}
    for index, name in enumerate(HUES):
        count = of_true[:, index]  # 0 / 0 below is the NaN that we want
        values[f"{name}_share"] = count / pixels
        values[f"{name}_painted"] = of_painted[:, index] / pixels
        values[f"{name}_ciede2000"] = errors[:, index] / count
        values[f"{name}_recall"] = counts[:, index, index] / count
    return values


def hue_shares(lab_true: torch.Tensor) -> dict[str, torch.Tensor]:
    """Lab (N,3,H,W) -> for each name in HUES the share of each photograph's pixels that have it, (N,)."""
    sector = _sector(lab_true)
    return {name: (sector == index).float().mean((1, 2)) for index, name in enumerate(HUES)}


def _sector(pixels):
    """Lab (N,3,H,W) -> (N,H,W) int32: the place of each pixel's hue in HUES, len(HUES) where it has none."""
    a, b = pixels[:, 1], pixels[:, 2]
    degree = torch.rad2deg(hue(a, b))
    above_first = list(HUES.values())[1:]  # quicker than torch.bucketize for so few
    sector = sum((degree >= lower).float() for lower in above_first)
    return torch.where(chroma(a, b) > MIN_CHROMA, sector, len(HUES)).int()


@dataclass(frozen=True)
class Baselines:
    """What training photographs say without any network: mean a*b* (2,), and mean a*b* for L* = 0, 1, ..., 100 (101,2)."""

    mean_ab: torch.Tensor
    ab_by_lightness: torch.Tensor

    def predict(self, name: str, L: torch.Tensor) -> torch.Tensor:
        """L (N,1,H,W) in [0, 100] -> a*b* (N,2,H,W) by one of BASELINES. KoalaError on another name."""
        if name not in BASELINES:
            raise KoalaError(f"there is no baseline '{name}'; there are {', '.join(BASELINES)}.")
        if name == "lightness":
            return by_lightness(self.ab_by_lightness.expand(len(L), 101, 2), L)
        ab = self.mean_ab if name == "mean" else torch.zeros(2)
        return ab.to(L.device).view(1, 2, 1, 1).expand(len(L), 2, *L.shape[2:])


def by_lightness(tables: torch.Tensor, L: torch.Tensor) -> torch.Tensor:
    """tables (N,101,2): for each photograph the a*b* of L* = 0, 1, ..., 100; L (N,1,H,W) in [0, 100] -> a*b* (N,2,H,W)."""
    first = 101 * torch.arange(len(L), dtype=torch.int32, device=L.device).view(-1, 1, 1)
    place = first + L[:, 0].round().clamp(0, 100).int()  # (N, H, W)
    columns = tables.to(L.device).permute(2, 0, 1).flatten(1)  # (2, 101 N)
    return columns.index_select(1, place.flatten()).view(2, *place.shape).movedim(0, 1)


def fit_baselines(batches: Iterable[torch.Tensor]) -> Baselines:
    """Batches of training photographs, uint8 (N,3,H,W), read once -> Baselines. KoalaError where there is none."""
    total = sum((colour_sums(rgb).sum(0).cpu() for rgb in batches), torch.zeros(101, 3, dtype=torch.float64))
    return baselines_of(total)


def colour_sums(rgb: torch.Tensor) -> torch.Tensor:
    """uint8 (N,3,H,W) -> (N,101,3) float64: for L* = 0, 1, ..., 100 the number of pixels of each photograph that round to
    it, and the sums of their a* and b*: all that baselines are fitted on."""
    L, ab = lab.rgb_to_lab(rgb).split((1, 2), 1)
    return sums_by(L[:, 0].round().int(), ab, 101)


def sums_by(kind: torch.Tensor, ab: torch.Tensor, kinds: int) -> torch.Tensor:
    """kind (N,H,W) int32 in 0 ... kinds-1, ab (N,2,H,W) -> (N,kinds,3) float64: of each photograph the number of pixels of
    each kind, and the sums of their a* and b*."""
    n = len(kind)
    place = (kind + kinds * torch.arange(n, dtype=torch.int32, device=kind.device).view(n, 1, 1)).flatten()
    a, b = (channel.flatten() for channel in ab.unbind(1))
    columns = [torch.bincount(place, weight, kinds * n).double() for weight in (torch.ones_like(a), a, b)]
    return torch.stack(columns, 1).view(n, kinds, 3)


def baselines_of(total: torch.Tensor) -> Baselines:
    """The sum of `colour_sums` over training photographs, (101,3), -> Baselines. An L* that never occurs takes its colour
    from the neighbours, linearly. KoalaError where there is no pixel."""
    counts, sums = total.double().numpy()[:, 0], total.double().numpy()[:, 1:]
    if not counts.any():
        raise KoalaError("the baselines need at least one training photograph, got none.")
    seen = np.flatnonzero(counts)
    known = sums[seen] / counts[seen, None]
    by_lightness = np.stack([np.interp(np.arange(101), seen, column) for column in known.T], 1)
    return Baselines(torch.tensor(sums.sum(0) / counts.sum()).float(), torch.tensor(by_lightness).float())
