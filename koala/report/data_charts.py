"""Drawings of data.ipynb: what the photographs are like. Plain functions from tables to matplotlib figures."""

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from koala import lab
from koala.data.statistics import SHOWN
from koala.metrics import HUES
from koala.report.pictures import Photographs
from koala.report.style import WIDTH, finished, style

MOST = 24  # categories in one chart; of more, the first and the last are drawn
HUE_COLOURS = dict(
    zip(HUES, ("#c8453c", "#d98a3d", "#d9c23d", "#4f9d4f", "#3da7a7", "#3d6fc8", "#9a55b5"), strict=True)
)


def mosaic(photographs: np.ndarray, columns: int = 12, gap: int = 2) -> np.ndarray:
    """(N, S, S, 3) uint8 side by side, `columns` to a line -> one image (H, W, 3)."""
    count, size = len(photographs), photographs.shape[1]
    lines = -(-count // columns)
    canvas = np.full((lines, columns, size + gap, size + gap, 3), 255, np.uint8)
    canvas.reshape(-1, size + gap, size + gap, 3)[:count, :size, :size] = photographs
    return canvas.transpose(0, 2, 1, 3, 4).reshape(lines * (size + gap), columns * (size + gap), 3)


def kinds(examples: dict) -> Photographs:
    """Up to SHOWN photographs of each kind, {caption: list of (S, S, 3) uint8}, a line each."""
    blank = np.full_like(next(iter(examples.values()))[0], 255)
    tiles = np.stack([np.stack((shown + [blank] * SHOWN)[:SHOWN]) for shown in examples.values()])
    return Photographs(tiles, list(examples), [""] * SHOWN)


def lab_planes(rgb: np.ndarray) -> tuple[Photographs, int]:
    """A photograph (S,S,3) uint8, its L*, its a* and b* as colours at L* 65, and the photograph made from the three
    again; and the largest difference of that from the first, of 255."""
    Lab = lab.rgb_to_lab(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None])  # (1, 3, S, S)
    L, a, b = Lab.split(1, dim=1)
    zero, middle = torch.zeros_like(L), torch.full_like(L, 65)
    planes = torch.cat(
        [torch.cat(one, 1) for one in ((L, zero, zero), (middle, a, zero), (middle, zero, b), (L, a, b))]
    )
    shown = lab.lab_to_rgb(planes).permute(0, 2, 3, 1).numpy()  # (4, S, S, 3)
    names = ["photograph", "L*", "a*", "b*", "from L*, a*, b*"]
    difference = np.abs(shown[3].astype(int) - rgb.astype(int)).max()
    return Photographs(np.concatenate([rgb[None], shown])[None], [""], names), int(difference)


def category_counts(files: pd.DataFrame) -> Figure:
    """Photographs of each category, divided by split."""
    counts = files.groupby(["category", "split"], observed=True).size().unstack(fill_value=0)
    counts = counts.reindex(columns=["train", "validation", "test"], fill_value=0)
    counts = ends(counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index])
    figure, axis = _chart(len(counts))
    left = np.zeros(len(counts))
    for split, colour in zip(counts.columns, ("#0173b2", "#d55e00", "#029e73"), strict=True):
        axis.barh(counts.index.astype(str), counts[split], left=left, color=colour, label=split)
        left += counts[split].to_numpy()
    axis.set(xlabel="photographs")
    axis.invert_yaxis()
    axis.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def colour_by_lightness(table: pd.DataFrame) -> Figure:
    """Mean a*, b* and chroma over L* (koala.data.statistics.by_lightness), on a strip of the mean colours themselves."""
    figure = Figure(figsize=(WIDTH * 0.75, 3.6), layout="constrained")
    strip, axis = figure.subplots(2, 1, sharex=True, height_ratios=(1, 5))
    colours = torch.tensor(table[["L", "a", "b"]].to_numpy(np.float32)).T[None, :, None]  # (1, 3, 1, K)
    step = table["L"].diff().median() if len(table) > 1 else 5.0
    edges = (table["L"].min() - step / 2, table["L"].max() + step / 2)
    strip.imshow(lab.lab_to_rgb(colours)[0].permute(1, 2, 0).numpy(), aspect="auto", extent=(*edges, 0, 1))
    strip.set(yticks=[], ylabel="mean\ncolour")
    for column, colour in (("a", "#c8453c"), ("b", "#c2a51d"), ("chroma", "#404040")):
        axis.plot(
            table["L"],
            table[column],
            color=colour,
            marker="o",
            markersize=3,
            label=f"{column}*" if column in "ab" else column,
        )
    axis.axhline(0, color="#b0b0b0", linewidth=1)
    axis.set(xlabel="L*", ylabel="mean", xlim=edges)
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper right")
    sns.despine(ax=axis)
    return figure


def colourful_categories(table: pd.DataFrame) -> Figure:
    """Mean chroma of each category (koala.data.statistics.by_category)."""
    table = ends(table.set_index("category"))
    figure, axis = _chart(len(table))
    axis.barh(table.index.astype(str), table["chroma"], color="#7a6aa8")
    axis.set(xlabel="mean chroma")
    axis.invert_yaxis()
    return figure


def hue_shares(table: pd.DataFrame) -> Figure:
    """Shares of the hues by category (koala.data.statistics.hue_shares) as stacked bars, sorted by blue and green; all first."""
    order = table.drop(index="all").eval("blue + green").sort_values(ascending=False).index
    table = pd.concat([table.loc[["all"]], ends(table.loc[order])])
    figure, axis = _chart(len(table))
    left = np.zeros(len(table))
    for name in table.columns:
        axis.barh(
            table.index.astype(str),
            table[name],
            left=left,
            color=HUE_COLOURS.get(name, "#c9c9c9"),
            label=name,
        )
        left += table[name].to_numpy()
    axis.set(xlabel="share of the pixels", xlim=(0, 1))
    axis.invert_yaxis()
    axis.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


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


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The table, or its first and last lines where it has more than MOST."""
    if len(table) <= MOST:
        return table
    return pd.concat([table.head(MOST // 2), table.tail(MOST // 2)])


def _chart(lines: int):
    figure = Figure(figsize=(WIDTH * 0.75, 1.4 + 0.24 * lines), layout="constrained")
    axis = figure.subplots()
    axis.grid(axis="x", color="#e6e6e6")
    axis.set_axisbelow(True)
    sns.despine(ax=axis, left=True)
    axis.tick_params(axis="y", length=0)
    return figure, axis
