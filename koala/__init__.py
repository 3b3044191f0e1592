"""koala: a reproducible study of automatic image colorization."""

import os
import warnings

__version__ = "0.1.0"

# A thread of torch's OpenMP (libgomp) that has nothing to do spins for a long time by default, and takes the core from
# the others wherever there are fewer cores than threads. It reads this once, when torch is imported: so here, before it.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

# Libraries that import tqdm.auto would open every notebook with it; our progress needs no widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
