"""koala: a reproducible study of automatic image colorization."""

__version__ = "0.1.0"
