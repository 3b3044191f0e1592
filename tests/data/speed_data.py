"""How fast preparation is, as ratios in one run on one core (a command, no test):

python tests/data/speed_data.py SMALL [LARGE]    e.g. ../shared/data/tiny-imagenet-0.zip ../shared/data/sun-scenes.zip

SMALL: an archive of pictures of about 64 px. Preparing it (listing, decoding, hashing, measuring, copies, split,
writing) is compared with a plain loop of Pillow and skimage.color.rgb2lab over the same archives, which stores nothing.
LARGE: photographs, made 500x400 here and then brought to 224 px by koala.data.decode and by Pillow. Both in CPU time, in turn.
With --memory, preparation's peak memory over a growing number of pictures (parts of all SMALL archives) is shown, too.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import pandas as pd
import torch
from PIL import Image
from skimage.color import rgb2lab

from koala.data.archives import read
from koala.data.decode import square
from koala.data.sources import entries, expand
from koala.system.errors import KoalaError

ROUNDS = 5  # the two sides in turn
BICUBIC = Image.Resampling.BICUBIC


def cpu_seconds(function, items) -> float:
    """CPU time of one pass of `function` over the items, in seconds an item."""
    start = time.process_time()
    for item in items:
        function(item)
    return (time.process_time() - start) / len(items)


def line(what: str, seconds: list[float], reference: list[float]) -> dict:
    """One line of the table: medians over the rounds, and the range of the rounds' own ratios."""
    ratios = np.array(reference) / np.array(seconds)
    return {
        "what": what,
        "ms of CPU a picture": f"{np.median(seconds) * 1e3:.3f}",
        "ratio": f"{np.median(ratios):.2f}",
        "lowest": f"{ratios.min():.2f}",
        "highest": f"{ratios.max():.2f}",
    }


def contents(source: str, most: int) -> list[bytes]:
    """The bytes of up to `most` photographs, spread over the source."""
    found, out = [entry for entry in entries(source) if not entry.problem], []
    for entry in found[:: max(1, len(found) // most)][:most]:
        with contextlib.suppress(KoalaError):  # both sides get good files only
            square(data := read(entry), 64)
            out.append(data)
    return out


def plain_loop(source: str, most: int) -> float:
    """What a first attempt does: CPU seconds a picture of zipfile, Pillow and rgb2lab, up to `most` of each archive."""
    count, start = 0, time.process_time()
    for place in expand(source):
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
            for name in names[:: max(1, len(names) // most)]:
                if not name.endswith("/"):
                    rgb2lab(
                        np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                    )  # (H, W, 3)
                    count += 1
    return (time.process_time() - start) / count


def small_pictures(source: str, image_size: int = 64) -> list[dict]:
    """Preparation against the plain loop, and preparing again what is prepared."""
    rounds = []
    for _ in range(ROUNDS):
        plain = plain_loop(source, 4000)
        with tempfile.TemporaryDirectory() as home:
            first, count, again = prepare_alone(source, image_size, home)
        rounds.append((plain, first / count, again / count))
    plain, first, again = zip(*rounds, strict=True)
    return [
        line("plain loop: zipfile, Pillow, rgb2lab", plain, plain),
        line(f"koala.data.prepare, all {count:,}", first, plain),
        line("prepare again", again, plain),
    ]


def prepare_alone(source: str, image_size: int, home: str) -> tuple[float, int, float]:
    """CPU seconds of preparing in one process of its own, the number of files, and CPU seconds of doing it again."""
    code = (
        "import sys, time, torch; from koala import data; seconds = []\n"
        "torch.set_num_threads(1)\n"  # its start-up is not preparation
        "for _ in range(2):\n"
        "    start = time.process_time()\n"
        "    photos = data.prepare(sys.argv[1], 'speed', int(sys.argv[2]), workers=1)\n"
        "    seconds.append(time.process_time() - start)\n"
        "print(*seconds, sum(photos.meta['counts'].values()))"
    )
    first, again, files = _run(code, source, image_size, home)
    return first, int(files), again


def _run(code: str, source: str, image_size: int, home: str) -> list[float]:
    """The numbers that a process of its own prints."""
    command = [sys.executable, "-c", code, source, str(image_size)]
    done = subprocess.run(
        command,
        env=os.environ | {"KOALA_HOME": home, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


def large_photographs(source: str, image_size: int = 224) -> list[dict]:
    """koala.data.decode against Pillow's decoding and bicubic resizing of the same JPEG files of 500x400."""
    files = []
    for data in contents(source, 200):
        Image.open(io.BytesIO(data)).convert("RGB").resize((500, 400), BICUBIC).save(
            out := io.BytesIO(), "JPEG", quality=90
        )
        files.append(out.getvalue())

    def plain(data):
        return np.asarray(
            Image.open(io.BytesIO(data)).resize((image_size, image_size), BICUBIC, box=(50, 0, 450, 400))
        )

    def ours(data):
        return square(data, image_size)[0]

    rounds = [(cpu_seconds(plain, files), cpu_seconds(ours, files)) for _ in range(ROUNDS)]
    reference, seconds = zip(*rounds, strict=True)
    difference = np.mean([np.abs(plain(data).astype(int) - ours(data)).mean() for data in files])
    return [
        line(f"500x400 to {image_size} px: Pillow, bicubic", reference, reference),
        line(f"koala.data.decode, {difference:.3f} of 255 from it on average", seconds, reference),
    ]


def memory(source: str, counts, image_size: int = 64) -> list[dict]:
    """Peak memory of preparing 10,000 and more pictures, each in a process of its own."""
    rows, found = [], [entry for entry in entries(source) if not entry.problem]
    for count in counts:
        with tempfile.TemporaryDirectory() as home:
            with zipfile.ZipFile(f"{home}/part.zip", "w") as part:
                for entry in found[:count]:
                    part.writestr(entry.path, read(entry))
            code = (
                "import resource, sys, time; from koala import data; start = time.monotonic()\n"
                "data.prepare(sys.argv[1], 'memory', int(sys.argv[2]))\n"
                "print(time.monotonic() - start, *(resource.getrusage(who).ru_maxrss / 1024"
                " for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
            )
            seconds, main, decoder = _run(code, f"{home}/part.zip", image_size, home)
        rows.append(
            {
                "pictures": min(count, len(found)),
                "seconds": seconds,
                "peak memory, MiB": main,
                "a decoding process": decoder,
            }
        )
    return rows


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("small", help="an archive of pictures of about 64 px; several with commas and globs")
    parser.add_argument("large", nargs="?", help="photographs")
    parser.add_argument(
        "--memory", type=int, nargs="+", metavar="N", help="peak memory of preparing N pictures"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # all of it on one core
    rows = small_pictures(given.small) + (large_photographs(given.large) if given.large else [])
    print(pd.DataFrame(rows).to_string(index=False))
    if given.memory:
        print(pd.DataFrame(memory(given.small, given.memory)).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
