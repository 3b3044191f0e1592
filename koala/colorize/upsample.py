"""Small a*b* joined with a photograph's full lightness, so that colour keeps to edges.

a*b* is enlarged bicubically. What the enlarged grid cannot hold is taken from the lightness, as a guided filter does (He,
Sun and Tang 2013; on the small grid as in He and Sun 2015, arXiv:1505.00996): near each cell a*b* is fitted as a linear
function of L*, and its slope times the fine part of L* is added.

Measured on 60 held-out scenes of 256 pixels, true a*b* averaged to a grid and enlarged again, CIEDE2000:
grid 16: bilinear 2.60, bicubic 2.47, with slope 2.39; grid 32: 1.67, 1.51, 1.48; grid 64: 0.86, 0.68, 0.68. The guided filter
itself (2.3 at 32) and joint bilateral upsampling (1.9 at 32) lose against bilinear. On a network's own predictions the ways of
enlarging cannot be told apart: its errors are much larger (50 scenes at working sizes 48 to 160: bilinear better by 0.00 to 0.01).
"""

import numpy as np
import torch
import torch.nn.functional as F

from koala import lab

NEAR = 1  # cells to each side that the slope is fitted on
DAMPING = 400.0  # added to the variance of L* (units of L*, squared): small differences of lightness say nothing of colour
STRIP = 2**20  # pixels whose Lab is held at a time: it takes about 100 bytes each


def join(rgb: np.ndarray, ab: torch.Tensor, L: torch.Tensor) -> np.ndarray:
    """The lightness of (H,W,3) uint8 with the a*b* of a small grid, ab (1,2,h,w), L* on that grid (1,1,h,w) -> (H,W,3) uint8."""
    H, W = rgb.shape[:2]
    small = torch.cat([ab, slope(ab, L), L], 1)[0]  # (5, h, w)
    rows, columns = _enlarging(small.shape[1], H), _enlarging(small.shape[2], W)  # (H, h), (W, w)
    full, out = torch.from_numpy(rgb), np.empty_like(rgb)
    step = max(1, STRIP // W)
    for top in range(0, H, step):
        strip = full[top : top + step].permute(2, 0, 1)[None]  # (1, 3, n, W)
        L_here = lab.rgb_to_lab(strip)[:, :1]  # (1, 1, n, W)
        wide = (rows[top : top + step] @ small @ columns.T)[None]  # (1, 5, n, W)
        ab_here = wide[:, :2] + wide[:, 2:4] * (L_here - wide[:, 4:])
        out[top : top + step] = lab.lab_to_rgb(torch.cat([L_here, ab_here], 1))[0].permute(1, 2, 0).numpy()
    return out


def slope(ab: torch.Tensor, L: torch.Tensor) -> torch.Tensor:
    """How a* and b* (1,2,h,w) change with L* (1,1,h,w) around each cell, (1,2,h,w): damped least squares."""
    mean_L, mean_ab = _mean(L), _mean(ab)
    covariance = _mean(L * ab) - mean_L * mean_ab
    variance = (_mean(L * L) - mean_L * mean_L).clamp_min(0)
    return _mean(covariance / (variance + DAMPING))


def _mean(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(x, (NEAR,) * 4, mode="replicate"), 2 * NEAR + 1, 1)


def _enlarging(cells: int, pixels: int) -> torch.Tensor:
    """The bicubic weights (pixels, cells) that enlarge one axis: both axes in strips give what they give at once."""
    return F.interpolate(
        torch.eye(cells)[None, None], (pixels, cells), mode="bicubic", antialias=pixels < cells
    )[0, 0]
