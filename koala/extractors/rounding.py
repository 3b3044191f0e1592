"""What an extractor's outputs lose where it computes in bf16."""

import torch

from koala import lab
from koala.extractors.extractor import build

SAMPLE = 32  # photographs; fp32 is slow where bf16 pays


def errors(images, backbone: str, weights: str, layer: str, precision: str, device) -> torch.Tensor:
    """Relative errors of the outputs in `precision` for the first SAMPLE of images (N,S,S,3) uint8, (n,).

    Of one photograph, with outputs x and in fp32 y, both (D,): |x - y| / |y|. Arguments as in koala.extractors.compute."""
    rgb = torch.from_numpy(images[:SAMPLE].copy()).permute(0, 3, 1, 2).to(device)  # (n, 3, S, S)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        rounded, exact = (
            build(backbone, weights, layer, precision=kind).to(device)(lab.luma(rgb)).float()
            for kind in (precision, "fp32")
        )
    return ((rounded - exact).norm(dim=1) / exact.norm(dim=1)).cpu()
