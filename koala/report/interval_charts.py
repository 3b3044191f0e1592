"""Charts of means and differences with their intervals: a point with a bar each, beside its number.

Notebooks take them from koala.report.charts."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from koala.report.style import MARKERS, TRAIN, TRIVIAL, WIDTH, finished, style, wrapped

ENDS = ("low", "difference", "high")
LETTERS = 44  # in a line of a difference's label
# Of a difference (koala.report.pairs.compared): its colour and marker; a control's is gray and square
KINDS = {"extractor": (TRAIN, "o"), "content": (TRAIN, "D")}


def bars(table, metric: str, title: str = "") -> Figure:
    """Mean and interval of every method as a point with a bar; trivial baselines gray and apart, above the methods.

    table: DataFrame with the columns method, mean, low, high (NaN: no interval) and baseline (True or False). Methods at
    more than 1.5 times the worst baseline stand as a number at the edge: else they would press all others together."""
    table = table.sort_values("baseline", ascending=False, kind="stable")
    trivial = table["baseline"].to_numpy(bool)
    limit = 1.5 * table["mean"][trivial].max() if trivial.any() else np.inf
    y = np.arange(len(table)) + 0.6 * ~trivial
    with style():
        names = [wrapped(text, 38) for text in table["method"]]
        tall = max(0.42, 0.19 * max(name.count("\n") + 1 for name in names))
        figure = Figure(figsize=(WIDTH, 1.4 + tall * len(table)), layout="constrained")
        axis = figure.subplots()
        for height, (_, row), gray in zip(y, table.iterrows(), trivial, strict=True):
            _point(axis, height, row, TRIVIAL if gray else TRAIN, "s" if gray else "o", "{:.2f}", limit)
        axis.set_yticks(y, names)
        axis.set(ylim=(y[-1] + 0.7, -0.7), xlabel=metric)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.12)
        if trivial.any() and not trivial.all():
            axis.axhline(trivial.sum() - 0.2, color="#b0b0b0", linewidth=1, linestyle=":")
        sns.despine(ax=axis, left=True)
        return finished(figure, title)


def forest(groups: dict, metric: str) -> Figure:
    """Paired differences with their intervals about a line at zero, group by group.

    groups: heading -> list of dicts label, difference, low, high, kind, and seeds where these are counted: one is hollow. Left
    of zero is better."""
    heights, y = [], 0.0
    for rows in groups.values():
        tall = [max(1, 0.62 * _lines(row["label"])) for row in rows]  # of each row, in rows of one line
        places = np.cumsum(tall) - np.array(tall) / 2 - 0.5
        heights.append(places + y + 0.9 * bool(len(groups) > 1))
        y = heights[-1][-1] + tall[-1] / 2 + 0.7
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
                look = KINDS.get(row["kind"], (TRIVIAL, "s"))
                alone = row.get("seeds") == 1
                _point(axis, height, {**row, "mean": row["difference"]}, *look, "{:+z.2f}", limit, alone)
                names.append((height, wrapped(row["label"], LETTERS)))
        axis.set_yticks(*zip(*names, strict=True))
        axis.set(ylim=(y, -0.7), xlabel=metric)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.16)
        sns.despine(ax=axis, left=True)
        return finished(figure)


def against(table, metric: str, costs: dict[str, str]) -> Figure:
    """A metric against what it costs: one panel for each of `costs` (column -> its name), one marker for each line.

    table: DataFrame with the columns label, mean, low, high (NaN: no interval) and those of `costs`."""
    colours = sns.color_palette("colorblind", 10)
    looks = [(MARKERS[i % len(MARKERS)], colours[i % len(colours)]) for i in range(len(table))]
    with style():
        figure = Figure(figsize=(WIDTH, 3.6 + 0.14 * len(table)), layout="constrained")
        for axis, (column, name) in zip(
            figure.subplots(1, len(costs), sharey=True), costs.items(), strict=True
        ):
            for (marker, colour), row in zip(looks, table.to_dict("records"), strict=True):
                axis.vlines(row[column], row["low"], row["high"], colors=[colour], linewidth=2, alpha=0.5)
                axis.scatter(
                    row[column], row["mean"], color=colour, marker=marker, s=46, zorder=3, label=row["label"]
                )
            axis.set(xlabel=name, xlim=(0, 1.1 * table[column].max()))
        figure.axes[0].set_ylabel(metric)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        return finished(figure)


def _lines(label: str) -> int:
    return wrapped(label, LETTERS).count("\n") + 1


def _point(axis, height, row, colour, marker, digits, limit, hollow=False) -> None:
    """A mean with its interval and number; beyond `limit` the number alone, at the edge."""
    text = digits.format(row["mean"]).replace("-", "\N{MINUS SIGN}")
    if abs(row["mean"]) > limit:
        right = row["mean"] > 0
        look = {"ha": "right" if right else "left", "va": "center", "color": colour}
        words = f"{text}, off the scale \u2192" if right else f"\u2190 {text}, off the scale"
        axis.annotate(words, (0.99 if right else 0.01, height), xycoords=("axes fraction", "data"), **look)
        return
    axis.hlines(height, row["low"], row["high"], colors=colour, linewidth=3, alpha=0.5)
    axis.scatter(
        row["mean"], height, c="white" if hollow else colour, edgecolors=colour, s=46, marker=marker, zorder=3
    )
    right = np.nanmax([row["mean"], row["high"]])
    look = {"va": "center", "color": colour, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}
    axis.annotate(text, (right, height), (8, 0), textcoords="offset points", **look)
