"""Which files are coloured and where to: nothing overwritten, links not followed, bad files named, metadata kept."""

import functools
import os
import struct

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from koala import colorize
from koala.colorize import files, metadata
from koala.system import paths
from koala.system.errors import KoalaError


def save(path, size=(16, 16), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90 if mode == "L" else None).save(path, **options)
    return path


def names(found, output, kind="") -> list[str]:
    return [t.relative_to(output).as_posix() for t in colorize.targets(found, str(output), kind)]


def test_results_have_their_inputs_names_and_formats(tmp_path):
    for name in ("a.JPG", "deep/b.png", "c.gif", "d.tif"):
        save(tmp_path / "in" / name)
    found = colorize.find(str(tmp_path / "in"))
    assert names(found, tmp_path / "out") == ["a.JPG", "c.png", "d.tif", "deep/b.png"]
    assert names(found, tmp_path / "out", "webp") == ["a.webp", "c.webp", "d.webp", "deep/b.webp"]


def test_two_names_that_differ_by_suffix_do_not_stop_a_folder(tmp_path):
    for name in ("b.gif", "b.jpg", "b.png", "B.tif"):
        save(tmp_path / "in" / name)
    found = colorize.find(str(tmp_path / "in"))
    assert names(found, tmp_path / "out") == ["B.tif", "b.gif.png", "b.jpg", "b.png"]
    assert names(found, tmp_path / "out", "png") == ["B.tif.png", "b.gif.png", "b.jpg.png", "b.png"]


def test_outputs_never_fall_on_inputs(tmp_path):
    one = colorize.find(str(save(tmp_path / "a.png")))
    assert colorize.targets(one, str(tmp_path / "x.jpg"))[0].name == "x.jpg"
    with pytest.raises(KoalaError, match="one of the photographs itself"):
        colorize.targets(one, str(tmp_path))
    with pytest.raises(KoalaError, match="image is empty"):
        colorize.find("")
    with pytest.raises(KoalaError, match="no file or folder 'nowhere'"):
        colorize.find("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KoalaError, match="there is no photograph in"):
        colorize.find(str(tmp_path / "empty"))


def test_links_out_of_the_folder_are_not_followed_and_other_files_are_counted(tmp_path):
    save(tmp_path / "private" / "x.jpg")
    save(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "notes.txt").write_text("not a photograph")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "private" / "x.jpg")
    (tmp_path / "in" / "c.jpg").symlink_to("a.jpg")  # within the folder
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "private")
    found = colorize.find(str(tmp_path / "in"))
    assert [p.name for p in found.photographs] == ["a.jpg", "c.jpg"]
    assert [p.name for p in found.links] == ["b.jpg"] and found.others == 1
    assert "not followed" in found.left_out()[0] and found.left_out()[1].startswith("1 files of other")


def test_results_inside_the_folder_are_no_photographs_the_next_time(tmp_path):
    place = tmp_path / "in"
    save(place / "a.png")
    for _ in range(2):
        found = colorize.find(str(place), str(place / "out"))
        targets = colorize.targets(found, str(place / "out"))
        assert found.photographs == [place / "a.png"] and targets == [place / "out/a.png"]
        save(targets[0])
    with pytest.raises(KoalaError, match="one of the photographs itself"):
        colorize.targets(colorize.find(str(place), str(place)), str(place))


def test_an_output_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    (tmp_path / "file.jpg").write_text("no folder")
    found = files.Selection([tmp_path / "a.png", tmp_path / "b.png"], tmp_path)
    for output in (tmp_path / "file.jpg", tmp_path / "file.jpg/deep"):
        with pytest.raises(KoalaError, match=r"the output folder '.*file\.jpg.*' cannot be made"):
            colorize.targets(found, str(output))
    monkeypatch.delitem(Image.SAVE, "AVIF", raising=False)
    with pytest.raises(KoalaError, match=r"cannot write \.avif here.*x\.png"):
        colorize.targets(files.Selection(found.photographs[:1]), str(tmp_path / "x.avif"))


def spoil_second_page(path):
    """A TIFF whose second page has neither width nor height: Pillow raises a TypeError."""
    content = bytearray(save(path, (20, 20)).read_bytes())
    first = int.from_bytes(content[4:8], "little")
    following = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[following : following + 4] = struct.pack("<I", len(content))
    path.write_bytes(content + struct.pack("<HHHIHHI", 1, 258, 3, 1, 8, 0, 0))


def test_a_format_that_cannot_hold_the_photograph_is_one_sentence(tmp_path):
    with pytest.raises(
        KoalaError, match=r"out.webp: WEBP cannot hold 16400 x 1 pixels .* use another format"
    ):
        metadata.write(tmp_path / "out.webp", np.zeros((1, 16_400, 3), np.uint8))
    assert not any(tmp_path.iterdir())


def test_bad_files_are_named_and_the_others_go_on(tmp_path, monkeypatch):
    place = tmp_path / "in"
    (place / "folder.jpg").mkdir(parents=True)
    (place / "link.jpg").symlink_to(place / "nothing.jpg")
    (place / "loop.jpg").symlink_to(place / "loop.jpg")
    os.mkfifo(place / "pipe.jpg")
    (place / "empty.jfif").write_bytes(b"")
    spoil_second_page(place / "pages.tif")
    (place / "secret.png").write_bytes(b"any")
    (place / "broken.png").write_bytes(b"not a photograph")
    save(place / "wide.png", (900, 100))
    save(place / "tiny.bmp", (12, 12), "L")
    Image.new("CMYK", (40, 30), (0, 0, 0, 99)).save(place / "cmyk.jpeg")

    def read_bytes(path, read=paths.Path.read_bytes):
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(paths.Path, "read_bytes", read_bytes)
    reasons = {
        "folder.jpg": "a folder",
        "link.jpg": "a link to nothing",
        "loop.jpg": "a link to nothing",
        "pipe.jpg": "not a regular file",
        "empty.jfif": "",
        "pages.tif": "damaged",
        "secret.png": "Permission denied",
        "broken.png": "not an image",
    }
    found = colorize.find(str(place))
    assert len(colorize.targets(found, str(tmp_path / "out"))) == len(reasons) + 3
    sizes = {}
    for path in found.photographs:
        if path.name in reasons:
            with pytest.raises(KoalaError, match=f"{path.name}: .*{reasons[path.name]}"):
                colorize.read(path)
        else:
            sizes[path.name] = colorize.read(path).shape
    assert sizes == {"wide.png": (100, 900, 3), "tiny.bmp": (12, 12, 3), "cmyk.jpeg": (30, 40, 3)}


@functools.cache  # a profile states the second in which it was made
def profile(name: str) -> bytes:
    """An RGB profile that is not sRGB: swapped red and green show at once whether it is used."""
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    at = {tag: swapped.index(tag) for tag in (b"rXYZ", b"gXYZ")}  # entries of the profile's table of tags
    data = bytearray(swapped)
    data[at[b"rXYZ"] : at[b"rXYZ"] + 4], data[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    return (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))
        .replace(b"sRGB", name.encode())
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_and_dpi_are_kept(tmp_path, suffix):
    exif = Image.Exif()
    exif[271], exif[33432], exif[0x0112] = "Koala", "(c) someone", 6  # make, copyright, turned
    exif[34665] = {36867: "1931:05:04 10:00:00", 40962: 60, 40963: 40}  # taken, width, height
    exif[34853] = {1: "N", 2: (48.0, 8.0, 0.0)}
    path = tmp_path / f"in.{suffix}"
    save(path, (60, 40), "RGB", exif=exif.tobytes(), dpi=(600, 600))
    metadata.write(tmp_path / f"out.{suffix}", colorize.read(path), metadata.read(path.read_bytes()))
    with Image.open(tmp_path / f"out.{suffix}") as out:
        out.load()
        kept = out.getexif()
        assert out.size == (40, 60) and kept.get(0x0112, 1) == 1  # upright, and told once
        assert (kept[271], kept[33432]) == ("Koala", "(c) someone")
        assert kept.get_ifd(34665) == {36867: "1931:05:04 10:00:00", 40962: 40, 40963: 60}
        assert kept.get_ifd(34853)[1] == "N"
        if suffix != "webp":
            assert out.info["dpi"] == pytest.approx((600, 600), abs=0.1)


def test_the_profile_is_kept_and_the_colours_are_in_it(tmp_path):
    rgb = skimage.data.astronaut()[::4, ::4]
    Image.fromarray(rgb).save(tmp_path / "in.png", icc_profile=profile("swap"))
    seen = colorize.read(tmp_path / "in.png")  # in sRGB: red and green have changed places
    assert np.abs(seen[..., 0].astype(int) - rgb[..., 1]).mean() < 3
    kept = metadata.read((tmp_path / "in.png").read_bytes())
    metadata.write(tmp_path / "out.png", seen, kept)
    with Image.open(tmp_path / "out.png") as out:
        assert out.info["icc_profile"] == profile("swap")
        assert np.abs(np.asarray(out).astype(int) - rgb).mean() < 3
    metadata.write(tmp_path / "gray.jpg", seen, metadata.Metadata(kept.exif, b"no profile", None, None))
    with Image.open(tmp_path / "gray.jpg") as out:
        assert np.abs(np.asarray(out).astype(int) - seen).mean() < 3  # sRGB


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_alpha_is_kept(tmp_path, suffix):
    rgba = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    rgba[:8, :, 3], rgba[8:16, :, 3] = 0, 255
    Image.fromarray(rgba).save(tmp_path / "in.png")
    seen = colorize.read(tmp_path / "in.png")  # laid on white
    metadata.write(tmp_path / f"out.{suffix}", seen, metadata.read((tmp_path / "in.png").read_bytes()))
    with Image.open(tmp_path / f"out.{suffix}") as out:
        if suffix == "jpg":
            assert out.mode == "RGB"
            return
        assert np.array_equal(np.asarray(out)[..., 3], rgba[..., 3])
    if suffix != "webp":  # which is lossy
        assert np.abs(colorize.read(tmp_path / f"out.{suffix}").astype(int) - seen).max() <= 1
