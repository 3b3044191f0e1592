"""The network of Deep Koalarization (Baldassarre, Gonzalez Morin and Rodes-Guirao, 2017, arXiv:1712.03400).

An encoder sees L, the embedding of a frozen extractor joins it in the fusion layer, a decoder predicts a*b*.
"""

import torch
import torch.nn.functional as F
from torch import nn

from koala.system.errors import KoalaError

ENCODER = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 1), (256, 1))  # channels, stride
FUSED = 256
INITS = ("torch", "glorot", "he")


class SameConv(nn.Conv2d):
    """3x3 convolution with TensorFlow's "same" padding, as the released code has it.

    At stride 2 on an even size "same" pads the bottom and the right only; padding=1 would shift the grid by
    half a pixel of the output."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__(channels_in, channels_out, 3, stride, padding=1 if stride == 1 else 0)

    def forward(self, x):
        return super().forward(x if self.stride == (1, 1) else F.pad(x, (0, 1, 0, 1)))


class Koala(nn.Module):
    """(L_norm (N,1,H,W) in [-1,1], features (N,feature_dims)) -> a*b* scaled by 127, (N,2,H,W) in [-1,1].

    With bins, the last layer gives (N,bins,H,W) logits instead. H and W are multiples of 8. feature_dims = 0
    leaves the extractor out. Trainable parameters: 6,573,794 at 1,000 dimensions, 6,317,794 at none.
    """

    def __init__(self, feature_dims: int = 1000, bins: int | None = None, init: str = "torch"):
        super().__init__()
        if init not in INITS:
            raise KoalaError(f"init must be one of {', '.join(INITS)}, not {init!r}.")
        self.feature_dims, self.bins = feature_dims, bins
        self.encoder = nn.Sequential(*_stack(1, ENCODER))
        self.fusion = nn.Conv2d(FUSED, FUSED, 1)
        self.embedding = nn.Linear(feature_dims, FUSED, bias=False) if feature_dims else None
        up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.Sequential(
            *_stack(FUSED, [(128, 1)]),
            up,
            *_stack(128, [(64, 1), (64, 1)]),
            up,
            *_stack(64, [(32, 1)]),
            SameConv(32, bins or 2),
            nn.Identity() if bins else nn.Tanh(),
        )
        self._initialize(init)

    def forward(self, L_norm, features=None):
        return F.interpolate(
            self.half(L_norm, features), scale_factor=2, mode="nearest"
        )  # (N, 2 or bins, H, W)

    def half(self, L_norm, features=None):
        """The output at half resolution, (N, 2 or bins, H/2, W/2), before the final nearest upsampling."""
        if L_norm.shape[-1] % 8 or L_norm.shape[-2] % 8:
            raise KoalaError(f"height and width must be multiples of 8, not {tuple(L_norm.shape[-2:])}.")
        return self.decoder(F.relu(self.fuse(self.encoder(L_norm), features)))

    def fuse(self, encoded, features):
        """1x1 convolution over [encoded, embedding repeated over the grid], before its ReLU.

        An embedding that is constant over the photograph adds one constant to each of the 256 channels, so
        conv(encoded) + linear(embedding) is the same sum with far less work."""
        fused = self.fusion(encoded)  # (N, 256, H/8, W/8)
        if self.embedding is None:
            return fused
        if features is None or features.shape[-1] != self.feature_dims:
            shape = None if features is None else tuple(features.shape)
            raise KoalaError(f"features must be (N, {self.feature_dims}), not {shape}.")
        return fused + self.embedding(features.to(self.embedding.weight.dtype))[:, :, None, None]

    @torch.no_grad()
    def _initialize(self, init: str) -> None:
        """The fusion starts as the literal 1x1 convolution over 256 + feature_dims channels would."""
        literal = nn.Conv2d(FUSED + self.feature_dims, FUSED, 1)
        # glorot: uniform weights and zero biases, Keras' default. he: normal weights whose variance keeps the signal
        # through ReLU (He et al. 2015), and zero biases; the others let it fade over the encoder's eight layers.
        fill = {"glorot": nn.init.xavier_uniform_, "he": _he}.get(init)
        for module in (*self.modules(), literal) if fill else ():
            if isinstance(module, nn.Conv2d):
                fill(module.weight)
                nn.init.zeros_(module.bias)
        self.fusion.weight.copy_(literal.weight[:, :FUSED])
        self.fusion.bias.copy_(literal.bias)
        if self.embedding is not None:
            self.embedding.weight.copy_(literal.weight[:, FUSED:, 0, 0])


def _he(weight: torch.Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _stack(channels: int, layers) -> list[nn.Module]:
    """3x3 convolutions with ReLU; layers = (output channels, stride) each."""
    modules = []
    for width, stride in layers:
        modules += [SameConv(channels, width, stride), nn.ReLU()]
        channels = width
    return modules


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def describe(model: nn.Module) -> list[dict]:
    """One row per part: name, trainable parameters, share of all. For the notebook's table."""
    total = count_parameters(model)
    rows = [{"part": name, "parameters": count_parameters(part)} for name, part in model.named_children()]
    rows = [row for row in rows if row["parameters"]] + [{"part": "all", "parameters": total}]
    return [{**row, "share": row["parameters"] / total} for row in rows]


@torch.no_grad()
def fusion_terms(model, L_norm: torch.Tensor, features: torch.Tensor) -> dict[str, float]:
    """Root mean square of the two sums before the fusion's ReLU, each around its mean over photographs and pixels.

    encoder_term: conv(encoder), how it varies over pixels and photographs. embedding_term: linear(embedding), how it
    varies over photographs; 0 without extractor. L_norm (N,1,H,W), features (N,D)."""
    encoded = model.fusion(model.encoder(L_norm)).float()  # (N, 256, H/8, W/8)
    terms = {"encoder_term": _spread(encoded.permute(0, 2, 3, 1).flatten(0, 2)), "embedding_term": 0.0}
    if model.embedding is not None:
        terms["embedding_term"] = _spread(model.embedding(features.to(model.embedding.weight.dtype)).float())
    return terms


def _spread(values: torch.Tensor) -> float:
    return (values - values.mean(0)).square().mean().sqrt().item()
