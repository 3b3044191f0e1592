"""The network and its training step as they read in the paper: the reference that speed is measured against.

Deep Koalarization taken literally: the extractor runs in every step, the embedding is repeated over the grid and
concatenated, a*b* is compared at full resolution, Lab comes from scikit-image photograph by photograph. Nothing here
is used for results."""

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from torch import nn

from koala import lab
from koala.model import FUSED, Koala


class LiteralKoala(nn.Module):
    """(L_norm (N,1,H,W), features (N,feature_dims)) -> a*b*/127 (N,2,H,W), with the weights of a `Koala`."""

    def __init__(self, model: Koala):
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder
        self.fusion = nn.Conv2d(FUSED + model.feature_dims, FUSED, 1)
        with torch.no_grad():
            columns = [model.fusion.weight] + (
                [model.embedding.weight[:, :, None, None]] if model.feature_dims else []
            )
            self.fusion.weight.copy_(torch.cat(columns, 1))
            self.fusion.bias.copy_(model.fusion.bias)

    def forward(self, L_norm, features):
        encoded = self.encoder(L_norm)  # (N, 256, H/8, W/8)
        repeated = features[:, :, None, None].expand(-1, -1, *encoded.shape[2:])  # (N, D, H/8, W/8)
        fused = F.relu(self.fusion(torch.cat([encoded, repeated], 1)))  # (N, 256, H/8, W/8)
        return F.interpolate(self.decoder(fused), scale_factor=2, mode="nearest")  # (N, 2, H, W)


def training_pair(photographs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,S,S,3) uint8 -> L_norm (n,1,S,S) and ab_norm (n,2,S,S), one photograph at a time."""
    planes = torch.stack(
        [torch.from_numpy(rgb2lab(rgb)).permute(2, 0, 1).float() for rgb in photographs]
    )  # (n, 3, S, S)
    return lab.norm_L(planes[:, :1]), lab.norm_ab(planes[:, 1:])


def mean_squared_error(output: torch.Tensor, ab_norm: torch.Tensor) -> torch.Tensor:
    """The mean squared error at full resolution, over photographs, pixels and both channels."""
    return (output - ab_norm).square().mean()
