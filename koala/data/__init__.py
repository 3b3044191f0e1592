"""Photographs in, one prepared data set out: list, decode, split, write, load and describe.

A source (folder, archive, name) becomes data/NAME/ with images.npy, files.csv and meta.json: `prepare` makes it,
`find` takes whatever a user means by a data set, `load` reads it back as `Photos`, `files` lists every file of its source.
"""

from koala.data.dataset import Photos, files, find, load, prepare
from koala.data.splits import SPLITS

__all__ = ["SPLITS", "Photos", "files", "find", "load", "prepare"]
