"""Weights in 8 bits: a quarter of the size, for files that are distributed with the code."""

import torch

SCALE = ".scale"


def quantize(state: dict) -> dict:
    """Weights -> int8 with one float32 scale per output channel (symmetric, rounded to nearest); biases stay float32."""
    packed = {}
    for name, tensor in state.items():
        if tensor.ndim < 2:
            packed[name] = tensor.float().contiguous()
            continue
        scale = tensor.flatten(1).abs().amax(1).clamp_min(1e-12) / 127  # (output channels,)
        shape = (-1, *[1] * (tensor.ndim - 1))
        packed[name] = (tensor / scale.view(shape)).round().to(torch.int8).contiguous()
        packed[name + SCALE] = scale.float()
    return packed


def dequantize(packed: dict) -> dict:
    """Inverse of `quantize`, up to half a step of each channel; a state that was never quantized stays as it is."""
    state = {}
    for name, tensor in packed.items():
        scale = packed.get(name + SCALE)
        if name.endswith(SCALE) and packed.get(name.removesuffix(SCALE), tensor).dtype == torch.int8:
            continue
        state[name] = tensor if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
    return state
