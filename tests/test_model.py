"""The network against a literal build of the paper's table, and the identities that make it fast."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from koala.model import Koala, SameConv, count_parameters, describe, fusion_terms
from koala.system.errors import KoalaError


@pytest.mark.parametrize(
    ("dims", "parameters"), [(1001, 6_574_050), (1000, 6_573_794), (256, 6_383_330), (0, 6_317_794)]
)
def test_trainable_parameters(dims, parameters):
    assert count_parameters(Koala(dims)) == parameters
    assert describe(Koala(dims))[-1]["parameters"] == parameters


def test_shapes_follow_the_papers_table():
    model, seen = Koala(10), []
    for module in model.encoder:
        if isinstance(module, SameConv):
            module.register_forward_hook(lambda _, __, out: seen.append((out.shape[1], 64 // out.shape[2])))
    out = model(torch.rand(2, 1, 64, 48), torch.rand(2, 10))
    assert seen == [(64, 2), (128, 2), (128, 4), (256, 4), (256, 8), (512, 8), (512, 8), (256, 8)]
    assert out.shape == (2, 2, 64, 48) and out.abs().max() <= 1


def test_same_padding_is_tensorflows():
    """TF's "same" at stride 2 pads (k - s) = 1 in all, the odd one at the end: here none before, one after."""
    conv, x = SameConv(1, 1, stride=2), torch.zeros(1, 1, 8, 8)
    x[0, 0, 7, 7] = 1  # the last pixel stands at tap (1, 1) of the last window, followed by the padding
    with torch.no_grad():
        assert torch.allclose(conv(x)[0, 0, 3, 3], conv.weight[0, 0, 1, 1] + conv.bias[0])
        assert torch.allclose(conv(x), F.conv2d(F.pad(x, (0, 1, 0, 1)), conv.weight, conv.bias, stride=2))


@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_fusion_equals_the_literal_concatenation(init):
    model = Koala(30, init=init)
    encoded, features = torch.randn(3, 256, 4, 5), torch.randn(3, 30)
    literal = nn.Conv2d(286, 256, 1)
    with torch.no_grad():
        literal.weight.copy_(torch.cat([model.fusion.weight, model.embedding.weight[:, :, None, None]], 1))
        literal.bias.copy_(model.fusion.bias)
        repeated = features[:, :, None, None].expand(-1, -1, 4, 5)
        assert torch.allclose(
            model.fuse(encoded, features), literal(torch.cat([encoded, repeated], 1)), atol=1e-5
        )


def test_initial_weights_have_the_literal_fusions_scale():
    bound = (
        1 / 1256**0.5
    )  # PyTorch's default: uniform in +-1/sqrt(fan in) of the literal 1256 -> 256 convolution
    model = Koala(1000)
    for weight in (model.fusion.weight, model.embedding.weight):
        assert 0.99 * bound < weight.abs().max() <= bound
    glorot = Koala(1000, init="glorot")
    assert 0.99 < glorot.embedding.weight.abs().max() / (6 / (1256 + 256)) ** 0.5 <= 1
    assert all(not bias.any() for name, bias in glorot.named_parameters() if name.endswith("bias"))


def test_forward_is_half_repeated_and_bins_widen_the_last_layer():
    model = Koala(0, bins=7)
    L_norm = torch.rand(1, 1, 32, 32)
    half = model.half(L_norm)
    assert half.shape == (1, 7, 16, 16)
    assert torch.equal(model(L_norm), half.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_wrong_inputs_are_named():
    with pytest.raises(KoalaError, match="multiples of 8"):
        Koala(0)(torch.rand(1, 1, 30, 32))
    with pytest.raises(KoalaError, match=r"features must be \(N, 5\)"):
        Koala(5)(torch.rand(1, 1, 32, 32), torch.rand(1, 4))
    with pytest.raises(KoalaError, match="init must be"):
        Koala(5, init="orthogonal")


def test_he_keeps_the_signal_through_the_encoder():
    """By the encoder's end the other initial weights have let the signal fade to less than a tenth of its size."""
    L_norm = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sizes = {}
    for init in ("torch", "glorot", "he"):
        torch.manual_seed(0)
        model = Koala(10, init=init)
        assert init == "torch" or not any(part.bias.any() for part in model.encoder if hasattr(part, "bias"))
        sizes[init] = fusion_terms(model, L_norm, torch.randn(8, 10))["encoder_term"]
    assert sizes["he"] > 10 * max(sizes["torch"], sizes["glorot"])
