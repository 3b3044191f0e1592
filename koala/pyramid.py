"""A frozen extractor as an encoder: its feature maps at several strides, joined top-down, predict a*b*.

koala.model takes one vector of the extractor for the whole photograph; this network takes its feature maps, so that what
the extractor recognizes keeps its place. The top-down path is that of feature pyramid networks (Lin et al. 2017,
arXiv:1612.03144), without their separate prediction at each stride; pretrained encoders are what colorization networks
such as DDColor (Kang et al. 2023, arXiv:2212.11613) have come to rest on. There they are trained further, here not.

It sees one gray picture and nothing else. L* and luma of a coloured photograph weigh its channels differently, so that a
network which gets both at each pixel reads the colour off them (koala.experiment.two_grays), and has learned nothing for
photographs that are gray.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from koala import lab
from koala.system.errors import KoalaError

ENLARGED = 2  # the encoder sees twice the working size: its maps at stride GRID have the prediction's size
GRID = 2 * ENLARGED
CHANNELS = 96  # of the top-down path
COARSEST = 32  # the sides that the encoder sees are multiples of it
STAGES = {  # {stride: the last layer at it} of torchvision's networks; timm's networks state theirs themselves
    "inception_v3": {2: "Conv2d_2b_3x3", 4: "Conv2d_3b_1x1", 8: "Mixed_5d", 16: "Mixed_6e", 32: "Mixed_7c"},
    "convnext_tiny": {4: "features.1", 8: "features.3", 16: "features.5", 32: "features.7"},
}


class Pyramid(nn.Module):
    """(L_norm (N,1,H,W) in [-1,1], gray (N,1,S,S') luma in [0,1]) -> a*b* scaled by 127, (N,2,H,W) in [-1,1].

    extractor: what koala.extractors.build returns. It is no submodule: it moves with the network to a device, but it is
    neither in parameters() nor in state_dict(), stays in eval mode and gets no gradients. gray is the photograph at any size.
    Of L_norm only the size counts, the working size; H and W are multiples of 8. With bins, the last layer gives
    (N,bins,H,W) logits instead. Trainable parameters: 538,802 with EfficientNet-Lite0."""

    def __init__(self, extractor: nn.Module, bins: int | None = None):
        super().__init__()
        channels, self.encoder = CHANNELS, Encoder(extractor)
        self.bins, widths = bins, self.encoder.channels  # {stride: channels}, fine to coarse
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(width, channels, 1) for s, width in widths.items()})
        self.pooled = nn.Linear(widths[max(widths)], channels, bias=False)
        self.join = nn.ModuleDict(
            {str(s): nn.Conv2d(channels, channels, 3, padding=1) for s in widths if s >= GRID}
        )
        self.head = nn.Sequential(
            nn.Conv2d(channels + 1, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, bins or 2, 3, padding=1),
            nn.Identity() if bins else nn.Tanh(),
        )
        self._initialize()

    def forward(self, L_norm, gray):
        return F.interpolate(self.half(L_norm, gray), scale_factor=2, mode="nearest")  # (N, 2 or bins, H, W)

    def half(self, L_norm, gray):
        """The output at half resolution, (N, 2 or bins, H/2, W/2), before the final nearest upsampling."""
        H, W = L_norm.shape[-2:]
        if H % 8 or W % 8:
            raise KoalaError(f"height and width must be multiples of 8, not {(H, W)}.")
        x = F.relu(self.top_down(self.encoder(gray, (ENLARGED * H, ENLARGED * W))))  # (N, channels, H/2, W/2)
        if x.shape[-2:] != (H // 2, W // 2):  # where 2H or 2W is no multiple of 32
            x = F.interpolate(x, (H // 2, W // 2), mode="bilinear", align_corners=False)
        return self.head(torch.cat([x, _lightness(gray, (H, W)).to(x.dtype)], 1))

    def top_down(self, maps: dict[int, torch.Tensor]) -> torch.Tensor:
        """{stride: (N,C,h/stride,w/stride)} -> (N,channels,h/4,w/4): from coarse to fine, each map is added to the one above."""
        everywhere = self.pooled(maps[max(maps)].mean((2, 3)))[:, :, None, None]  # (N, channels, 1, 1)
        x = None
        for stride in sorted((s for s in maps if s >= GRID), reverse=True):
            here = self.lateral[str(stride)](maps[stride]) + everywhere  # (N, channels, h/stride, w/stride)
            if x is not None:
                here = here + F.interpolate(x, here.shape[-2:], mode="nearest")
            if stride == GRID:
                for fine in (s for s in maps if s < GRID):
                    here = here + self.lateral[str(fine)](F.avg_pool2d(maps[fine], GRID // fine))
            x = self.join[str(stride)](F.relu(here))
        return x

    def _apply(self, function, recurse=True):
        """What .to(), .cuda() and .cpu() call for every tensor: the encoder goes along."""
        self.encoder.extractor._apply(function)
        return super()._apply(function, recurse)

    @torch.no_grad()
    def _initialize(self) -> None:
        """He et al. 2015 where ReLU follows, zero biases; the last layer near zero, so that training starts at gray.

        The layers that take the encoder's maps are divided by the maps' scale, which is 3 to 8 with EfficientNet-Lite0
        and else throws the first steps far out (measured: CIEDE2000 11.1 in place of 11.8 after 156 steps)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for stride, scale in self.encoder.scales.items():
            self.lateral[str(stride)].weight.div_(scale)
        self.pooled.weight.div_(scale)  # the last map's
        nn.init.normal_(self.head[-2].weight, std=0.001)


def _lightness(gray: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Gray (N,1,h,w) in [0,1] -> its L_norm (N,1,H/2,W/2) at the working size, halved."""
    return F.avg_pool2d(lab.norm_L(lab.lightness(F.interpolate(gray.float(), size, mode="area"))), 2)


class Encoder:
    """The feature maps of a frozen extractor, taken by hooks from the layers before its changes of stride.

    It is no nn.Module, so that a network that holds one neither trains nor stores it. KoalaError for a backbone without
    maps at several strides (transformers of one resolution, networks that want one size)."""

    def __init__(self, extractor: nn.Module):
        self.extractor, self._caught = extractor, {}
        for stride, layer in _stages(extractor).items():
            extractor.net.get_submodule(layer).register_forward_hook(self._catch(stride))
        self.smallest, self.channels = self._try()
        self.scales = self._scales()

    @torch.no_grad()
    def __call__(self, gray: torch.Tensor, size: tuple[int, int]) -> dict[int, torch.Tensor]:
        """Luma (N,1,h,w) in [0,1] -> {stride: (N,C,H/stride,W/stride)}, where H and W are size rounded up to what fits."""
        H, W = (max(self.smallest, COARSEST * -(-side // COARSEST)) for side in size)
        return {stride: _fill(x, H // stride, W // stride) for stride, x in self._maps(gray, (H, W)).items()}

    def _maps(self, gray, size) -> dict[int, torch.Tensor]:
        extractor = self.extractor
        x = F.interpolate(
            gray.float(), size, mode=extractor.row.mode, antialias=True, align_corners=False
        )  # (N, 1, H, W)
        x = (x.clamp(0, 1) - extractor.mean) / extractor.std  # (N, 3, H, W); bicubic overshoots
        net = extractor.net.forward_features if extractor.row.library == "timm" else extractor.net
        self._caught.clear()
        net(x.contiguous(memory_format=torch.channels_last))
        maps = {stride: self._caught[stride] for stride in sorted(self._caught)}
        self._caught.clear()
        return maps

    def _catch(self, stride: int):
        def hook(module, inputs, output):
            self._caught[stride] = output

        return hook

    @torch.no_grad()
    def _try(self) -> tuple[int, dict[int, int]]:
        """The smallest side that the network takes, and {stride: channels} of its maps."""
        for side in range(COARSEST, 4 * COARSEST + 1, COARSEST):
            try:
                gray = torch.zeros(1, 1, side, side, device=self.extractor.mean.device)
                maps = self._maps(gray, (side, side))
            except (RuntimeError, AssertionError):  # too small, or not the one size that it takes
                continue
            if all(x.ndim == 4 and x.shape[2] <= side // stride for stride, x in maps.items()):
                return side, {stride: x.shape[1] for stride, x in maps.items()}
        raise KoalaError(
            f"backbone '{self.extractor.info['backbone']}' has no feature maps for photographs of any size, so it cannot "
            "be the encoder of network=pyramid: use efficientnet, convnext, inception, or a convolutional network of timm."
        )

    def _scales(self) -> dict[int, float]:
        """{stride: standard deviation of its map on noise}, as powers of 2: the same on every processor."""
        noise = _noise().to(self.extractor.mean.device)
        maps = self(noise, noise.shape[-2:])
        return {stride: 2.0 ** round(math.log2(x.std().clamp_min(1e-6).item())) for stride, x in maps.items()}


def _noise() -> torch.Tensor:
    """(8,1,128,128) in [0,1], the same each time: smooth, with contrast at every scale, like photographs."""
    count, side, generator = 8, 4 * COARSEST, torch.Generator().manual_seed(0)
    gray = torch.randn(count, 1, 1, 1, generator=generator)
    for k in (2, 4, 8, 16, 32, 64):
        gray = gray + F.interpolate(
            torch.randn(count, 1, k, k, generator=generator), (side, side), mode="bilinear"
        )
    return torch.sigmoid(gray)


def _stages(extractor) -> dict[int, str]:
    """{stride: name of the last layer at it}; KoalaError where there are fewer than three from GRID on."""
    row, net = extractor.row, extractor.net
    if row.library == "timm":
        stages = {info["reduction"]: info["module"] for info in getattr(net, "feature_info", None) or []}
    else:
        stages = STAGES.get(row.name, {})
    stages = {stride: layer for stride, layer in stages.items() if stride <= COARSEST}
    if len([stride for stride in stages if stride >= GRID]) < 3 or GRID not in stages:
        raise KoalaError(
            f"backbone '{extractor.info['backbone']}' has no feature maps at several strides, so it cannot be the encoder "
            "of network=pyramid: use efficientnet, convnext, inception, or a convolutional network of timm."
        )
    return stages


def _fill(x: torch.Tensor, H: int, W: int) -> torch.Tensor:
    """(N,C,h,w) -> (N,C,H,W): a map that convolutions without padding made smaller gets its borders repeated.

    They take as much from each side, so that positions stay where they were."""
    down, right = H - x.shape[2], W - x.shape[3]
    if not (down or right):
        return x
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")
