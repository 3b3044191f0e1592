"""Damage to valid files and archives of the zoo, at random: each is refused, or used as a strict decoder sees it.

python tests/data/fuzz.py [--seconds 60] [--most 1000000] [--seed 0] [--keep FOLDER]        (make fuzz)

Bytes are flipped, overwritten, cut out, inserted, or cut off. What koala.data then uses must be, pixel for pixel, what a
second reader makes of the same bytes: for JPEG simplejpeg in strict mode and Pillow, for PNG and WebP libpng and libwebp
through torchvision, for the others, which have no checksums, Pillow. What an archive gives must be a member's own bytes, or
be refused by name; in a plain tar, which has no checksums for contents and only sums for names, it must pass as a file does.
The seed and the number of a case give it again; --keep writes those that failed.
"""

import argparse
import collections
import io
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torchvision
import zoo
import zoo_archives
from PIL import Image, ImageOps

from koala.data import archives, decode, sources
from koala.data.reasons import Refused
from koala.system.errors import KoalaError

SLOW = 20.0  # seconds: no file of the zoo's size may take longer
KINDS = ("flip", "flips", "overwrite", "zeros", "cut out", "insert", "cut off", "swap")


class Silent(AssertionError):
    """Damaged bytes that were used as if they were whole."""


def damage(content: bytes, generator) -> tuple[str, bytes]:
    """(what was done, the bytes after it)."""
    kind = KINDS[generator.integers(len(KINDS))]
    at, length = int(generator.integers(len(content))), int(2 ** generator.uniform(0, 9))
    changed = bytearray(content)
    if kind in ("flip", "flips"):
        for place in generator.integers(len(content), size=1 if kind == "flip" else length):
            changed[place] ^= 1 << int(generator.integers(8))
    elif kind == "overwrite":
        changed[at : at + length] = generator.bytes(len(changed[at : at + length]))
    elif kind == "zeros":
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    elif kind == "cut out":
        del changed[at : at + length]
    elif kind == "insert":
        changed[at:at] = generator.bytes(length)
    elif kind == "cut off":
        del changed[at:]
    else:
        other = int(generator.integers(len(content)))
        one, two = changed[at : at + length], changed[other : other + length]
        if len(one) == len(two) and abs(at - other) >= length:
            changed[at : at + length], changed[other : other + length] = two, one
    return kind, bytes(changed)


def check_file(content: bytes) -> str:
    """ "refused" or "used". Raises Silent where koala uses what a strict reader refuses or sees otherwise."""
    try:
        pixels = decode.whole(content)
        square, _, _ = decode.square(content, 32)
    except Refused:
        return "refused"
    if square.shape != (32, 32, 3) or pixels.dtype != np.uint8:
        raise Silent(f"pixels of shape {square.shape}")
    with Image.open(io.BytesIO(content)) as image:
        kind, turned = image.format, image.getexif().get(decode.ORIENTATION, 1) != 1
        plain = image.mode == "RGB" and not image.info.get("icc_profile")
        seen = np.asarray(ImageOps.exif_transpose(image).convert("RGB")) if plain else None
        alone = getattr(image, "n_frames", 1) == 1  # the second readers take no animations
    other = strictly(content, kind) if alone else None
    if plain and not np.array_equal(seen, pixels):
        raise Silent(f"{kind}: not what Pillow sees")
    if (
        plain
        and not turned
        and other is not None
        and other.dtype == np.uint8
        and not np.array_equal(other, pixels)
    ):
        raise Silent(f"{kind}: not what the second decoder sees")
    return "used"


def strictly(content: bytes, kind: str) -> np.ndarray | None:
    """(H, W, 3) uint8 by a decoder of its own that raises on damage; None where there is none for the format."""
    tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    rgb = torchvision.io.ImageReadMode.RGB
    try:
        if kind in ("JPEG", "MPO"):
            return simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)
        if kind == "PNG":
            return torchvision.io.decode_png(tensor, rgb).permute(1, 2, 0).numpy()
        if kind == "WEBP":
            return torchvision.io.decode_webp(tensor, rgb).permute(1, 2, 0).numpy()
    except (ValueError, RuntimeError) as error:
        if "Animated webp" in str(error):  # which it does not take
            return None
        raise Silent(f"{kind}: used, but a strict decoder says: {str(error)[:200]}") from error
    return None


def check_archive(place: Path, members: dict[str, bytes]) -> str:
    """ "refused", "named" where some member is refused by name, or "used"."""
    try:
        listing = list(sources.entries(str(place)))
    except KoalaError:
        return "refused"
    if len(listing) < len(members):
        raise Silent(f"{len(members) - len(listing)} of {len(members)} members are not mentioned")
    named = False
    for entry in listing:
        try:
            content = None if entry.problem else archives.read(entry)
        except archives.Unreadable:
            content = None
        if content is None:
            named = True
        elif members.get(entry.path) != content:
            if check_file(content) == "refused":
                named = True
            elif place.suffix != ".tar":
                raise Silent(f"'{entry.path}' is used with bytes that it did not have")
    return "named" if named else "used"


def specimens() -> list[tuple[str, bytes, dict | None]]:
    """(name, content, members of an archive) of everything valid."""
    files = [(name, case.content, None) for name, case in zoo.files().items() if case.status == "used"]
    packed = [
        (name, case.content, dict(zoo_archives.PHOTOS))
        for name, case in zoo_archives.archives().items()
        if not case.refused and not case.fates
    ]
    return files + packed * (1 + len(files) // len(packed))  # as many of each


def run(
    seconds: float, most: int, seed: int, keep: Path | None = None, progress=print
) -> collections.Counter:
    """Outcomes by kind: {(suffix, what was done, outcome): number}. Stops after `seconds` or `most` cases."""
    everything, outcomes, start = specimens(), collections.Counter(), time.monotonic()
    for number in range(most):
        if time.monotonic() - start > seconds:
            break
        generator = np.random.default_rng([seed, number])
        name, content, members = everything[generator.integers(len(everything))]
        kind, changed = damage(content, generator)
        begun = time.monotonic()
        outcome = attempt(name, changed, members)
        if time.monotonic() - begun > SLOW:
            outcome = f"SLOW: {time.monotonic() - begun:.0f} s"
        outcomes[Path(name).suffix, kind, outcome.partition(":")[0]] += 1
        if outcome.isupper() or ":" in outcome:
            progress(f"seed {seed}, case {number}, {name}, {kind}: {outcome}")
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}-{number}-{name}").write_bytes(changed)
    return outcomes


def attempt(name: str, content: bytes, members: dict | None) -> str:
    """The outcome of one case; with a colon where it must not be."""
    try:
        if members is None:
            return check_file(content)
        with tempfile.TemporaryDirectory() as folder:
            (place := Path(folder) / name).write_bytes(content)
            archives._open.cache_clear()
            return check_archive(place, members)
    except Silent as error:
        return f"SILENT: {error}"
    except Exception as error:  # anything but a refusal is a finding
        return f"{type(error).__name__.upper()}: {error}"


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most", type=int, default=1_000_000, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of failed cases")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    outcomes = run(options.seconds, options.most, options.seed, options.keep)
    table = collections.defaultdict(collections.Counter)
    for (suffix, _, outcome), count in outcomes.items():
        table[suffix][outcome] += count
    for suffix, counts in sorted(table.items()):
        print(f"{suffix or 'no suffix':10}", ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items())))
    bad = sum(count for (*_, outcome), count in outcomes.items() if outcome.isupper())
    print(f"{outcomes.total():,} cases with seed {options.seed}: {bad:,} failed")
    return bool(bad)


if __name__ == "__main__":
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries write their complaints there
    sys.exit(main())
