"""One run from its parameters to its artefacts, as train.ipynb goes through it.

`check` the parameters, `load_photos`, `split_rows`, `load_features`, `run` (train and evaluate, or read back),
`write_result` for a study; `reopen` gives a finished run's data and network again.
"""

from koala.experiment.pipeline import (
    check,
    load_features,
    load_photos,
    make_model,
    reopen,
    run,
    split_rows,
    write_result,
)

__all__ = [
    "check",
    "load_features",
    "load_photos",
    "make_model",
    "reopen",
    "run",
    "split_rows",
    "write_result",
]
