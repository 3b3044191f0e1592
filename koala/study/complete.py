"""Runs of a study that are missing, trained one after another: what its graph does, from within a notebook."""

from koala import config as configs
from koala import data, experiment
from koala.study import loading
from koala.study import plan as plans


def train_missing(plan: plans.Study, names: list[str], device, progress=None) -> None:
    """Train what is missing of these experiments, over their seeds, and keep the results where the study looks for them."""
    done = loading.finished(plan)
    missing = [(name, seed) for name, seed in plan.runs() if name in names and (name, seed) not in done]
    if missing:
        data.prepare(**plan.data, progress=progress)
    for name, seed in missing:
        where = {"result_file": str(plan.result_file(name, seed))}
        config = configs.from_dict(configs.RunConfig, plans.parameters(plan, name, seed) | where)
        experiment.check(config)
        photos = experiment.load_photos(config, progress)
        rows = experiment.split_rows(config, photos)
        inputs = experiment.load_inputs(config, photos, rows, device, progress)
        experiment.write_result(config, experiment.run(config, inputs, device, progress=progress))
