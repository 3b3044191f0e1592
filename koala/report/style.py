"""How charts look, and how one is shown in a notebook or a report: SVG that needs no other file and no network."""

import base64
import contextlib
import functools
import html
import io
import re
import textwrap

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

WIDTH = 9.0  # inches
TRAIN, VALIDATION, TRIVIAL = "#0173b2", "#d55e00", "#6e6e6e"  # of seaborn's colour-blind palette, and a gray
LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX*"
RC = {
    "svg.hashsalt": "koala",
    "svg.fonttype": "none",  # real text: searchable, read aloud, in the reader's own font
    "font.family": ["DejaVu Sans", "sans-serif"],
    "axes.titleweight": "bold",
}


class Chart:
    """A figure for a notebook or a page: SVG, and PNG for viewers that refuse SVG of a notebook they do not trust."""

    def __init__(self, figure: Figure, alt: str = ""):
        self.figure, self.alt = figure, alt or alt_text(figure)

    @functools.cached_property
    def data(self) -> str:
        """The SVG, sharp at any size, without metadata, so that equal charts are equal files."""
        text = _saved(self.figure, "svg", dict.fromkeys(("Date", "Creator", "Format", "Type"))).decode()
        text = text[text.index("<svg") :]  # the XML header would ask an HTML page for a DTD
        label = html.escape(self.alt)
        opening = f'<svg style="max-width:100%;height:auto" role="img" aria-label="{label}" '
        head, end, rest = text.replace("<svg ", opening, 1).partition(">")
        return f"{head}{end}<title>{label}</title>{rest}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        png = base64.b64encode(_saved(self.figure, "png", None)).decode()
        metadata = {"image/png": {"width": round(self.figure.get_figwidth() * 100), "alt": self.alt}}
        return {"image/svg+xml": self.data, "image/png": png, "text/plain": self.alt}, metadata


@contextlib.contextmanager
def style():
    with sns.axes_style("whitegrid", {"grid.color": "#e6e6e6", "axes.edgecolor": "#b0b0b0"}):
        with sns.plotting_context("notebook", font_scale=0.95), mpl.rc_context(RC):
            yield


def show_svg(figure: Figure, alt: str = "") -> Chart:
    """A chart for a notebook or a report. alt: what it shows, in words; else its title and axes say it."""
    return Chart(figure, alt)


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


def alt_text(figure) -> str:
    """A figure's titles, or what its axes say."""
    titles = [text.get_text() for text in figure.texts]
    axes = [f"{axis.get_ylabel()} by {axis.get_xlabel()}" for axis in figure.axes if axis.get_xlabel()]
    titles += [axis.get_title(where) for axis in figure.axes for where in ("left", "center")]
    words = dict.fromkeys(text.replace("\n", " ").strip() for text in (*titles, *axes))
    return "; ".join(text.removeprefix("by ") for text in words if text) or "chart"


def _saved(figure, kind, metadata) -> bytes:
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=100)
    return buffer.getvalue()
