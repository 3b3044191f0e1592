"""Frozen ImageNet classifiers as feature extractors: their weights, their outputs for a data set, and controls.

`build` gives one extractor, `width` its number of features without building it, `compute` the features of a data set
from the cache.
"""

from koala.extractors.cache import Features, compute
from koala.extractors.extractor import Extractor, build, width

__all__ = ["Extractor", "Features", "build", "compute", "width"]
