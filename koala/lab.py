"""sRGB <-> CIELAB, and the one place where a photograph becomes what the networks see.

Conventions as in scikit-image's colorconv: sRGB (IEC 61966-2-1), illuminant D65, 2 degree observer, XYZ of white
(0.95047, 1, 1.08883). L* in [0, 100]; inside sRGB a* in [-86.2, 98.3] and b* in [-107.9, 94.5]. Everything is
float32 and outside autocast: in bfloat16 Lab is off by up to 0.4 dE. `python -m koala.lab` checks every colour.
"""

import functools

import torch

from koala.system.errors import KoalaError

L_CENTRE, L_SCALE, AB_SCALE = 50.0, 50.0, 127.0
WHITE = (0.95047, 1.0, 1.08883)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
RGB_FROM_XYZ = tuple(map(tuple, torch.tensor(XYZ_FROM_RGB, dtype=torch.float64).inverse().tolist()))


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) sRGB, uint8 or float in [0, 1] -> (N,3,H,W) float32 Lab. KoalaError on another shape, type, range."""
    _check_rgb(rgb)
    with float32(rgb):
        linear = _linear(rgb)
        f = [_f(_mix(linear, row) / white) for row, white in zip(XYZ_FROM_RGB, WHITE, strict=True)]
        return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])], 1)


def lab_to_rgb(lab: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) Lab -> (N,3,H,W) uint8 sRGB: clipped to the gamut, rounded to the nearest, so that every uint8
    colour survives the way to Lab and back. KoalaError on another shape or type."""
    _check(lab, 3, "lab")
    with float32(lab):
        L, a, b = lab.float().unbind(1)
        y = (L + 16) / 116
        f = (y + a / 500, y, (y - b / 200).clamp_min(0))  # scikit-image clips this one, too
        xyz = torch.stack([_f_inverse(v) * white for v, white in zip(f, WHITE, strict=True)], 1)
        return torch.stack([_to_uint8(_mix(xyz, row)) for row in RGB_FROM_XYZ], 1)


def luma(rgb: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) sRGB, uint8 or float in [0, 1] -> (N,1,H,W) float32 in [0, 1]: what a gray photograph stores.

    Rec.601 weights on the gamma-coded values, as JPEG's Y and PIL's convert("L") have it. It is not L*."""
    _check_rgb(rgb)
    with float32(rgb):
        gray = _mix(rgb.float(), LUMA)[:, None]
        return (gray / 255 if rgb.dtype == torch.uint8 else gray).clamp(0, 1)


def lightness(gray: torch.Tensor) -> torch.Tensor:
    """Gray sRGB (N,1,H,W) in [0, 1], as `luma` gives it -> L* (N,1,H,W) of the gray picture, in [0, 100]."""
    _check(gray, 1, "gray")
    with float32(gray):
        return 116 * _f(_linear(gray)) - 16


def network_inputs(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,3,H,W) sRGB -> L_norm (N,1,H,W) in [-1, 1] for the encoder, gray (N,1,H,W) in [0, 1] for the extractor.

    The encoder gets L* of the photograph, the extractor its luma (Baldassarre et al. 2017). These differ where it is
    colourful: pure blue has L* 32.3, in a gray photograph only 10.8. In training the luma is taken where batches are made.
    """
    return training_pair(rgb)[0], luma(rgb)


def training_pair(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,3,H,W) sRGB -> the network's input L_norm (N,1,H,W) and its target ab_norm (N,2,H,W), both scaled."""
    L, ab = rgb_to_lab(rgb).split((1, 2), dim=1)
    return norm_L(L), norm_ab(ab)


def to_rgb(L_norm: torch.Tensor, ab_norm: torch.Tensor) -> torch.Tensor:
    """Inverse of norm_*(rgb_to_lab(rgb)): L_norm (N,1,H,W) and ab_norm (N,2,H,W) -> uint8 sRGB (N,3,H,W)."""
    _check(L_norm, 1, "L_norm")
    _check(ab_norm, 2, "ab_norm")
    return lab_to_rgb(torch.cat([denorm_L(L_norm.float()), denorm_ab(ab_norm.float())], 1))


def norm_L(L: torch.Tensor) -> torch.Tensor:
    return L / L_SCALE - L_CENTRE / L_SCALE


def denorm_L(L_norm: torch.Tensor) -> torch.Tensor:
    return L_norm * L_SCALE + L_CENTRE


def norm_ab(ab: torch.Tensor) -> torch.Tensor:
    return ab / AB_SCALE


def denorm_ab(ab_norm: torch.Tensor) -> torch.Tensor:
    return ab_norm * AB_SCALE


def gamut_bins(step: float = 10) -> torch.Tensor:
    """Centres (Q,2) float32 of the a*b* grid cells that sRGB touches, ordered by a*, then b*.

    A colour belongs to the cell of the nearest multiple of `step`. Step 10 gives 261 cells: the 313 of Zhang et al.
    2016 come from a published file and include cells that no sRGB colour reaches."""
    if not step >= 1:
        raise KoalaError(f"gamut_bins: step must be at least 1 (units of a*b*), got {step}.")
    return _gamut_cells(float(step)).clone() * step


@functools.lru_cache
def _gamut_cells(step: float) -> torch.Tensor:
    # A line of constant a*b* that passes through the colour solid leaves it through a face, so the six faces of the
    # RGB cube reach every cell that its inside reaches. The slow test confirms it on all 16.7 million colours.
    levels = torch.arange(256, dtype=torch.uint8)
    u, v = torch.meshgrid(levels, levels, indexing="ij")
    faces = []
    for level in (0, 255):
        w = torch.full_like(u, level)
        faces += [torch.stack(face) for face in ((w, u, v), (u, w, v), (u, v, w))]
    ab = rgb_to_lab(torch.stack(faces))[:, 1:]  # (6, 2, 256, 256)
    return (ab / step).round().permute(0, 2, 3, 1).reshape(-1, 2).int().unique(dim=0).float()  # (Q, 2)


def _f(t):
    # CIE 1976; 7.787 and 0.008856 are the rounded constants that scikit-image uses.
    return torch.where(t > 0.008856, t.clamp_min(1e-6).pow(1 / 3), 7.787 * t + 16 / 116)


def _f_inverse(f):
    return torch.where(f > 0.2068966, f * f * f, (f - 16 / 116) / 7.787)


def _linear(rgb):
    if rgb.dtype == torch.uint8:  # 256 values: look them up (index_select is 8 times as fast as table[index])
        return _linear_table(rgb.device).index_select(0, rgb.reshape(-1).int()).view(rgb.shape)
    v = rgb.float()
    return torch.where(v > 0.04045, ((v.clamp_min(0) + 0.055) / 1.055).pow(2.4), v / 12.92)


def hold_table() -> None:
    """To be called before torch.compile: what is compiled then holds the table of linear values instead of computing a power
    for each pixel. Not done at import, since loading the compiler takes two seconds."""
    torch.compiler.assume_constant_result(_linear_table)


def _linear_table(device):
    return _cached_table(device)


@functools.lru_cache
def _cached_table(device):
    return _linear(torch.arange(256, dtype=torch.float64) / 255).to(device)


def _to_uint8(linear):
    coded = torch.where(
        linear > 0.0031308, 1.055 * linear.clamp_min(1e-6).pow(1 / 2.4) - 0.055, 12.92 * linear
    )
    return (coded.clamp(0, 1) * 255).round().to(torch.uint8)


def _mix(channels, weights):
    # Written out, since a matrix product may run in TF32 or bfloat16, which is too coarse here.
    x, y, z = channels.unbind(1)
    return weights[0] * x + weights[1] * y + weights[2] * z


def float32(tensor: torch.Tensor):
    """Context: outside autocast on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)


def _check(tensor, channels, name, also=()):
    if not isinstance(tensor, torch.Tensor):
        raise KoalaError(f"{name} must be a torch tensor (N,{channels},H,W), got {type(tensor).__name__}.")
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise KoalaError(f"{name} must have the shape (N,{channels},H,W), got {tuple(tensor.shape)}.")
    if not (tensor.is_floating_point() or tensor.dtype in also):
        kinds = " or ".join(["floating-point", *map(str, also)])
        raise KoalaError(f"{name} must be a {kinds} tensor, got {tensor.dtype}.")


def _check_rgb(rgb):
    _check(rgb, 3, "rgb", also=(torch.uint8,))
    if (
        rgb.is_floating_point() and rgb.numel() and not (rgb.min() >= -1e-6 and rgb.max() <= 1 + 1e-6)
    ):  # a NaN fails, too
        raise KoalaError(
            f"float rgb must lie in [0, 1], got [{rgb.min():.3g}, {rgb.max():.3g}]; divide by 255?"
        )


def check_all_colours() -> tuple[float, int]:
    """Every one of the 16,777,216 sRGB colours: (largest |Lab - scikit-image|, number that change on the way back)."""
    from skimage.color import rgb2lab  # needed by this check only

    worst, changed = 0.0, 0
    levels = torch.arange(256, dtype=torch.uint8)
    green, blue = torch.meshgrid(levels, levels, indexing="ij")
    for red in range(256):
        rgb = torch.stack([torch.full_like(green, red), green, blue])[None]  # (1, 3, 256, 256)
        lab = rgb_to_lab(rgb)
        expected = torch.from_numpy(rgb2lab(rgb[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)
        worst = max(worst, (lab[0].double() - expected).abs().max().item())
        changed += (lab_to_rgb(lab) != rgb).any(1).sum().item()
        if red % 64 == 63:
            print(f"{(red + 1) * 65536:,} colours: largest difference {worst:.1e}, {changed} changed")
    return worst, changed


if __name__ == "__main__":
    difference, lost = check_all_colours()
    raise SystemExit(0 if difference < 1e-3 and lost == 0 else 1)
