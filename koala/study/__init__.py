"""Many runs, one question: which experiments and seeds make up a study, and what they show together.

The package's own names are the plan (params/studies/NAME.yaml and where its parts are kept) and how its parts ended,
light enough for the Snakefile. Finished runs are read by `loading.load`; `compare`, `contrasts`, `curves`, `gains`, `hues`,
`left_gray` and `claims` say what is in them, `probe` and `category_baseline` look into an extractor, `elsewhere` judges on
other photographs, and `export` keeps the numbers in git.
"""

from koala.study.outcomes import forget_failures, outcome, record_end, record_failure, results, verdict, why
from koala.study.plan import (
    PARAMS,
    Study,
    command_line,
    dataset,
    described,
    distillation,
    extractors,
    features_of,
    is_here,
    load,
    parameters,
)

__all__ = [
    "PARAMS",
    "Study",
    "command_line",
    "dataset",
    "described",
    "distillation",
    "extractors",
    "features_of",
    "forget_failures",
    "is_here",
    "load",
    "outcome",
    "parameters",
    "record_end",
    "record_failure",
    "results",
    "verdict",
    "why",
]
