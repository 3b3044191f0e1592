"""Data sets known by name: where their archive is, its checksum, and where to put it without a network.

Places-Extra69, the report's, is not among them: it is given on request (http://places2.csail.mit.edu). Name the folder
that holds data_256_extra/, extra69_train.txt, extra69_test.txt and categories_extra69.txt as the source.
"""

import hashlib
from pathlib import Path

from koala.system.download import fetch as download
from koala.system.errors import KoalaError
from koala.system.paths import data_dir, write_text
from koala.system.progress import Progress

MB = 10**6  # bytes
# name: (URL, MD5 as torchvision has it, what it is)
SOURCES = {
    "imagenette": (
        "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
        "e793b78cc4c9e9a4ccc0c1155377a412",
        "13,394 photographs of 10 ImageNet categories, 160 px",
    ),
    "tiny-imagenet": (
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        "120,000 photographs of 200 ImageNet categories, 64 px",
    ),
    "places365": (
        "http://data.csail.mit.edu/places/places365/train_256_places365standard.tar",
        "53ca1c756c3d1e7809517cc47c5561c5",
        "1.8 million photographs of 365 scenes, 256 px, 24 GB",
    ),
    "places365-val": (
        "http://data.csail.mit.edu/places/places365/val_256.tar",
        "e27b17d8d44f4af9a78502beb927f808",
        "36,500 photographs of 365 scenes, 256 px",
    ),
    "sun397": (
        "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
        "8ca2778205c41d23104230ba66911c7a",
        "108,754 photographs of 397 scenes, 37 GB",
    ),
    "flowers102": (
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
        "52808999861908f626f3c1f4e79d11fa",
        "8,189 photographs of 102 flowers",
    ),
}


def is_here(name: str) -> bool:
    """Whether the archive of a known data set lies in data/downloads, to be checked when it is used."""
    return _place(name).exists()


def _place(name: str) -> Path:
    return data_dir() / "downloads" / SOURCES[name][0].rpartition("/")[2]


def fetch(name: str, progress=None) -> Path:
    """The archive of a known data set: as it lies in data/downloads, else downloaded there; checked by its MD5.

    progress(done, total, what) is called now and then, in MB; a Progress that counts files gets one for MB beside it.
    Raises KoalaError, with the address and the place to put it, where it cannot be had."""
    url, md5, what = SOURCES[name]
    path = _place(name)
    stamp = path.with_name(path.name + ".md5")
    if path.exists() and stamp.exists() and stamp.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return path
    if not path.exists():
        try:
            download(url, path, in_megabytes(progress, f"fetching {name}"))
        except KoalaError as error:
            raise KoalaError(
                f"'{name}' ({what}) is not here and cannot be fetched ({error}): put the file {url} "
                f"(MD5 {md5}) at {path} and start again."
            ) from error
    found = _md5(path, in_megabytes(progress, f"checking {name}"))
    if found != md5:
        raise KoalaError(f"{path} has the MD5 {found}, not {md5}: delete it and fetch {url} again.")
    write_text(stamp, md5 + "\n")
    return path


def in_megabytes(progress, text: str):
    """A progress callback for bytes that tells `progress` of megabytes, with its own text; None for None."""
    if progress is None:
        return None
    shown = Progress("MB") if isinstance(progress, Progress) else progress
    return lambda done, total, _="": shown(
        done // MB, (total or done + MB) // MB, text
    )  # a server may not say the total


def _md5(path: Path, progress=None) -> str:
    digest, done, total = hashlib.md5(), 0, path.stat().st_size
    with open(path, "rb") as file:
        while block := file.read(16 * MB):
            digest.update(block)
            done += len(block)
            if progress:
                progress(done, total)
    return digest.hexdigest()
