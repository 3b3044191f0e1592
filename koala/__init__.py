"""koala: a reproducible study of automatic image colorization."""

import warnings

__version__ = "0.1.0"

# Libraries that import tqdm.auto would open every notebook with it; our progress needs no widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
