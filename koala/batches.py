"""Photographs and features by row number, on the device where they fit."""

import dataclasses
import warnings

import numpy as np
import torch


@dataclasses.dataclass
class Batches:
    """Photographs and features by row number: images (N,S,S,3) uint8, features (N,D), each where it fits."""

    images: torch.Tensor
    features: torch.Tensor
    device: torch.device

    def __call__(self, rows: np.ndarray):
        """rgb (n,3,S,S) uint8 and features (n,D) float32, on the device."""
        index = torch.from_numpy(rows)
        rgb = self.images[index.to(self.images.device)].to(self.device).permute(0, 3, 1, 2)  # (n, 3, S, S)
        return rgb, self.features[index.to(self.features.device)].to(self.device, torch.float32)


def make_batches(images: np.ndarray, features: np.ndarray, device: torch.device) -> Batches:
    """Data on the GPU as uint8 when it takes under half of the free memory, else read from the memory map."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        pixels, vectors = torch.from_numpy(np.asarray(images)), torch.from_numpy(np.asarray(features))
    if device.type == "cuda" and pixels.nbytes + vectors.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        pixels, vectors = pixels.to(device), vectors.to(device)
    return Batches(pixels, vectors, device)


def chunks(rows: np.ndarray, size: int):
    """`rows` in consecutive pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
