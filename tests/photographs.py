"""scikit-image's photographs as the extractors take them."""

import skimage.data
import torch

from koala import lab


def rgb(name):
    return torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None]  # (1, 3, H, W) uint8


def gray(name):
    return lab.luma(rgb(name))  # (1, 1, H, W)
