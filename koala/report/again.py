"""A study's pages made again, from its runs or from what was exported of them: without photographs, without training."""

import papermill

from koala import study
from koala.report import pages
from koala.study import loading, questions
from koala.system import paths


def render_again(name: str):
    """Execute the study's analysis and its experiments' notebooks, and render; returns its index page.

    Pages of notebooks that were executed elsewhere (its runs, its photographs) stay as they are."""
    plan = study.load(name)
    _execute("analysis", plan.folder / "analysis.ipynb", study=name)
    unfinished = {experiment for experiment, _ in set(plan.runs()) - loading.finished(plan)}
    for one in [] if plan.demo else questions.asked(plan):
        if not {one.experiment, one.against} & unfinished:  # else its notebook would train
            target = plan.folder / f"experiment-{one.experiment}.ipynb"
            _execute("experiment", target, study=name, experiment=one.experiment)
    return pages.render_study(name)


def _execute(notebook: str, target, **values) -> None:
    print(f"Running {target.stem} ...", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    source = paths.ROOT / "notebooks" / f"{notebook}.ipynb"
    papermill.execute_notebook(str(source), str(target), values, progress_bar=False, cwd=str(paths.ROOT))
