"""How charts look, and how one is shown in a notebook or a report: SVG that needs no other file and no network."""

import contextlib
import io
import re
import textwrap

import matplotlib as mpl
import seaborn as sns
from IPython.display import SVG
from matplotlib.figure import Figure

WIDTH = 9.0  # inches: 900 px at 100 dpi
TRAIN, VALIDATION, TRIVIAL = (
    "#0173b2",
    "#d55e00",
    "#6e6e6e",
)  # from seaborn's colour-blind palette, and a gray


@contextlib.contextmanager
def style():
    with sns.axes_style("whitegrid", {"grid.color": "#e6e6e6", "axes.edgecolor": "#b0b0b0"}):
        with sns.plotting_context("notebook", font_scale=0.95):
            with mpl.rc_context({"svg.hashsalt": "koala", "axes.titleweight": "bold"}):
                yield


def show_svg(figure: Figure) -> SVG:
    """A chart for a notebook or a report: sharp at any size, without metadata, so that equal charts are equal files."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # the XML header would ask an HTML page for a DTD
    return SVG(
        text.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1),
        metadata={"alt": alt_text(figure)},
    )


def finished(figure, title=""):
    if title:
        figure.suptitle(title, weight="bold", fontsize=13, x=0.01, ha="left")
    figure.draw_without_rendering()  # inside the style, since ticks are made while drawing
    return figure


def wrapped(text, width):
    lines = textwrap.wrap(loose(text), max(width, 8), break_long_words=False, break_on_hyphens=False)
    return "\n".join(re.sub(r"(?<=\w)- (?=\w)", "-", line) for line in lines)


def loose(text):
    """With a space where a name may be broken: after a hyphen, but not after the one of 1-inception."""
    return re.sub(r"(?<=\w{4})-(?=\w)", "- ", text)


def alt_text(figure):
    return (
        "; ".join(text.get_text().replace("\n", " ") for text in figure.texts if text.get_text()) or "chart"
    )
