"""Charts of losses and metrics: plain functions from arrays and DataFrames to a matplotlib Figure.

Nothing here trains, computes a metric or touches matplotlib's global state: figures are made without pyplot, and the
style holds inside a call only.
"""

import numpy as np
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from koala import lab
from koala.report.style import TRAIN, TRIVIAL, VALIDATION, WIDTH, finished, show_svg, style, wrapped

__all__ = ["ab_density", "bars", "compare_curves", "curves", "live_curve", "show_svg"]
NAMES = {"train_loss": "training loss", "val_loss": "validation loss"}


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
            axis = figure.add_subplot(
                rows, columns, i + 1, sharey=figure.axes[0] if i and comparable else None
            )
            _losses(axis, history)
            if comparable:
                _zoom(axis, *(one[name] for one in history_by_label.values() for name in NAMES))
            else:
                _zoom(axis, *(history[name] for name in NAMES))
            if label not in title:
                axis.set_title(wrapped(label, 40), fontsize=12, loc="left")
        figure.axes[0].legend(frameon=False)
        return finished(
            figure, title + (", untrained extractor" if untrained and "untrained" not in title else "")
        )


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
            by_seed, epochs = (
                np.stack([frame[metric] for frame in seeds]),
                seeds[0]["epoch"],
            )  # (seeds, epochs)
            if len(seeds) > 1:
                axis.plot(epochs, by_seed.T, color=colour, linewidth=0.7, alpha=0.6)
                axis.fill_between(
                    epochs, by_seed.min(0), by_seed.max(0), color=colour, alpha=0.12, linewidth=0
                )
            name = label + (f" ({len(seeds)} seeds)" if len(seeds) > 1 else "")
            axis.plot(
                epochs, by_seed.mean(0), color=colour, linewidth=2, marker="o", markersize=4, label=name
            )
        _epoch_axis(axis, NAMES.get(metric, metric))
        _zoom(
            axis,
            *(
                frame[metric]
                for seeds in histories.values()
                for frame in (seeds if isinstance(seeds, list | tuple) else [seeds])
            ),
        )
        _sorted_legend(figure, axis)
        return finished(figure, title)


def bars(table, metric: str, title: str = "") -> Figure:
    """Mean and interval of every method as a point with a bar; trivial baselines gray and apart, above the methods.

    table: DataFrame with the columns method, mean, low, high (NaN: no interval) and baseline (True or False). Methods at
    more than 1.5 times the worst baseline stand as a number at the edge: else they would press all others together."""
    table = table.sort_values("baseline", ascending=False, kind="stable")
    trivial = table["baseline"].to_numpy(bool)
    inside = (
        table["mean"].to_numpy() <= 1.5 * table["mean"][trivial].max()
        if trivial.any()
        else np.full(len(table), True)
    )
    y = np.arange(len(table)) + 0.6 * ~trivial
    colours = np.where(trivial, TRIVIAL, TRAIN)
    with style():
        figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * len(table)), layout="constrained")
        axis = figure.subplots()
        axis.hlines(
            y[inside],
            table["low"][inside],
            table["high"][inside],
            colors=colours[inside],
            linewidth=3,
            alpha=0.5,
        )
        axis.scatter(table["mean"][inside], y[inside], c=colours[inside], s=46, zorder=3)
        for height, (_, row), colour, there in zip(y, table.iterrows(), colours, inside, strict=True):
            text, right = f"{row['mean']:.2f}", np.nanmax([row["mean"], row["high"]])
            if there:
                axis.annotate(
                    text, (right, height), (8, 0), textcoords="offset points", va="center", color=colour
                )
            else:
                axis.annotate(
                    f"{text}, off the scale \u2192",
                    (0.99, height),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="center",
                    color=colour,
                )
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
        mesh = axis.pcolormesh(
            edges,
            edges,
            np.ma.masked_equal(counts, 0) / max(len(ab), 1),
            norm=LogNorm(),
            cmap="rocket_r",
            rasterized=True,
        )
        centres = edges[:-1] + 1
        axis.contour(centres, centres, inside, levels=[0.5], colors="#404040", linewidths=1.2)
        axis.set(
            aspect="equal",
            xlabel="a*: green to red",
            ylabel="b*: blue to yellow",
            xlim=(-112, 112),
            ylim=(-112, 112),
        )
        figure.colorbar(mesh, label="share of pixels", shrink=0.9)
        return finished(figure, title)


def _losses(axis, history):
    for column, colour in (("train_loss", TRAIN), ("val_loss", VALIDATION)):
        axis.plot(
            history["epoch"], history[column], color=colour, marker="o", markersize=4, label=NAMES[column]
        )
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
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside right upper", frameon=False
    )
