"""The finished runs of a study, read back, and their values by experiment, seed and photograph."""

import dataclasses
import re

import numpy as np
import pandas as pd

from koala.experiment import artefacts, baselines
from koala.study import plan as plans
from koala.system.errors import KoalaError


@dataclasses.dataclass
class FinishedStudy:
    """The finished runs of a study by (experiment, seed), and the result rows of the others."""

    plan: plans.Study
    runs: dict[tuple[str, int], artefacts.Run]
    failed: list[dict]
    among: "FinishedStudy | None" = None  # the study that these runs are a part of
    over_categories: bool = (
        False  # intervals are: what is said shall hold for photographs of other categories, too
    )
    _lines: dict = dataclasses.field(default_factory=dict, repr=False)

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(experiment for experiment, _ in self.runs))

    def only(self, *experiments: str) -> "FinishedStudy":
        """The same study with these experiments alone, in this order."""
        runs = {(name, seed): self.runs[name, seed] for name in experiments for seed in self.seeds(name)}
        return FinishedStudy(self.plan, runs, [], self, self.over_categories)

    def seeds(self, experiment: str) -> list[int]:
        return [seed for name, seed in self.runs if name == experiment]

    def label(self, experiment: str) -> str:
        """The experiment's name, with "(untrained)" or "(distilled here)" where its extractor is and the name does not
        say so in these words."""
        remark = self.first(experiment).remark
        return experiment + f" ({remark})" * (remark not in experiment)

    def first(self, experiment: str) -> artefacts.Run:
        """The experiment's run with its first seed."""
        return self.runs[experiment, self.seeds(experiment)[0]]

    def untrained(self, experiment: str) -> bool:
        return self.first(experiment).untrained

    def extractor(self, experiment: str) -> tuple:
        return self.first(experiment).extractor

    def config(self, experiment: str) -> dict:
        return self.first(experiment).config

    def lines(self, experiment: str, seed: int, method: str = "model") -> pd.DataFrame:
        """A run's lines of per_image.csv of one method, in row order; empty where it has none."""
        key = experiment, seed, method
        if key not in self._lines:
            table = self.runs[experiment, seed].per_image
            self._lines[key] = table[table.method == method].sort_values("row", ignore_index=True)
        return self._lines[key]

    def methods(self) -> list[tuple[str, int, str]]:
        """(experiment, seed, method) of the rows that need no network: for each test split those of the photographs once, and
        those of features for each extractor, from the first run that has them."""
        rows, seen = [], set()
        for (name, seed), run in self.runs.items():
            extractor = self.extractor(name)
            for method in baselines.METHODS:
                of_features = method in baselines.OF_FEATURES
                count = len(self.lines(name, seed, method))
                key = (method, extractor if of_features else "", count)
                if key not in seen and (run.own_features or not of_features) and count:
                    seen.add(key)
                    rows.append((name, seed, method))
        return rows

    def holder(self, experiment: str, method: str) -> str:
        """The experiment beside whose runs the lines of a method of the photographs stand, for the test split of another."""
        size = self.tested(experiment)
        return next(name for name, _, way in self.methods() if way == method and self.tested(name) == size)

    def values(self, experiment: str, metric: str, method: str = "model", seeds=None) -> np.ndarray:
        """(seeds, photographs) of a metric, photographs in row order, the same for every experiment of a study.

        Of seeds, or of all whose runs have lines of the method."""
        seeds = self.seeds(experiment) if seeds is None else seeds
        lines = [self.lines(experiment, seed, method) for seed in seeds]
        return np.stack([one[metric].to_numpy(float) for one in lines if len(one)])

    def has(self, experiment: str, *columns: str) -> bool:
        """Whether the run has these columns: an older koala may have written it."""
        return set(columns) <= set(self.first(experiment).per_image)

    def tested(self, experiment: str) -> int:
        """Photographs in the experiment's test split."""
        return len(self.lines(experiment, self.seeds(experiment)[0]))

    def groups(self, experiment: str) -> np.ndarray | None:
        """The categories of the test photographs, in row order, where intervals are over these; else None."""
        return self.photographs(experiment).category.to_numpy(str) if self.over_categories else None

    def photographs(self, experiment: str) -> pd.DataFrame:
        """row, path and category of the test photographs, in row order."""
        return self.lines(experiment, self.seeds(experiment)[0])[["row", "path", "category"]]


def plain(category: str) -> str:
    """A category's name without its synset and without the folder above."""
    return re.sub(r"-n\d{8}$|.*/", "", category)


def find_run(study: FinishedStudy, experiment: str, seed: int) -> artefacts.Run:
    """One finished run. Raises KoalaError that lists what there is."""
    if (experiment, seed) not in study.runs:
        known = ", ".join(f"{name} seed {number}" for name, number in study.runs)
        raise KoalaError(
            f"study '{study.plan.name}' has no finished run '{experiment}' with seed {seed} (finished: {known})."
        )
    return study.runs[experiment, seed]
