"""One run from its parameters to its artefacts, as train.ipynb goes through it.

`check` the parameters, `load_photos`, `split_rows`, `load_inputs`, `run` (train and evaluate, or read back),
`write_result` for a study; `reopen` gives a finished run's inputs and network again.
"""

from koala.experiment.inputs import Inputs, check, load_inputs, load_photos, split_rows
from koala.experiment.pipeline import make_model, reopen, run, write_result

__all__ = [
    "Inputs",
    "check",
    "load_inputs",
    "load_photos",
    "make_model",
    "reopen",
    "run",
    "split_rows",
    "write_result",
]
