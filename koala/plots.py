"""Drawings: plain functions from arrays and DataFrames to a matplotlib Figure, and the two ways to show one.

Nothing here trains, computes a metric or touches matplotlib's global state: figures are made without pyplot, the
style holds inside a call only. Photographs are shown as JPEG without chroma subsampling, charts as SVG; both are part
of the page, so that a report needs no other file and no network.
"""

import contextlib
import io
import re
import textwrap

import matplotlib as mpl
import numpy as np
import seaborn as sns
import torch
from IPython.display import SVG, Image
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter

from koala import lab
from koala.errors import KoalaError

WIDTH = 9.0  # inches: 900 px at 100 dpi
JPEG_DPI = 110  # a little sharper than the 900 px at which it is shown
TRAIN, VALIDATION, TRIVIAL = "#0173b2", "#d55e00", "#6e6e6e"  # from seaborn's colour-blind palette, and a gray
NAMES = {"train_loss": "training loss", "val_loss": "validation loss"}


@contextlib.contextmanager
def style():
    with sns.axes_style("whitegrid", {"grid.color": "#e6e6e6", "axes.edgecolor": "#b0b0b0"}):
        with sns.plotting_context("notebook", font_scale=0.95):
            with mpl.rc_context({"svg.hashsalt": "koala", "axes.titleweight": "bold"}):
                yield


def curves(history_by_label: dict, title: str = "", untrained: bool = False) -> Figure:
    """Training and validation loss by epoch, one panel a label (figures 2-5 of the report).

    Each history: DataFrame with the columns epoch, train_loss, val_loss. One scale for all, unless the losses are of
    different kinds: where one ends at more than five times another, each panel has its own. The first epochs may lie
    above it (see _zoom)."""
    columns = min(len(history_by_label), 2)
    rows = -(-len(history_by_label) // columns)
    ends = [history["val_loss"].iloc[-1] for history in history_by_label.values()]
    comparable = max(ends) < 5 * min(ends)
    with style():
        figure = Figure(figsize=(WIDTH if columns > 1 else 7, 3.4 * rows + 0.5), layout="constrained")
        for i, (label, history) in enumerate(history_by_label.items()):
            axis = figure.add_subplot(rows, columns, i + 1, sharey=figure.axes[0] if i and comparable else None)
            _losses(axis, history)
            if comparable:
                _zoom(axis, *(one[name] for one in history_by_label.values() for name in NAMES))
            else:
                _zoom(axis, *(history[name] for name in NAMES))
            if label not in title:
                axis.set_title(wrapped(label, 40), fontsize=12, loc="left")
        figure.axes[0].legend(frameon=False)
        return finished(figure, title + (", untrained extractor" if untrained and "untrained" not in title else ""))


def live_curve(history, untrained: bool = False) -> Figure:
    """The same for one run under way: small, and quick to draw. history: DataFrame epoch, train_loss, val_loss."""
    with style():
        figure = Figure(figsize=(6, 2.6), layout="constrained")
        axis = figure.subplots()
        _losses(axis, history)
        _zoom(axis, *(history[name] for name in NAMES))
        axis.legend(frameon=False)
        axis.set_title("extractor untrained" if untrained else "")
        return finished(figure)


def compare_curves(histories: dict, metric: str = "val_loss", title: str = "") -> Figure:
    """All runs together, one colour a label: the mean over seeds, each seed as a thin line, their range as a band.

    histories: label -> DataFrame, or list of DataFrames (one a seed), with the columns epoch and `metric`. Losses of
    different kinds (mse, crossentropy) have no common scale: draw them apart."""
    with style():
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        axis = figure.subplots()
        palette = sns.color_palette("colorblind" if len(histories) <= 10 else "husl", len(histories))
        for (label, seeds), colour in zip(histories.items(), palette, strict=True):
            seeds = _same_epochs(seeds if isinstance(seeds, list | tuple) else [seeds])
            by_seed, epochs = np.stack([frame[metric] for frame in seeds]), seeds[0]["epoch"]  # (seeds, epochs)
            if len(seeds) > 1:
                axis.plot(epochs, by_seed.T, color=colour, linewidth=0.7, alpha=0.6)
                axis.fill_between(epochs, by_seed.min(0), by_seed.max(0), color=colour, alpha=0.12, linewidth=0)
            name = label + (f" ({len(seeds)} seeds)" if len(seeds) > 1 else "")
            axis.plot(epochs, by_seed.mean(0), color=colour, linewidth=2, marker="o", markersize=4, label=name)
        _epoch_axis(axis, NAMES.get(metric, metric))
        _zoom(axis, *(frame[metric] for seeds in histories.values() for frame in (seeds if isinstance(seeds, list | tuple) else [seeds])))
        _sorted_legend(figure, axis)
        return finished(figure, title)


def bars(table, metric: str, title: str = "") -> Figure:
    """Mean and interval of every method as a point with a bar; trivial baselines gray and apart, above the methods.

    table: DataFrame with the columns method, mean, low, high (NaN: no interval) and baseline (True or False). Methods at
    more than 1.5 times the worst baseline stand as a number at the edge: else they would press all others together."""
    table = table.sort_values("baseline", ascending=False, kind="stable")
    trivial = table["baseline"].to_numpy(bool)
    inside = table["mean"].to_numpy() <= 1.5 * table["mean"][trivial].max() if trivial.any() else np.full(len(table), True)
    y = np.arange(len(table)) + 0.6 * ~trivial
    colours = np.where(trivial, TRIVIAL, TRAIN)
    with style():
        figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * len(table)), layout="constrained")
        axis = figure.subplots()
        axis.hlines(y[inside], table["low"][inside], table["high"][inside], colors=colours[inside], linewidth=3, alpha=0.5)
        axis.scatter(table["mean"][inside], y[inside], c=colours[inside], s=46, zorder=3)
        for height, (_, row), colour, there in zip(y, table.iterrows(), colours, inside, strict=True):
            text, right = f"{row['mean']:.2f}", np.nanmax([row["mean"], row["high"]])
            if there:
                axis.annotate(text, (right, height), (8, 0), textcoords="offset points", va="center", color=colour)
            else:
                axis.annotate(f"{text}, off the scale \u2192", (0.99, height), xycoords=("axes fraction", "data"), ha="right", va="center", color=colour)
        axis.set_yticks(y, [wrapped(text, 38) for text in table["method"]])
        axis.set(ylim=(y[-1] + 0.7, -0.7), xlabel=metric)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.12)
        if trivial.any() and not trivial.all():
            axis.axhline(trivial.sum() - 0.2, color="#b0b0b0", linewidth=1, linestyle=":")
        sns.despine(ax=axis, left=True)
        return finished(figure, title)


def ab_density(ab, title: str = "") -> Figure:
    """How often each a*b* occurs, (M,2) or (N,2,H,W), on a logarithmic scale, with the outline of what sRGB can show."""
    ab = np.asarray(ab, dtype=np.float32)
    ab = np.moveaxis(ab, 1, -1).reshape(-1, 2)
    edges = np.arange(-119, 121, 2)
    counts, _, _ = np.histogram2d(ab[:, 1], ab[:, 0], bins=(edges, edges))  # rows b*, columns a*
    inside = gaussian_filter(np.histogram2d(*lab.gamut_bins(2).flip(1).numpy().T, bins=(edges, edges))[0], 1)
    with style():
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        axis = figure.subplots()
        mesh = axis.pcolormesh(edges, edges, np.ma.masked_equal(counts, 0) / max(len(ab), 1), norm=LogNorm(), cmap="rocket_r", rasterized=True)
        centres = edges[:-1] + 1
        axis.contour(centres, centres, inside, levels=[0.5], colors="#404040", linewidths=1.2)
        axis.set(aspect="equal", xlabel="a*: green to red", ylabel="b*: blue to yellow", xlim=(-112, 112), ylim=(-112, 112))
        figure.colorbar(mesh, label="share of pixels", shrink=0.9)
        return finished(figure, title)


def batch(rgb, title: str = "") -> Figure:
    """(N,3,H,W) uint8: the photographs, and what the networks get of them: L* (encoder) and luma (extractor)."""
    rgb = torch.as_tensor(np.ascontiguousarray(rgb))
    L_norm, gray = lab.network_inputs(rgb)
    lightness = lab.to_rgb(L_norm, torch.zeros_like(L_norm).expand(-1, 2, -1, -1))
    luma = (gray * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    tiles = torch.stack([rgb, lightness, luma]).permute(0, 1, 3, 4, 2).numpy()  # (3, N, H, W, 3)
    names = ["photograph", "L*, for the encoder", "luma, for the extractor"]
    return _photographs(tiles, names, [""] * len(rgb), title)


def grid(columns: dict, rows: list[str], title: str = "") -> Figure:
    """Photographs side by side (figure 6 of the report): columns label -> (N,H,W,3) uint8, a caption for each row."""
    pictures = [np.asarray(column) for column in columns.values()]
    if not pictures or any(p.shape != pictures[0].shape or p.dtype != np.uint8 or len(p) != len(rows) for p in pictures):
        shapes = ", ".join(f"{label} {p.shape} {p.dtype}" for label, p in zip(columns, pictures, strict=True))
        raise KoalaError(f"grid: every column must be ({len(rows)},H,W,3) uint8, as many as captions; got {shapes or 'none'}.")
    return _photographs(np.stack(pictures, 1), rows, list(columns), title)


def show_svg(figure: Figure) -> SVG:
    """A chart for a notebook or a report: sharp at any size, without metadata, so that equal charts are equal files."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg"):]  # the XML header would ask an HTML page for a DTD
    return SVG(text.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1), metadata={"alt": _alt(figure)})


def show_jpeg(picture, quality: int = 85) -> Image:
    """A Figure, or one photograph (H,W,3) uint8, for a notebook or a report: JPEG with every pixel's own colour
    (4:4:4), since the usual halving of the colour planes would blur just what is compared here."""
    if isinstance(picture, Figure):
        with style():
            picture.savefig(drawn := io.BytesIO(), format="png", dpi=JPEG_DPI)
        image, width, alt = Picture.open(drawn).convert("RGB"), round(picture.get_figwidth() * 100), _alt(picture)
    else:
        image, alt = Picture.fromarray(np.asarray(picture)), "photograph"
        width = min(max(image.width, 256), 900)
    image.save(buffer := io.BytesIO(), "JPEG", quality=quality, subsampling=0, optimize=True)
    return Image(data=buffer.getvalue(), format="jpeg", width=width, alt=alt)


def _photographs(tiles, rows, columns, title) -> Figure:
    # One picture for all tiles: many small axes would be slow and never align to the pixel.
    R, C, H, W, _ = tiles.shape
    left = 1.25 if any(rows) else 0.05  # inches; tiles are in pixels, 4 apart
    wide = int(min((WIDTH - left - 0.05) / C, max(1.6, W / JPEG_DPI)) * JPEG_DPI - 4)
    size = (wide, max(1, wide * H // W))
    canvas = np.full((R * (size[1] + 4), C * (size[0] + 4), 3), 255, np.uint8)
    for r, c in np.ndindex(R, C):
        y, x = r * (size[1] + 4), c * (size[0] + 4)
        tile = Picture.fromarray(tiles[r, c]).resize(size, Picture.Resampling.BICUBIC)
        canvas[y:y + size[1], x:x + size[0]] = np.asarray(tile)
    inches = size[0] / JPEG_DPI
    longest = max((len(word) for text in columns for word in _loose(text).split()), default=1)
    small = min(10, max(6.5, 72 * inches / (0.62 * longest)))  # points at which the longest word is as wide as a tile
    heads = [wrapped(text, int(inches * 11)) for text in columns]
    top = 0.12 + 0.17 * max(head.count("\n") + bool(head) for head in heads) + (0.3 if title else 0)
    width, height = left + canvas.shape[1] / JPEG_DPI, top + canvas.shape[0] / JPEG_DPI
    figure = Figure(figsize=(width, height), dpi=JPEG_DPI)
    with style():
        figure.text(0.04 / width, 1 - 0.08 / height, title, va="top", fontsize=13, weight="bold")
        figure.figimage(canvas, round(left * JPEG_DPI), 0, origin="upper")
        for c, head in enumerate(heads):
            x = left + (c * (size[0] + 4) + size[0] / 2) / JPEG_DPI
            figure.text(x / width, 1 - (top - 0.06) / height, head, ha="center", va="bottom", fontsize=small)
        for r, text in enumerate(rows):
            y = top + (r * (size[1] + 4) + size[1] / 2) / JPEG_DPI
            figure.text(0.04 / width, 1 - y / height, wrapped(text, 15), va="center", fontsize=10)
    return figure


def _losses(axis, history):
    for column, colour in (("train_loss", TRAIN), ("val_loss", VALIDATION)):
        axis.plot(history["epoch"], history[column], color=colour, marker="o", markersize=4, label=NAMES[column])
    _epoch_axis(axis, "loss")


def _zoom(axis, *series):
    """Cut the axis above what the losses do after the first epoch, where that would hide it: the start is often many
    times the rest. Says so at the axis."""
    later = [value for one in series for value in list(one)[1:]]
    highest = max(max(one) for one in series)
    if not later or max(map(len, series)) < 4 or not np.isfinite([*later, highest]).all():
        return
    low, high = min(min(one) for one in series), max(later)
    if highest > high + 0.5 * (high - low) > low:
        axis.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        axis.set_ylabel(f"{axis.get_ylabel()} (start cut off)")


def _epoch_axis(axis, name):
    axis.set(xlabel="epoch", ylabel=name)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.despine(ax=axis)


def _same_epochs(frames):
    return [frame.head(min(map(len, frames))) for frame in frames]


def _sorted_legend(figure, axis):
    # In the order in which the lines end, so that the eye finds them.
    handles, labels = axis.get_legend_handles_labels()
    order = np.argsort([-handle.get_ydata()[-1] for handle in handles], kind="stable")
    labels = [wrapped(label, 34) for label in labels]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure.set_figheight(max(figure.get_figheight(), 0.6 + 0.22 * lines))
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside right upper", frameon=False)


def _alt(figure):
    return "; ".join(text.get_text().replace("\n", " ") for text in figure.texts if text.get_text()) or "chart"


def wrapped(text, width):
    lines = textwrap.wrap(_loose(text), max(width, 8), break_long_words=False, break_on_hyphens=False)
    return "\n".join(re.sub(r"(?<=\w)- (?=\w)", "-", line) for line in lines)


def _loose(text):
    """With a space where a name may be broken: after a hyphen, but not after the one of 1-inception."""
    return re.sub(r"(?<=\w{4})-(?=\w)", "- ", text)


def finished(figure, title=""):
    if title:
        figure.suptitle(title, weight="bold", fontsize=13, x=0.01, ha="left")
    figure.draw_without_rendering()  # inside the style, since ticks are made while drawing
    return figure
