"""The benchmark's figure."""

import numpy as np
from matplotlib.figure import Figure

from koala.report.style import TRAIN, WIDTH, finished, style, wrapped


def speed(rows_by_size: dict) -> Figure:
    """Milliseconds per photograph of each variant as horizontal bars, one panel per size, with how many times faster it is.

    rows_by_size: label -> list of dicts variant, ms, times, as koala.experiment.benchmark.measure gives them."""
    with style():
        longest = max(len(rows) for rows in rows_by_size.values())
        figure = Figure(figsize=(WIDTH, 1.2 + 0.36 * longest), layout="constrained")
        panels = figure.subplots(1, len(rows_by_size), sharey=True, squeeze=False)[0]
        for axis, (label, rows) in zip(panels, rows_by_size.items(), strict=True):
            y = np.arange(len(rows))
            axis.barh(y, [row["ms"] for row in rows], color=TRAIN, height=0.66)
            for height, row in zip(y, rows, strict=True):
                axis.annotate(
                    f"{row['ms']:.3g} ms, {row['times']:.3g}x",
                    (row["ms"], height),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
            axis.set_yticks(y, [wrapped(row["variant"], 34) for row in rows])
            axis.set(
                xlabel="ms per photograph", title=label, ylim=(len(rows) - 0.4, -0.6)
            )  # the first line on top
            axis.margins(x=0.4)
            axis.grid(axis="y", visible=False)
        return finished(figure)
