"""Charts of losses and metrics: plain functions from arrays and DataFrames to a matplotlib Figure.

Nothing here trains, computes a metric or touches matplotlib's global state: figures are made without pyplot, and the
style holds inside a call only. Lines differ in dash and marker as well as in colour, and are named at their ends.
"""

import itertools
import math

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from koala.report.interval_charts import against, bars, forest
from koala.report.style import LINES, MARKERS, TRAIN, VALIDATION, WIDTH, finished, show_svg, style, wrapped

__all__ = ["against", "bars", "compare_curves", "curves", "forest", "live_curve", "show_svg"]
NAMES = {"train_loss": "training loss", "val_loss": "validation loss"}
TOGETHER = 8  # lines in one panel
CUT = 5  # an axis is cut where the first epochs lie above so many times the rest


def curves(history_by_label: dict, title: str = "", untrained: bool = False) -> Figure:
    """Training and validation loss by epoch, one panel per label (figures 2-5 of the report).

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
            shared = figure.axes[0] if i and comparable else None
            axis = figure.add_subplot(rows, columns, i + 1, sharey=shared)
            _losses(axis, history)
            together = history_by_label.values() if comparable else [history]
            _zoom(axis, *(one[name] for one in together for name in NAMES))
            if label not in title:
                axis.set_title(wrapped(label, 40), fontsize=12, loc="left")
        figure.axes[0].legend(frameon=False)
        return finished(figure, title + ", untrained extractor" * (untrained and "untrained" not in title))


def live_curve(history, untrained: bool = False) -> Figure:
    """The same for one run under way: small, and quick to draw. history: DataFrame epoch, train_loss, val_loss."""
    with style():
        figure = Figure(figsize=(6, 2.6), layout="constrained")
        axis = figure.subplots()
        _losses(axis, history)
        _zoom(axis, *(history[name] for name in NAMES))
        axis.legend(frameon=False)
        axis.set_title("untrained extractor" if untrained else "")
        return finished(figure)


def compare_curves(histories: dict, metric: str = "val_loss", title: str = "") -> Figure:
    """All runs together, one line per label, named at its end: the mean over seeds, each seed as a thin line, their
    range as a band. More than TOGETHER stand in several panels of one scale.

    A DataFrame with the columns low and high has these as its band. histories: label -> DataFrame, or list of
    DataFrames (one per seed), with the columns epoch and `metric`. Losses of different kinds (mse, crossentropy) have
    no common scale: draw them apart."""
    by_label = {k: list(v) if isinstance(v, list | tuple) else [v] for k, v in histories.items()}
    count = math.ceil(len(by_label) / TOGETHER)
    each = math.ceil(len(by_label) / count)
    looks = list(zip(itertools.cycle(LINES), sns.color_palette("colorblind", TOGETHER), MARKERS))
    with style():
        figure = Figure(figsize=(WIDTH, 4.6 * count), layout="constrained")
        axes = figure.subplots(count, sharey=True, squeeze=False)[:, 0]
        for i, (label, seeds) in enumerate(by_label.items()):
            _mean_and_seeds(axes[i // each], label, _same_epochs(seeds), metric, *looks[i % each])
        for axis in axes:
            _epoch_axis(axis, NAMES.get(metric, metric))
        for axis in axes:  # once all have their scale
            _zoom(axis, *(frame[metric] for seeds in by_label.values() for frame in seeds))
            _name_at_ends(axis)
        return finished(figure, title)


def _losses(axis, history):
    looks = (("train_loss", TRAIN, "o", "-"), ("val_loss", VALIDATION, "s", "--"))
    for column, colour, marker, line in looks:
        look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
        axis.plot(history["epoch"], history[column], label=NAMES[column], **look)
    _epoch_axis(axis, "loss")


def _mean_and_seeds(axis, label, seeds, metric, line, colour, marker) -> None:
    by_seed, epochs = np.stack([frame[metric] for frame in seeds]), seeds[0]["epoch"]  # (seeds, epochs)
    if {"low", "high"} <= set(seeds[0]):  # an interval
        axis.fill_between(epochs, seeds[0]["low"], seeds[0]["high"], color=colour, alpha=0.12, linewidth=0)
    if len(seeds) > 1:
        axis.plot(epochs, by_seed.T, color=colour, linewidth=0.7, alpha=0.6)
        axis.fill_between(epochs, by_seed.min(0), by_seed.max(0), color=colour, alpha=0.12, linewidth=0)
    name = label + f" ({len(seeds)} seeds)" * (len(seeds) > 1)
    look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4, "linewidth": 2}
    axis.plot(epochs, by_seed.mean(0), label=name, **look)


def _zoom(axis, *series):
    """Cut the axis above what the losses do after the first epoch, where the start is more than CUT times the rest:
    it would hide them. An arrow gives the highest value."""
    later = [value for one in series for value in list(one)[1:]]
    highest = max(max(one) for one in series)
    if not later or max(map(len, series)) < 4 or not np.isfinite([*later, highest]).all():
        return
    low, high = min(min(one) for one in series), max(later)
    if high > low and highest > (CUT * high if high > 0 else low + CUT * (high - low)):
        axis.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        axis.set_ylabel(f"{axis.get_ylabel()} (start cut off)")
        axis.annotate(f"\u2191 {highest:.3g}", (0.01, 0.97), xycoords="axes fraction", va="top")


def _epoch_axis(axis, name):
    axis.set(xlabel="epoch", ylabel=name)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    last = max(line.get_xdata()[-1] for line in axis.lines)
    axis.set_xlim(0.5, last + 0.5)
    sns.despine(ax=axis)


def _same_epochs(frames):
    return [frame.head(min(map(len, frames))) for frame in frames]


def _name_at_ends(axis) -> None:
    """Each line's label beside its last point, in the order of the ends and pushed apart where they would touch."""
    lines = [line for line in axis.lines if not line.get_label().startswith("_")]
    low, high = axis.get_ylim()
    # places in the axes' own height, from the top; labels take a fixed share of it
    ends = sorted(lines, key=lambda line: -line.get_ydata()[-1])
    tall = axis.figure.get_figheight() / len(axis.figure.axes) - 0.9  # inches
    step, y = min(0.26 / tall, 1 / max(len(ends), 1)), 1.0 + 1
    for number, line in enumerate(ends):
        at = np.clip((line.get_ydata()[-1] - low) / (high - low), 0, 1)
        y = max(min(at, y - step), step * (len(ends) - number - 1))
        axis.annotate(
            wrapped(line.get_label(), 60),
            (line.get_xdata()[-1], np.clip(line.get_ydata()[-1], low, high)),
            (1.03, y),
            textcoords="axes fraction",
            va="center",
            color=line.get_color(),
            fontsize=10,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.6, "shrinkB": 3},
        )
