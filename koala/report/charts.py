"""Charts of losses and metrics: plain functions from arrays and DataFrames to a matplotlib Figure.

Nothing here trains, computes a metric or touches matplotlib's global state: figures are made without pyplot, and the
style holds inside a call only. Lines differ in dash and marker as well as in colour, and are named at their ends.
"""

import itertools

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from koala.report.style import (
    LINES,
    MARKERS,
    TRAIN,
    TRIVIAL,
    VALIDATION,
    WIDTH,
    finished,
    show_svg,
    style,
    wrapped,
)

__all__ = ["against", "bars", "compare_curves", "curves", "forest", "live_curve", "show_svg"]
NAMES = {"train_loss": "training loss", "val_loss": "validation loss"}
ENDS = ("low", "difference", "high")
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
    range as a band.

    histories: label -> DataFrame, or list of DataFrames (one per seed), with the columns epoch and `metric`. Losses of
    different kinds (mse, crossentropy) have no common scale: draw them apart."""
    by_label = {k: list(v) if isinstance(v, list | tuple) else [v] for k, v in histories.items()}
    looks = itertools.product(LINES, sns.color_palette("colorblind", 8))
    with style():
        figure = Figure(figsize=(WIDTH, max(4.6, 0.6 + 0.26 * len(histories))), layout="constrained")
        axis = figure.subplots()
        for i, (label, seeds) in enumerate(by_label.items()):
            line, colour = next(looks)
            _mean_and_seeds(axis, label, _same_epochs(seeds), metric, line, colour, MARKERS[i % len(MARKERS)])
        _epoch_axis(axis, NAMES.get(metric, metric))
        _zoom(axis, *(frame[metric] for seeds in by_label.values() for frame in seeds))
        _name_at_ends(axis)
        return finished(figure, title)


def bars(table, metric: str, title: str = "") -> Figure:
    """Mean and interval of every method as a point with a bar; trivial baselines gray and apart, above the methods.

    table: DataFrame with the columns method, mean, low, high (NaN: no interval) and baseline (True or False). Methods at
    more than 1.5 times the worst baseline stand as a number at the edge: else they would press all others together."""
    table = table.sort_values("baseline", ascending=False, kind="stable")
    trivial = table["baseline"].to_numpy(bool)
    limit = 1.5 * table["mean"][trivial].max() if trivial.any() else np.inf
    y = np.arange(len(table)) + 0.6 * ~trivial
    with style():
        figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * len(table)), layout="constrained")
        axis = figure.subplots()
        for height, (_, row), gray in zip(y, table.iterrows(), trivial, strict=True):
            _point(axis, height, row, TRIVIAL if gray else TRAIN, "s" if gray else "o", "{:.2f}", limit)
        axis.set_yticks(y, [wrapped(text, 38) for text in table["method"]])
        axis.set(ylim=(y[-1] + 0.7, -0.7), xlabel=metric)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.12)
        if trivial.any() and not trivial.all():
            axis.axhline(trivial.sum() - 0.2, color="#b0b0b0", linewidth=1, linestyle=":")
        sns.despine(ax=axis, left=True)
        return finished(figure, title)


def forest(groups: dict, metric: str, title: str = "") -> Figure:
    """Paired differences with their intervals about a line at zero, group by group.

    groups: heading -> list of dicts label, difference, low, high, and `kind`: "extractor" (drawn blue and round) or
    anything else (a control: gray and square). Left of zero is better."""
    heights, y = [], 0.0
    for rows in groups.values():
        heights.append(np.arange(len(rows)) + y + 0.9 * bool(len(groups) > 1))
        y = heights[-1][-1] + 1.2
    ends = [
        abs(row[end])
        for rows in groups.values()
        for row in rows
        if row["kind"] == "extractor"
        for end in ENDS
    ]
    limit = 2.5 * max(ends, default=np.inf)
    with style():
        figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * y), layout="constrained")
        axis = figure.subplots()
        axis.axvline(0, color="#404040", linewidth=1)
        names = []
        for (heading, rows), places in zip(groups.items(), heights, strict=True):
            if len(groups) > 1:
                place = (0.005, places[0] - 0.85)
                axis.annotate(heading, place, xycoords=("axes fraction", "data"), va="center", weight="bold")
            for height, row in zip(places, rows, strict=True):
                blue = row["kind"] == "extractor"
                look = (TRAIN, "o") if blue else (TRIVIAL, "s")
                _point(axis, height, {**row, "mean": row["difference"]}, *look, "{:+.2f}", limit)
                names.append((height, wrapped(row["label"], 44)))
        axis.set_yticks(*zip(*names, strict=True))
        axis.set(ylim=(y, -0.7), xlabel=metric)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.16)
        sns.despine(ax=axis, left=True)
        return finished(figure, title)


def against(table, metric: str, costs: dict[str, str]) -> Figure:
    """A metric against what it costs: one panel for each of `costs` (column -> its name), one marker for each line.

    table: DataFrame with the columns label, mean, low, high (NaN: no interval) and those of `costs`."""
    looks = list(
        zip(itertools.cycle(MARKERS), itertools.cycle(sns.color_palette("colorblind", 10)), range(len(table)))
    )
    with style():
        figure = Figure(figsize=(WIDTH, 3.6 + 0.14 * len(table)), layout="constrained")
        for axis, (column, name) in zip(
            figure.subplots(1, len(costs), sharey=True), costs.items(), strict=True
        ):
            for (marker, colour, _), row in zip(looks, table.to_dict("records"), strict=True):
                axis.vlines(row[column], row["low"], row["high"], colors=[colour], linewidth=2, alpha=0.5)
                axis.scatter(
                    row[column], row["mean"], color=colour, marker=marker, s=46, zorder=3, label=row["label"]
                )
            axis.set(xlabel=name, xlim=(0, None))
        figure.axes[0].set_ylabel(metric)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        return finished(figure)


def _point(axis, height, row, colour, marker, digits, limit) -> None:
    """A mean with its interval and number; beyond `limit` the number alone, at the edge."""
    text = digits.format(row["mean"]).replace("-", "\N{MINUS SIGN}")
    if abs(row["mean"]) > limit:
        right = row["mean"] > 0
        look = {"ha": "right" if right else "left", "va": "center", "color": colour}
        words = f"{text}, off the scale \u2192" if right else f"\u2190 {text}, off the scale"
        axis.annotate(words, (0.99 if right else 0.01, height), xycoords=("axes fraction", "data"), **look)
        return
    axis.hlines(height, row["low"], row["high"], colors=colour, linewidth=3, alpha=0.5)
    axis.scatter(row["mean"], height, c=colour, s=46, marker=marker, zorder=3)
    right = np.nanmax([row["mean"], row["high"]])
    axis.annotate(text, (right, height), (8, 0), textcoords="offset points", va="center", color=colour)


def _losses(axis, history):
    looks = (("train_loss", TRAIN, "o", "-"), ("val_loss", VALIDATION, "s", "--"))
    for column, colour, marker, line in looks:
        look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
        axis.plot(history["epoch"], history[column], label=NAMES[column], **look)
    _epoch_axis(axis, "loss")


def _mean_and_seeds(axis, label, seeds, metric, line, colour, marker) -> None:
    by_seed, epochs = np.stack([frame[metric] for frame in seeds]), seeds[0]["epoch"]  # (seeds, epochs)
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
    step, y = min(0.26 / (axis.figure.get_figheight() - 0.9), 1 / max(len(ends), 1)), 1.0 + 1
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
