"""The frozen extractor as encoder: its maps are timm's own, it never moves, it is not stored, any size fits."""

import copy

import pytest
import torch
import torch.nn.functional as F

from koala import extractors, lab, losses
from koala.model import count_parameters
from koala.pyramid import Encoder, Pyramid
from koala.system.errors import KoalaError


@pytest.fixture(scope="module")
def extractor():
    return extractors.build("efficientnet", "untrained")


@pytest.fixture
def pyramid(extractor):
    torch.manual_seed(0)
    return Pyramid(extractor)


def photographs(n: int, H: int, W: int) -> torch.Tensor:
    """(n,3,H,W) uint8: smooth colours, so that there is something to learn."""
    rgb = F.interpolate(torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0)), (H, W))
    return (rgb * 255).to(torch.uint8)


def state(module) -> dict:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_trained_parameters(pyramid, extractor):
    assert count_parameters(pyramid) == 538_802
    assert sum(p.numel() for p in pyramid.parameters()) == 538_802  # the encoder's are not among them
    assert count_parameters(Pyramid(extractor, bins=100)) == 538_802 + 98 * (48 * 9 + 1)
    assert not any("encoder" in name or "net." in name for name in pyramid.state_dict())


def test_maps_are_those_of_timm(extractor):
    """Against timm's own feature network with the same weights, at strides 2 to 32."""
    import timm

    net = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False).eval()
    missing, _ = net.load_state_dict(extractor.net.state_dict(), strict=False)
    assert not missing
    gray = torch.rand(2, 1, 64, 96)
    mean, std = extractor.row.norm
    x = F.interpolate(gray, (128, 192), mode="bicubic", antialias=True).clamp(0, 1)
    x = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    maps = Encoder(extractor)(gray, (128, 192))
    assert list(maps) == [2, 4, 8, 16, 32]
    with torch.no_grad():
        for own, expected in zip(maps.values(), net(x), strict=True):
            assert torch.allclose(own, expected, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_lowers_the_loss_and_never_moves_the_encoder(pyramid, extractor, precision):
    before, trained = state(extractor), state(pyramid)
    pyramid.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(pyramid.parameters(), lr=0.002)
    rgb, loss, values = photographs(4, 32, 32), losses.build("mse"), []
    L_norm, ab_norm = lab.training_pair(rgb)
    for _ in range(6):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            output = pyramid.half(L_norm, lab.luma(rgb))
        assert output.dtype == precision
        value = loss.compute(output, ab_norm)
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad is not None for p in pyramid.parameters())
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    assert equal(state(extractor), before) and not equal(state(pyramid), trained)
    assert not any(m.training for m in extractor.net.modules())
    assert all(p.grad is None and not p.requires_grad for p in extractor.parameters())


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (72, 48), (8, 40)])
def test_any_working_size(pyramid, size):
    L_norm, gray = lab.network_inputs(photographs(2, *size))
    half = pyramid.half(L_norm, gray)
    assert half.shape == (2, 2, size[0] // 2, size[1] // 2) and half.abs().max() <= 1
    assert torch.equal(pyramid(L_norm, gray), half.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_gray_may_be_larger_than_the_working_size(pyramid):
    """The photograph at the encoder's own size, and the one at the working size that it was enlarged from."""
    L_norm, gray = lab.network_inputs(photographs(2, 32, 48))
    with torch.no_grad():
        pyramid.head[0].weight[:, -1] = 0  # its lightness, which is that of whole blocks
    enlarged = F.interpolate(gray, (64, 96), mode="bicubic", antialias=True)
    assert torch.allclose(pyramid.half(L_norm, gray), pyramid.half(L_norm, enlarged), atol=1e-5)
    assert pyramid.half(L_norm, torch.rand(2, 1, 200, 300)).shape == (2, 2, 16, 24)


def test_it_sees_one_gray_and_no_second_one(pyramid):
    """L* of a coloured photograph beside its luma would give the colour away."""
    with torch.no_grad():
        pyramid.head[-2].weight.mul_(100)
    L_norm, gray = lab.network_inputs(photographs(2, 32, 48))
    assert torch.equal(pyramid.half(L_norm, gray), pyramid.half(torch.rand_like(L_norm), gray))
    assert not torch.equal(pyramid.half(L_norm, gray), pyramid.half(L_norm, gray.flip(0)))


def test_saved_and_loaded_gives_the_same(pyramid, extractor):
    with torch.no_grad():
        pyramid.head[-2].weight.mul_(100)  # away from gray
    L_norm, gray = lab.network_inputs(photographs(2, 32, 32))
    other = Pyramid(extractor)
    assert not torch.equal(other.half(L_norm, gray), pyramid.half(L_norm, gray))
    other.load_state_dict(state(pyramid))
    assert torch.equal(other.half(L_norm, gray), pyramid.half(L_norm, gray))


def test_the_encoder_goes_where_the_network_goes(extractor):
    pyramid = Pyramid(copy.deepcopy(extractor)).to("meta")
    tensors = [*pyramid.parameters(), *pyramid.encoder.extractor.parameters(), pyramid.encoder.extractor.mean]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize(
    ("backbone", "strides"),
    [("inception", [2, 4, 8, 16, 32]), ("convnext", [4, 8, 16, 32]), ("resnet18", [2, 4, 8, 16, 32])],
)
def test_other_encoders(backbone, strides):
    pyramid = Pyramid(extractors.build(backbone, "untrained"))
    assert list(pyramid.encoder.channels) == strides
    maps = pyramid.encoder(torch.rand(1, 1, 64, 64), (128, 192))
    assert {s: x.shape[2:] for s, x in maps.items()} == {s: (128 // s, 192 // s) for s in strides}
    assert pyramid(torch.rand(1, 1, 32, 48), torch.rand(1, 1, 32, 48)).shape == (1, 2, 32, 48)


def test_inceptions_maps_keep_their_place():
    """Its convolutions without padding lose a border on each side: a spot stays where it is on the grid."""
    encoder = Encoder(extractors.build("inception", "untrained"))
    dark = torch.zeros(1, 1, 128, 128)
    for y, x in ((40, 88), (96, 32)):
        spot = dark.clone()
        spot[..., y : y + 4, x : x + 4] = 1
        for stride in (2, 4, 8):
            moved = encoder(spot, (128, 128))[stride] - encoder(dark, (128, 128))[stride]
            weight = moved[0].square().sum(0)
            places = torch.arange(len(weight)) + 0.5
            found = ((weight.sum(1) @ places) / weight.sum(), (weight.sum(0) @ places) / weight.sum())
            assert abs(found[0] * stride - y - 2) <= stride and abs(found[1] * stride - x - 2) <= stride


def test_what_cannot_be_an_encoder_is_said():
    with pytest.raises(KoalaError, match="'vit' has no feature maps at several strides"):
        Pyramid(extractors.build("vit", "untrained"))
    with pytest.raises(KoalaError, match="multiples of 8"):
        Pyramid(extractors.build("resnet18", "untrained")).half(
            torch.rand(1, 1, 30, 32), torch.rand(1, 1, 30, 32)
        )
