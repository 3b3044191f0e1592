"""`photos`: the colour photographs inside installed packages, cut into crops. A pipeline check, never evidence."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from koala.data.decode import open_image
from koala.data.records import Entry

# Photographs only (no drawing, chart, logo or second stereo half), all freely licensed by their packages.
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
CROPS = 24  # per photograph


def photographs() -> list[Path]:
    """Paths of the embedded photographs that are installed here (some packages drop some files)."""
    paths = []
    for package, name in PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / name if spec and spec.origin else None
        if path and path.is_file():
            paths.append(path)
    return paths


def list_photos(seed: int):
    """Yield an Entry for each of CROPS crops of each photograph; group = the photograph.

    The sides of the squares are spread evenly in logarithm from 1/4 to 1 of the photograph's shorter side."""
    for path in photographs():
        with open_image(path) as image:
            width, height = image.size
        digest = hashlib.sha256(f"{seed} {path.name}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        for number in range(CROPS):
            side = int(min(width, height) * 4.0 ** (number / (CROPS - 1) - 1))
            left, top = (int(generator.integers(0, size - side + 1)) for size in (width, height))
            yield Entry(
                f"{path.name}#{number:02d}",
                str(path),
                "file",
                path.stat().st_size,
                category="photographs",
                group=path.name,
                box=(left, top, side),
            )
