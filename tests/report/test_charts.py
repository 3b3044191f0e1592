"""Plots: what is drawn is what was given, nothing global changes, and the files are small and load nothing."""

import base64
import io
import itertools
import re
from xml.etree import ElementTree

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from nbconvert import HTMLExporter
from PIL import Image
from skimage import color, data

from koala import lab
from koala.report import charts, data_charts, pictures, style
from koala.system.errors import KoalaError


def history(epochs=5, level=0.012):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {"epoch": epoch, "train_loss": level + 0.004 / epoch, "val_loss": level + 0.005 / epoch}
    )


def photos(n=3, size=64):
    cat, cup = data.chelsea(), data.coffee()
    starts = [(100, 60 + 20 * i) for i in range(n)]
    return np.stack([(cat, cup)[i % 2][y : y + size, x : x + size] for i, (y, x) in enumerate(starts)])


METHODS = pd.DataFrame(
    {
        "method": ["inception, mse", "gray (no colour)", "mean colour"],
        "mean": [10.0, 14.0, 13.0],
        "low": [9.5, 13.0, 12.0],
        "high": [10.5, 15.0, float("nan")],
        "baseline": [False, True, True],
    }
)


DIFFERENCES = [
    {"label": "inception minus none", "difference": -1.5, "low": -2.0, "high": -1.0, "kind": "extractor"},
    {"label": "untrained minus none", "difference": 0.1, "low": -0.2, "high": 0.4, "kind": "control"},
    {"label": "crossentropy minus none", "difference": 17.0, "low": 16.0, "high": 18.0, "kind": "control"},
    {"label": "far below", "difference": -9.0, "low": -10.0, "high": -8.0, "kind": "control"},
]


def figures():
    ab = np.random.default_rng(0).normal(0, 20, (2, 2, 16, 16))
    return {
        "batch": pictures.batch(photos().transpose(0, 3, 1, 2)),
        "curves": charts.curves({"one": history(), "two": history(1)}, "Loss"),
        "live_curve": charts.live_curve(history(1)),
        "compare_curves": charts.compare_curves({"one": history(), "two": [history(), history(7)]}),
        "grid": pictures.grid({"gray": photos(), "truth": photos()}, ["best", "median", "worst"], "By rank"),
        "bars": charts.bars(METHODS, "CIEDE2000"),
        "ab_density": data_charts.ab_density(ab),
        "forest": charts.forest({"a study": DIFFERENCES}, "difference"),
    }


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def pixels(grid):
    """The mosaic of a grid, as a viewer decodes it."""
    return decoded(base64.b64decode(grid._repr_mimebundle_()[0]["image/jpeg"]))


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def test_drawing_leaves_matplotlibs_global_state_as_it_was():
    before = dict(mpl.rcParams)
    made = figures()
    assert charts.show_svg(made["curves"]).data and made["grid"].mosaic()
    kinds = {Figure, pictures.Photographs}
    assert {type(figure) for figure in made.values()} == kinds
    assert dict(mpl.rcParams) == before
    assert mpl._pylab_helpers.Gcf.get_all_fig_managers() == []  # pyplot knows none, so none is left open


def test_curves_draw_the_history_and_say_untrained():
    figure = charts.curves({"inception": history()}, "inception, seed 1", untrained=True)
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["training loss"], history()[["epoch", "train_loss"]])
    np.testing.assert_array_equal(lines["validation loss"], history()[["epoch", "val_loss"]])
    assert "untrained" in texts(figure)
    assert texts(charts.curves({"a": history()}, "vit (untrained)", untrained=True)).count("untrained") == 1
    assert "untrained" not in texts(charts.curves({"a": history()}, "vit"))


def test_curves_share_a_scale_only_where_losses_are_alike():
    alike = charts.curves({"a": history(), "b": history(level=0.013), "c": history()}).axes
    assert len({axis.get_ylim() for axis in alike}) == 1
    mixed = charts.curves({"mse": history(), "crossentropy": history(level=0.7)}).axes
    assert mixed[0].get_ylim()[1] < 0.1 < mixed[1].get_ylim()[0]


def test_compare_curves_average_the_seeds():
    figure = charts.compare_curves(
        {"a": [history(level=0.01), history(level=0.02)], "b": history()}, "val_loss"
    )
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["a (2 seeds)"], history(level=0.015)["val_loss"])
    np.testing.assert_allclose(lines["b"], history()["val_loss"])


def test_bars_put_the_trivial_baselines_apart_and_first():
    axis = charts.bars(METHODS, "CIEDE2000").axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["gray (no colour)", "mean colour", "inception, mse"]
    gaps = np.diff(axis.get_yticks())
    assert gaps[1] > gaps[0] and axis.yaxis_inverted()
    drawn = [points.get_offsets()[0, 0] for points in axis.collections if isinstance(points, PathCollection)]
    np.testing.assert_allclose(drawn, [14, 13, 10])


def test_forest_draws_each_difference_and_its_interval_about_zero():
    axis = charts.forest({"": DIFFERENCES}, "difference").axes[0]
    drawn = [points.get_offsets()[0, 0] for points in axis.collections if isinstance(points, PathCollection)]
    np.testing.assert_allclose(drawn, [-1.5, 0.1])  # 17 stands at the edge, as a number
    ends = [
        line.get_segments()[0][:, 0].tolist() for line in axis.collections if hasattr(line, "get_segments")
    ]
    assert ends == [[-2.0, -1.0], [-0.2, 0.4]] and "+17.00, off the scale \u2192" in texts(axis.figure)
    assert "\u2190 \u22129.00, off the scale" in texts(axis.figure)


def test_what_rests_on_one_seed_is_hollow():
    rows = [row | {"seeds": seeds} for row, seeds in zip(DIFFERENCES, (3, 1, 1, 1), strict=True)]
    axis = charts.forest({"": rows}, "difference").axes[0]
    dots = [points for points in axis.collections if isinstance(points, PathCollection)]
    white = [(points.get_facecolors()[0, :3] == 1).all() for points in dots]
    assert white == [False, True] and (dots[1].get_edgecolors()[0, :3] < 1).all()


def test_long_labels_have_room_in_a_forest():
    long = "inception-distilled-uncentred (distilled here) minus inception-distilled-centred (distilled here)"
    rows = [{**DIFFERENCES[0], "label": label} for label in (long, "short", long, long)]
    figure = charts.forest({"": rows}, "difference")
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    tops = sorted((-box.y1, -box.y0) for box in boxes)
    assert all(below[0] >= above[1] for above, below in itertools.pairwise(tops))


def test_a_metric_against_its_costs_has_a_panel_for_each():
    table = pd.DataFrame(
        {"label": ["a", "b"], "mean": [11.0, 10.0], "low": [10.5, 9.5], "high": [11.5, 10.5]}
    )
    table = table.assign(parameters=[6.0, 0.5], minutes=[40.0, 80.0])
    figure = charts.against(table, "CIEDE2000", {"parameters": "millions", "minutes": "minutes"})
    assert [axis.get_xlabel() for axis in figure.axes] == ["millions", "minutes"]
    for axis, column in zip(figure.axes, ("parameters", "minutes"), strict=True):
        dots = [group for group in axis.collections if isinstance(group, PathCollection)]
        points = [tuple(one.get_offsets()[0]) for one in dots]
        assert points == list(zip(table[column], table["mean"], strict=True))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_grid_shows_the_very_colours():
    colours = np.zeros((2, 8, 8, 3), np.uint8)
    colours[0], colours[1] = (200, 30, 40), (20, 60, 210)
    shown = pictures.grid({"a": colours, "b": colours[::-1]}, ["one", "two"])
    drawn = pixels(shown)
    for value in ((200, 30, 40), (20, 60, 210)):
        near = np.abs(drawn.astype(int) - value).max(-1) <= 4
        assert near.mean() > 0.2  # two of the four tiles
    tiles = shown.as_json()["tiles"]
    assert np.abs(decoded(base64.b64decode(tiles[1][0])).astype(int) - colours[1]).max() <= 4


def test_batch_shows_what_the_networks_get():
    blue = np.zeros((1, 3, 8, 8), np.uint8)
    blue[:, 2] = 255
    shown = pictures.batch(torch.from_numpy(blue))
    assert shown.tiles.shape == (3, 1, 8, 8, 3) and shown.tiles[0, 0, 0, 0].tolist() == [0, 0, 255]
    L_of = color.rgb2lab(shown.tiles)[:, 0, 0, 0, 0]
    assert L_of[1:] == pytest.approx([32.3, 10.8], abs=1)  # the encoder's L* of blue, the extractor's luma
    assert "L*" in shown.rows[1] and "luma" in shown.rows[2]


def test_mosaic_of_a_grid_is_small():
    columns = {f"model {i}": photos(8) for i in range(6)}
    shown = pictures.grid(columns, [f"median, dE {i}.5" for i in range(8)], "Figure 6")
    assert len(shown._repr_mimebundle_()[0]["image/jpeg"]) < 400_000  # in base64
    assert 800 <= pixels(shown).shape[1] <= 1200
    picture = pictures.show_jpeg(photos()[0])
    assert np.abs(decoded(picture.data).astype(int) - photos()[0]).mean() < 4


def test_density_counts_every_pixel_and_draws_the_gamut():
    axis = data_charts.ab_density(torch.tensor([[0.0, 0.0], [0.2, 0.3], [50.0, 40.0], [0.0, 0.1]])).axes[0]
    assert axis.collections[0].get_array().compressed().tolist() == [0.75, 0.25]
    outline = np.concatenate([path.vertices for path in axis.collections[1].get_paths()])
    low, high = lab.gamut_bins(2).amin(0).numpy(), lab.gamut_bins(2).amax(0).numpy()
    assert np.abs(outline.min(0) - low).max() < 4 and np.abs(outline.max(0) - high).max() < 4


def test_equal_charts_are_equal_files():
    assert (
        charts.show_svg(charts.live_curve(history())).data
        == charts.show_svg(charts.live_curve(history())).data
    )


def test_both_kinds_survive_export_to_html_without_any_network():
    made = figures()
    outputs = []
    for shown in (charts.show_svg(made["bars"], "bars <of> methods"), made["grid"]):
        bundle, metadata = InteractiveShell.instance().display_formatter.format(shown)  # as a kernel sends it
        outputs.append(nbformat.v4.new_output("display_data", bundle, metadata=metadata))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show", outputs=outputs)])
    nbformat.validate(notebook)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert "data:image/svg+xml;base64," in page and "data:image/jpeg;base64," in page
    assert 'alt="By rank' in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["']\s*(?:https?:)?//""", page)
    svg = charts.show_svg(made["bars"], "bars <of> methods").data
    assert 'xmlns="http://www.w3.org/2000/svg"' in svg and not re.findall(r'(?:href|src|resource)="http', svg)
    root = ElementTree.fromstring(svg)
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert root.find("svg:title", space).text == root.get("aria-label") == "bars <of> methods"
    words = " ".join(text.text or "" for text in root.iterfind(".//svg:text", space))
    assert "gray (no colour)" in words and "CIEDE2000" in words  # text, not outlines of letters


def test_a_column_of_another_size_is_refused():
    with pytest.raises(KoalaError, match=r"every column.*truth \(3, 32, 32, 3\)"):
        pictures.grid({"gray": photos(), "truth": photos(size=32)}, ["a", "b", "c"])
    with pytest.raises(KoalaError, match="none"):
        pictures.grid({}, [])


def test_long_names_break_at_their_hyphens_and_lose_nothing():
    assert style.wrapped("inception2015-256", 14) == "inception2015-\n256"
    assert style.wrapped("no-extractor", 9) == style.wrapped("no-extractor", 40) == "no-extractor"
    assert style.wrapped("1-inception (untrained)", 10) == "1-inception\n(untrained)"
    assert style.wrapped("colour by lightness - seed 1", 12) == "colour by\nlightness -\nseed 1"


def test_a_high_first_epoch_is_cut_off_and_said_so():
    losses = [0.09, 0.012, 0.011, 0.0105]
    frame = pd.DataFrame({"epoch": [1, 2, 3, 4], "train_loss": losses, "val_loss": losses})
    for draw in (
        lambda frame: charts.curves({"a": frame}),
        lambda frame: charts.compare_curves({"a": frame}),
        charts.live_curve,
    ):
        axis = draw(frame).axes[0]
        assert 0.012 < axis.get_ylim()[1] < 0.02 and "start cut off" in axis.get_ylabel()
        assert "\u2191 0.09" in texts(axis.figure)
        calm = draw(frame.assign(train_loss=0.012, val_loss=[0.03, *losses[1:]])).axes[0]
        assert "start cut off" not in calm.get_ylabel()  # 2.5 times is no reason


def test_the_axis_of_epochs_shows_whole_ones_from_the_first():
    for epochs in (1, 2, 20):
        axis = charts.live_curve(history(epochs)).axes[0]
        shown = [tick for tick in axis.get_xticks() if axis.get_xlim()[0] <= tick <= axis.get_xlim()[1]]
        assert shown and all(float(tick).is_integer() and 1 <= tick <= epochs for tick in shown)


def test_lines_can_be_told_apart_without_colour_and_are_named_at_their_ends():
    figure = charts.compare_curves({f"run {i}": history(level=0.01 + i / 1000) for i in range(12)})
    assert [len(axis.lines) for axis in figure.axes] == [6, 6]
    assert len({axis.get_ylim() for axis in figure.axes}) == 1
    for axis in figure.axes:
        looks = {(line.get_linestyle(), line.get_marker()) for line in axis.lines}
        assert len(looks) == len({line.get_color() for line in axis.lines}) == 6
        places = [note.xyann[1] for note in axis.texts]
        assert len(places) == 6 and min(np.diff(sorted(places))) > 0.03


def test_a_bar_far_beyond_the_baselines_is_a_number_at_the_edge():
    table = pd.DataFrame(
        {
            "method": ["gray", "good", "wild"],
            "mean": [12.8, 10.8, 27.31],
            "low": [12, 10, 27],
            "high": [13, 11, 28],
            "baseline": [True, False, False],
        }
    )
    figure = charts.bars(table, "CIEDE2000")
    assert "27.31, off the scale" in texts(figure) and figure.axes[0].get_xlim()[1] < 20
    assert charts.bars(table[1:], "CIEDE2000").axes[0].get_xlim()[1] > 27  # without a baseline nothing is far
