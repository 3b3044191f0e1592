# A study as a graph: data -> features -> runs -> analysis -> reports. Every node is a papermill call.
#   snakemake --cores 2 --config study=demo               on a GPU machine: --resources gpu=NUMBER_OF_GPUS
# Run it again to go on: finished nodes are skipped, interrupted runs resume from their checkpoints, failed ones are
# tried again. A failed run does not stop the others: it stands in the index as failed, and the last rule exits with 1.
import os
import shlex
import sys
from pathlib import Path

from koala import study as studies
from koala.study import questions
from koala.system import paths

for name in ("KOALA_HOME", "KOALA_REPORTS", "KOALA_SOURCE", "TORCH_HOME"):
    if name in os.environ:

        envvars:  # goes with jobs to other machines
            name,


NAME = str(config.get("study", "demo"))  # of a file in params/studies, or a study file's path
STUDY = studies.load(NAME)
PYTHON = shlex.quote(sys.executable)
PAPERMILL = f"{PYTHON} -m papermill --log-level ERROR --no-progress-bar"
ENDED = "&& {PYTHON} -m koala.study ended {output:q} || {PYTHON} -m koala.study failed {log:q} {output:q}"
FOLDER, REPORTS = STUDY.folder, STUDY.reports
RUNS = [f"{experiment}-s{seed}" for experiment, seed in STUDY.runs()]
FEATURES = studies.extractors(STUDY)  # name -> parameters of features.ipynb
NEEDS = {run: studies.features_of(STUDY, run[0]) for run in STUDY.runs()}  # -> the features that a run waits for
PARTS = [FOLDER / f"{part}.json" for part in questions.parts(STUDY)]
SETS = {"data": STUDY.data}
if studies.is_here(STUDY.elsewhere):  # a study does without it elsewhere
    SETS["elsewhere-data"] = STUDY.elsewhere

if workflow.is_main_process:  # a failed run's result file would count as done
    studies.forget_failures(STUDY)


def arguments(values):
    return " ".join(map(shlex.quote, studies.command_line(values)))


rule all:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),  # named here, too: a failed run's missing file must bring it back
        PARTS,
        REPORTS / "index.html",
    shell:
        "{PYTHON} -m koala.study verdict {NAME:q}"


for part, values in SETS.items():
    # A study cannot do without its own photographs; where the others fail, that is what it says of them.
    fails = "why {log:q} >&2; exit 1" if part == "data" else "failed {log:q} {output:q}"

    rule:
        name: part.replace("-", "_")
        output:
            FOLDER / f"{part}.json",
        log:
            FOLDER / f"{part}.ipynb",
        params:
            arguments=arguments(values),
            meta=paths.data_dir() / studies.dataset(values) / "meta.json",
        threads: workflow.cores
        shell:
            "echo 'Preparing the photographs ...'; "
            "{PAPERMILL} notebooks/data.ipynb {log:q} {params.arguments} 2>{log:q}.stderr "
            "&& cp {params.meta:q} {output:q} || {{ {PYTHON} -m koala.study " + fails + "; }}"


# One rule per extractor and per run, since a rule has one priority: the study's order decides what starts first, so that
# an unfinished study is already worth reading.
for extractor, parameters in FEATURES.items():
    first = min(i for i, run in enumerate(STUDY.runs()) if NEEDS[run] == extractor)

    rule:
        name: f"features_{extractor}"
        input:
            FOLDER / "data.json",
            [FOLDER / f"distilled-{parameters['backbone']}.json"] if parameters.get("weights") == "distilled" else [],
        output:
            FOLDER / f"features-{extractor}.json",
        log:
            FOLDER / f"features-{extractor}.ipynb",
        params:
            arguments=arguments(parameters),
            extractor=extractor,
        threads: max(1, workflow.cores // len(RUNS))
        priority: len(RUNS) - first
        resources:
            gpu=1,
        shell:  # where this fails, each run that needs it fails with the reason
            "echo 'Running the extractor {params.extractor} over the photographs ...'; "
            "OMP_NUM_THREADS={threads} {PAPERMILL} notebooks/features.ipynb {log:q} {params.arguments} 2>{log:q}.stderr "
            + ENDED


for backbone in STUDY.distill:

    rule:
        name: f"distill_{backbone}"
        input:
            FOLDER / "data.json",
        output:
            FOLDER / f"distilled-{backbone}.json",
        log:
            FOLDER / f"distilled-{backbone}.ipynb",
        params:
            arguments=arguments(studies.distillation(STUDY, backbone)),
            backbone=backbone,
        threads: max(1, workflow.cores // len(RUNS))
        priority: len(RUNS) - min(i for i, run in enumerate(STUDY.runs()) if f"{backbone}-distilled" in NEEDS[run])
        resources:
            gpu=1,
        shell:  # where this fails, each run that needs it fails with the reason
            "echo 'Teaching {params.backbone} what another network knows ...'; "
            "OMP_NUM_THREADS={threads} {PAPERMILL} notebooks/pretrain.ipynb {log:q} {params.arguments} 2>{log:q}.stderr "
            + ENDED


for index, (experiment, seed) in enumerate(STUDY.runs()):

    rule:
        name: f"train_{experiment}_{seed}"
        input:
            FOLDER / "data.json",
            [FOLDER / f"features-{NEEDS[experiment, seed]}.json"] if NEEDS[experiment, seed] else [],
        output:
            FOLDER / f"{experiment}-s{seed}.json",
        log:
            FOLDER / f"{experiment}-s{seed}.ipynb",
        params:
            arguments=arguments(studies.parameters(STUDY, experiment, seed)),
            run=f"{experiment}-s{seed}",
        threads: max(1, workflow.cores // len(RUNS))
        priority: len(RUNS) - index
        resources:
            gpu=1,
        shell:
            "echo 'Training {params.run} ...'; "
            "OMP_NUM_THREADS={threads} {PAPERMILL} notebooks/train.ipynb {log:q} {params.arguments} "
            "-p result_file {output:q} 2>{log:q}.stderr || {PYTHON} -m koala.study failed {log:q} {output:q}"


rule elsewhere:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),
        FOLDER / "elsewhere-data.json",
    output:
        FOLDER / "elsewhere.json",
    log:
        FOLDER / "elsewhere.log",
    params:
        dataset=studies.dataset(STUDY.elsewhere),
    shell:
        "echo 'Judging the networks on {params.dataset} ...'; "
        "{PYTHON} -m koala.study elsewhere {NAME:q} {params.dataset:q} >{log:q} 2>{log:q}.stderr "
        + ENDED


rule analysis:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),
        [FOLDER / "elsewhere.json"] * ("elsewhere-data" in SETS),
    output:
        FOLDER / "analysis.json",
    log:
        FOLDER / "analysis.ipynb",
    shell:
        "echo 'Comparing the runs ...'; "
        "{PAPERMILL} notebooks/analysis.ipynb {log:q} -p study {NAME:q} 2>{log:q}.stderr "
        + ENDED


rule experiment:
    input:
        FOLDER / "analysis.json",
    output:
        FOLDER / "experiment-{experiment}.json",
    log:
        FOLDER / "experiment-{experiment}.ipynb",
    shell:
        "{PAPERMILL} notebooks/experiment.ipynb {log:q} -p study {NAME:q} -p experiment {wildcards.experiment:q} "
        "2>{log:q}.stderr "
        + ENDED


rule colorize:  # what the network that comes with koala makes of the embedded photographs
    input:
        FOLDER / "data.json",
    output:
        FOLDER / "colorize.json",
    log:
        FOLDER / "colorize.ipynb",
    params:
        output=paths.data_dir() / "colorized",
    shell:
        "echo 'Colouring the embedded photographs ...'; "
        "{PAPERMILL} notebooks/colorize.ipynb {log:q} -p output {params.output:q} 2>{log:q}.stderr "
        + ENDED


rule probe:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),
    output:
        FOLDER / "probe.json",
    log:
        FOLDER / "probe.ipynb",
    params:
        experiment=STUDY.probe,
        seed=next((seed for name, seed in STUDY.runs() if name == STUDY.probe), 0),
    shell:
        "echo 'Looking into the extractor of {params.experiment} ...'; "
        "{PAPERMILL} notebooks/probe.ipynb {log:q} -p study {NAME:q} -p experiment {params.experiment:q} "
        "-p seed {params.seed} 2>{log:q}.stderr "
        + ENDED


rule report:
    input:
        PARTS,
    output:
        REPORTS / "index.html",
    shell:
        "echo 'Rendering the reports ...'; "
        "{PYTHON} -m koala.study export {NAME:q} && {PYTHON} -m koala.report render {NAME:q}"
