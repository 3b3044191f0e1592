"""Data sets known by name: the address, size and checksums of each archive, and where to put it without a network.

papermill notebooks/data.ipynb out.ipynb -p source imagenette -p name imagenette -p image_size 160

Places-Extra69, the report's, is not among them: it is given on request (http://places2.csail.mit.edu). Name the folder
that holds data_256_extra/, extra69_train.txt, extra69_test.txt and categories_extra69.txt as the source.
"""

import dataclasses
import hashlib
from pathlib import Path

from koala.system.download import fetch as download
from koala.system.errors import KoalaError
from koala.system.paths import data_dir, locked, write_text
from koala.system.progress import Progress

MB = 10**6  # bytes


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file on a public server. size: bytes; md5: as torchvision or its authors publish it; sha256: what is checked, as
    tensorflow_datasets has it (tiny-imagenet: as several projects have recorded it)."""

    url: str
    size: int
    md5: str
    sha256: str
    what: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return data_dir() / "downloads" / self.url.rpartition("/")[2]


SOURCES = {
    "tiny-imagenet": Archive(
        "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        248_100_043,
        "90528d7ca1a48142e341f4ef8d21d0de",
        "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        "100,000 photographs of 200 ImageNet categories, 64 px",
    ),
    "imagenette": Archive(
        "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
        99_003_388,
        "e793b78cc4c9e9a4ccc0c1155377a412",
        "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
        "13,394 photographs of 10 ImageNet categories, 160 px",
    ),
    "places365": Archive(
        "https://data.csail.mit.edu/places/places365/train_256_places365standard.tar",
        26_103_685_120,
        "53ca1c756c3d1e7809517cc47c5561c5",
        "0ade5d7d38c682aa0203014a2b99ad3bf608bf1de0f151dc0d80efba54660a0a",
        "1.8 million photographs of 365 scenes, 256 px",
    ),
    "places365-val": Archive(
        "https://data.csail.mit.edu/places/places365/val_256.tar",
        525_158_400,
        "e27b17d8d44f4af9a78502beb927f808",
        "24b4e639ef12a0012af525bc4cb443e4ab4aaea8369a1fb009b70e4a4aad5d48",
        "36,500 photographs of 365 scenes without their categories, 256 px",
    ),
}


def is_here(name: str) -> bool:
    """Whether the archive of a known data set is in data/downloads; it is checked when it is used."""
    return SOURCES[name].path.exists()


def fetch(name: str, progress=None) -> Path:
    """The archive of a known data set, from data/downloads or downloaded to there, checked by its SHA-256.

    progress(done, total, what) is called now and then, in MB; a Progress that counts files gets one for MB beside it.
    Raises KoalaError, with the address and the place to put it, where it is not available."""
    archive = SOURCES[name]
    path, size = archive.path, f"{archive.size / MB:,.0f} MB"
    stamp = path.with_name(path.name + ".sha256")
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists() and stamp.exists() and stamp.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return path
        if not path.exists():
            try:
                report = in_megabytes(progress, f"fetching {name}")
                download(archive.url, path, report, archive.sha256, archive.size)
            except KoalaError as error:
                raise KoalaError(
                    f"'{name}' ({archive.what}, {size}) is not here and cannot be fetched ({error}): start again, "
                    f"or put the file {archive.url} (MD5 {archive.md5}) at {path} first."
                ) from error
        elif (sha256 := _sha256(path, in_megabytes(progress, f"checking {name}"))) != archive.sha256:
            raise KoalaError(
                f"{path} has the SHA-256 {sha256}, not {archive.sha256}: delete it and fetch {archive.url} again."
            )
        write_text(stamp, archive.sha256 + "\n")
    return path


def in_megabytes(progress, text: str):
    """A progress callback for bytes that calls `progress` with megabytes and its own text; None for None."""
    if progress is None:
        return None
    shown = Progress("MB") if isinstance(progress, Progress) else progress
    # a server may not state the total
    return lambda done, total, _="": shown(done // MB, (total or done + MB) // MB, text)


def _sha256(path: Path, progress=None) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with open(path, "rb") as file:
        while block := file.read(16 * MB):
            digest.update(block)
            done += len(block)
            if progress:
                progress(done, total)
    return digest.hexdigest()
