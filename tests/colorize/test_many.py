"""Many files: each in one line, bad ones named, nothing overwritten unasked, numbers of colour originals; and the command."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from koala import colorize
from koala.colorize import __main__ as command
from koala.system.errors import KoalaError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    cat = skimage.data.chelsea()[::4, ::4]
    Image.fromarray(cat).save(place / "cat.png")
    Image.fromarray(cat).convert("L").save(place / "gray.png")
    (place / "bad.jpg").write_bytes(b"none")
    return place


def test_every_file_is_reported_and_a_bad_one_does_not_stop_the_others(painter, folder, tmp_path):
    found, lines = colorize.find(str(folder)), []
    targets = colorize.targets(found, str(tmp_path / "out"))
    bad, cat, gray = colorize.paint_all(painter, found, targets, report=lines.append)
    assert len(lines) == 3 and "bad.jpg: " in lines[0] and bad.problem and not cat.problem
    assert "cat.png (113x75, " in lines[1] and "CIEDE2000" in lines[1] and "CIEDE2000" not in lines[2]
    assert cat.numbers["colourfulness_true"] > 10 and cat.numbers["gray"] > 5 and not gray.numbers
    assert cat.before.shape == cat.after.shape == (256, 256, 3)
    written = np.asarray(Image.open(targets[1]))
    assert np.array_equal(written, colorize.colour(painter, folder / "cat.png"))


def test_what_stands_is_not_overwritten_unasked(painter, folder, tmp_path):
    found = colorize.find(str(folder / "cat.png"))
    target = tmp_path / "cat.png"
    target.write_bytes(b"mine")
    with pytest.raises(KoalaError, match=r"cat\.png exists already: overwrite=true"):
        colorize.paint_all(painter, found, [target], report=lambda line: None)
    assert target.read_bytes() == b"mine"
    colorize.paint_all(painter, found, [target], overwrite=True, report=lambda line: None)
    assert Image.open(target).size == (113, 75)


def test_the_command(run, folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(folder), "-o", str(out), "--run", run.folder.name, "--format", "jpg"]
    assert command.main(arguments) == 1  # one file is bad
    shown = capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == ["cat.jpg", "gray.jpg"]
    assert shown.count("\n") == 3 and "not coloured: " in shown
    assert command.main([*arguments, "--strength", "9"]) == 2
    assert "strength" in capsys.readouterr().err
    assert command.main(arguments) == 2 and "exists already" in capsys.readouterr().err
