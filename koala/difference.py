"""CIEDE2000, the difference between two colours as people see it; 1 is about the smallest that is noticed side by side."""

import math

import torch


def ciede2000(lab1: torch.Tensor, lab2: torch.Tensor) -> torch.Tensor:
    """Lab (N,3,...) and Lab (N,3,...) -> colour difference (N,...), in the inputs' precision.

    Sharma, Wu & Dalal 2005, kL = kC = kH = 1; the comments name their equations."""
    L1, a1, b1 = lab1.unbind(1)
    L2, a2, b2 = lab2.unbind(1)
    G = 0.5 * (1 - _chroma_weight((chroma(a1, b1) + chroma(a2, b2)) / 2))  # (4)
    a1, a2 = a1 * (1 + G), a2 * (1 + G)  # (5)
    C1, C2 = chroma(a1, b1), chroma(a2, b2)  # (6)
    h1, h2 = hue(a1, b1), hue(a2, b2)  # (7)
    coloured = C1 * C2 != 0

    dh = h2 - h1  # (10): the short way round
    dh = torch.where(dh.abs() > math.pi, dh - math.tau * dh.sign(), dh)
    dH = 2 * (C1 * C2).sqrt() * torch.sin(dh / 2)  # (11): zero where either is gray
    h = h1 + h2  # (14): mean hue, the short way round; the sum where either is gray
    turned = torch.where(h < math.tau, h + math.tau, h - math.tau)
    h = torch.where(coloured, torch.where((h1 - h2).abs() > math.pi, turned, h) / 2, h)

    lightness = ((L1 + L2) / 2 - 50).square()
    C = (C1 + C2) / 2
    T = (
        1
        - 0.17 * torch.cos(h - math.radians(30))
        + 0.24 * torch.cos(2 * h)
        + 0.32 * torch.cos(3 * h + math.radians(6))
        - 0.20 * torch.cos(4 * h - math.radians(63))
    )  # (15)
    turn = math.radians(60) * torch.exp(
        -((h - math.radians(275)) / math.radians(25)).square()
    )  # 2 dtheta of (16)
    dL = (L2 - L1) / (1 + 0.015 * lightness / (20 + lightness).sqrt())  # (18)
    dC = (C2 - C1) / (1 + 0.045 * C)  # (19)
    dH = dH / (1 + 0.015 * C * T)  # (20)
    rotation = -2 * _chroma_weight(C) * torch.sin(turn)  # (17), (21)
    return (dL * dL + dC * dC + dH * dH + rotation * dC * dH).clamp_min(0).sqrt()  # (22)


def chroma(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a*, b* (...) -> chroma (...). Compiled it takes a quarter of torch.hypot's time."""
    return (a * a + b * b).sqrt()


def hue(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a*, b* (...) -> hue angle (...) in radians, in [0, 2 pi]; 0 where both are 0. Compiled it is quicker than `%`."""
    angle = torch.atan2(b, a)
    return torch.where(angle < 0, angle + math.tau, angle)


def _chroma_weight(C):
    ratio = (C / 25).square()
    ratio = ratio * ratio * ratio * (C / 25)  # (C / 25)^7
    return (ratio / (ratio + 1)).sqrt()
