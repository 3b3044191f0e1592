"""The numbers behind the pictures of data.ipynb, on data sets whose colours are known."""

import shutil

import numpy as np
import pytest
import speed_data
from PIL import Image
from skimage.color import rgb2lab

from koala import data
from koala.data import statistics
from koala.report import data_charts
from koala.system.errors import KoalaError


@pytest.fixture
def photos(tmp_path):
    """Twelve noisy pictures that are half red and half gray, and twelve that are all blue; one gray, one copy, one text."""
    generator = np.random.default_rng(0)
    for i in range(24):
        kind = "blue" if i % 2 else "red"
        picture = np.empty((32, 32, 3), np.uint8)
        picture[:] = (20, 40, 200) if kind == "blue" else (200, 30, 30)
        if kind == "red":
            picture[:, 16:] = 128
        picture = picture + generator.integers(0, 8, (32, 32, 1), dtype=np.uint8)
        (tmp_path / "source" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "source" / kind / f"{i}.png")
    Image.new("L", (32, 32), 99).save(tmp_path / "source/red/gray.png")
    (tmp_path / "source/red/copy.png").write_bytes((tmp_path / "source/red/0.png").read_bytes())
    (tmp_path / "source/red/text.png").write_text("no picture")
    return data.prepare(str(tmp_path / "source"), "known", 32)


def test_hues_chroma_and_lightness_are_those_of_the_pictures(photos):
    sample = statistics.sample(photos)
    shares = statistics.hue_shares(sample)
    assert shares.loc["blue", ["blue", "purple"]].sum() > 0.99 and np.allclose(shares.sum(axis=1), 1)
    assert shares.loc["red", "red"] + shares.loc["red", "orange"] == pytest.approx(0.5, abs=0.1)
    assert shares.loc["red", "gray"] == pytest.approx(0.5, abs=0.1)
    lab = rgb2lab(photos.images[sample.rows]).reshape(len(sample.rows), -1, 3)
    assert np.abs(sample.lab.mean((0, 1)) - lab.mean((0, 1))).max() < 3
    table = statistics.by_lightness(sample)
    assert table["share"].sum() == pytest.approx(1)
    by_category = statistics.by_category(photos)
    assert by_category["category"].tolist() == ["blue", "red"] and by_category["photographs"].tolist() == [
        12,
        12,
    ]
    assert (
        photos.files["category"].iloc[by_category["typical_row"]].astype(str)
        == by_category["category"].astype(str).values
    ).all()


def test_what_stays_out_is_told_and_shown(photos):
    table = statistics.reasons(photos)
    assert [tuple(line) for line in table.itertuples(index=False)] == [
        ("duplicate", "same bytes as another", 1, "red/copy.png"),
        ("gray", "", 1, "red/gray.png"),
        ("refused", "not an image that can be read", 1, "red/text.png"),
    ]
    assert photos.meta["counts"] == {"used": 24, "duplicate": 1, "gray": 1, "refused": 1}
    shown = statistics.left_out(photos)
    assert list(shown) == ["duplicate: same bytes as another", "gray"]  # there is nothing to see of the text
    assert shown["gray"][0].shape == (96, 96, 3) and (shown["gray"][0] == 99).all()
    first = np.asarray(Image.open(f"{photos.meta['source']}/red/0.png").resize((96, 96), 3))
    assert np.abs(shown["duplicate: same bytes as another"][0].astype(int) - first).max() <= 1


def test_a_row_that_is_not_its_file_is_noticed(photos, tmp_path):
    assert statistics.compare_with_source(photos, 8) == 8
    for path in (tmp_path / "source/blue").glob("*.png"):
        Image.new("RGB", (32, 32), "green").save(path)
    with pytest.raises(KoalaError, match=r"row \d+ of 'known' is not blue/"):
        statistics.compare_with_source(photos, 24)


def test_charts_show_these_numbers(photos):
    sample = statistics.sample(photos)
    counts = data_charts.category_counts(photos.files)
    assert sum(bar.get_width() for bar in counts.axes[0].patches) == 24  # photographs
    shares = data_charts.hue_shares(statistics.hue_shares(sample))
    assert sum(bar.get_width() for bar in shares.axes[0].patches) == pytest.approx(3)  # red, blue, all
    colourful = data_charts.colourful_categories(statistics.by_category(photos))
    assert [label.get_text() for label in colourful.axes[0].get_yticklabels()] == ["blue", "red"]
    lightness = data_charts.colour_by_lightness(statistics.by_lightness(sample))
    for figure in (counts, shares, colourful, lightness):
        figure.draw_without_rendering()
    kinds = data_charts.kinds(statistics.left_out(photos))
    assert kinds.tiles.shape == (2, 5, 96, 96, 3) and kinds.rows[1] == "gray"
    mosaic = data_charts.mosaic(photos.images[:7], columns=3, gap=2)
    assert mosaic.shape == (3 * 34, 3 * 34, 3) and np.array_equal(mosaic[34:66, 34:66], photos.images[4])


@pytest.mark.slow
def test_the_speed_command_prints_its_table(photos, tmp_path, capsys):
    (tmp_path / "source/red/text.png").unlink()  # the plain loop takes good files only
    place = shutil.make_archive(tmp_path / "packed", "zip", tmp_path / "source")
    speed_data.main([place, place, "--memory", "20"])
    out = capsys.readouterr().out
    assert "prepare again" in out and "koala.data.decode" in out and "peak memory" in out
