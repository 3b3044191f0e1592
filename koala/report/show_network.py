"""What train.ipynb shows of the network: a drawing made from the model itself, one batch's tensors, and source code."""

import inspect

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow, Patch, Rectangle
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from koala import lab
from koala.model import Koala
from koala.report.style import WIDTH, finished, style
from koala.training.batches import block_means

COLOURS = ("#9ecae9", "#ffbf79", "#88d27a", "#d4a6c8", "#f2cf5b")  # parts, in the order of their first layer
EXTRACTOR = "#c7c7c7"


def layers(network, size: int) -> list[tuple[str, tuple[int, ...]]]:
    """(part, shape of its output without N) of every convolution and linear layer, in the order in which they run on a
    photograph of size x size pixels."""
    seen, handles = [], []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            handles.append(module.register_forward_hook(_noting(seen, name.split(".")[0])))
    try:
        with torch.no_grad():
            network.half(*_zeros(network, size))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def architecture(network, size: int, backbone: str) -> Figure:
    """The form of the report's figure 1: a box per layer, as high as its output has pixels and as wide as it has
    channels, with the frozen extractor above the layer that its features enter."""
    flow = [(part, shape) for part, shape in layers(network, size) if len(shape) == 3]
    parts = list(dict.fromkeys(part for part, _ in flow))
    entry = next((i for i, (part, _) in enumerate(flow) if part in ("fusion", "lateral")), 0)
    with style():
        figure = Figure(figsize=(WIDTH, 3.6))
        axis = figure.add_axes((0.01, 0.02, 0.98, 0.94))
        x, middles = 0.0, []
        for part, (channels, height, width) in flow:
            wide, high = 0.35 + 0.16 * np.log2(max(channels, 1)), 0.9 + 3.2 * np.sqrt(height / size)
            colour = COLOURS[parts.index(part) % len(COLOURS)]
            axis.add_patch(Rectangle((x, -high / 2), wide, high, facecolor=colour, edgecolor="#404040"))
            axis.text(
                x + wide / 2,
                0,
                f"{channels} x {height} x {width}",
                rotation=90,
                ha="center",
                va="center",
                fontsize=9,
            )
            middles.append((x + wide / 2, high / 2))
            x += wide + 0.35
        looks = [Patch(facecolor=COLOURS[i % len(COLOURS)], edgecolor="#404040") for i in range(len(parts))]
        axis.legend(looks, parts, frameon=False, ncols=len(parts), loc="lower left")
        if backbone != "none":
            _draw_extractor(axis, middles[entry], backbone, getattr(network, "feature_dims", 0))
        axis.set(xlim=(-0.4, x), ylim=(-3.2, 4.2))
        axis.set_axis_off()
        return finished(figure, f"Layers' outputs, channels x height x width, at {size} px")


def batch_table(config, inputs, network) -> list[dict]:
    """One batch on its way through the network: shape, type and range of every tensor. inputs: koala.experiment.Inputs."""
    chosen = np.sort(inputs.rows["train"][: config.batch_size])
    stored = torch.from_numpy(np.ascontiguousarray(inputs.photos.images[chosen])).permute(0, 3, 1, 2)
    rgb, features = (
        block_means(stored, config.image_size),
        torch.from_numpy(np.asarray(inputs.features[chosen])),
    )
    (L_norm, ab_norm), luma = lab.training_pair(rgb), lab.luma(stored)
    two = isinstance(network, Koala)  # grays; a pyramid sees one
    with torch.no_grad():
        output = network.half(L_norm, features if two else luma)
    tensors = {
        "photographs, sRGB": rgb,
        "luma, what the extractor sees": luma,
        "features, what the extractor says": features,
        "L* / 50 - 1, what the encoder sees": L_norm if two else L_norm[:0],
        "a*b* / 127, the target": ab_norm,
        "output of the untrained network, at half the size": output,
    }
    return [
        {"tensor": name, "shape": str(tuple(x.shape)), "type": str(x.dtype).removeprefix("torch.")}
        | {"lowest": x.min().item(), "highest": x.max().item()}
        for name, x in tensors.items()
        if x.numel()
    ]


def source(*functions) -> HTML:
    """The functions' own source, as it runs."""
    text = "\n\n".join(map(inspect.getsource, functions))
    return HTML(highlight(text, PythonLexer(), HtmlFormatter()))


def _noting(seen: list, part: str):
    def note(module, given, output):
        seen.append((part, tuple(output.shape[1:])))

    return note


def _zeros(network, size):
    L_norm = torch.zeros(1, 1, size, size)
    if isinstance(network, Koala):
        return L_norm, torch.zeros(1, network.feature_dims)
    return L_norm, torch.full_like(L_norm, 0.5)


def _draw_extractor(axis, place, backbone, dims) -> None:
    x, top = place
    left = max(x - 2.2, -0.3)
    axis.add_patch(Rectangle((left, 3.0), 4.4, 0.8, facecolor=EXTRACTOR, edgecolor="#404040", linestyle="--"))
    axis.text(left + 2.2, 3.4, f"{backbone}, frozen", ha="center", va="center", fontsize=10)
    words = f"{dims:,} features, the same for every pixel" if dims else "its feature maps"
    axis.add_patch(
        FancyArrow(
            x, 2.95, 0, top - 2.7, width=0.02, head_width=0.22, length_includes_head=True, color="#404040"
        )
    )
    axis.text(x + 0.3, 2.5, words, ha="left", va="center", fontsize=10)
