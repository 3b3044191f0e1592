# A study as a graph: data -> features -> runs -> analysis -> reports. Every node is a papermill call.
#   snakemake --cores 2 --config study=demo               on a GPU machine: --resources gpu=NUMBER_OF_GPUS
# Run it again to go on: finished nodes are skipped, interrupted runs resume from their checkpoints, failed ones are
# tried again. A failed run does not stop the others: it stands in the index as failed, and the last rule exits with 1.
import shlex
import sys
from pathlib import Path

from koala import study as studies
from koala.system import paths

NAME = str(config.get("study", "demo"))  # of a file in params/studies, or a study file's path
STUDY = studies.load(NAME)
PYTHON = shlex.quote(sys.executable)
PAPERMILL = f"{PYTHON} -m papermill --log-level ERROR --no-progress-bar"
FOLDER, REPORTS = STUDY.folder, STUDY.reports
RUNS = [f"{experiment}-s{seed}" for experiment, seed in STUDY.runs()]
FEATURES = studies.extractors(STUDY)

if workflow.is_main_process:  # a failed run's result file would count as done
    studies.forget_failures(STUDY)


def arguments(values):
    return " ".join(map(shlex.quote, studies.command_line(values)))


def run_parameters(wildcards):
    experiment, seed = wildcards.run.rsplit("-s", 1)
    return arguments(studies.parameters(STUDY, experiment, int(seed)))


wildcard_constraints:
    run="[^/]+-s[0-9]+",


rule all:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),  # named here, too: a failed run's missing file must bring it back
        REPORTS / "index.html",
    shell:
        "{PYTHON} -m koala.report verdict {NAME:q}"


rule data:
    output:
        FOLDER / "data.json",
    log:
        FOLDER / "data.ipynb",
    params:
        arguments=arguments(STUDY.data),
        meta=paths.data_dir() / STUDY.data.get("name", "photos") / "meta.json",
    threads: workflow.cores
    shell:
        "echo 'Preparing the photographs ...'; "
        "{PAPERMILL} notebooks/data.ipynb {log:q} {params.arguments} 2>{log:q}.stderr "
        "&& cp {params.meta:q} {output:q} || {{ tail -n 1 {log:q}.stderr >&2; exit 1; }}"


rule features:
    input:
        FOLDER / "data.json",
    output:
        touch(FOLDER / "features-{extractor}.done"),
    log:
        FOLDER / "features-{extractor}.ipynb",
    params:
        arguments=lambda wildcards: arguments(FEATURES[wildcards.extractor]),
    threads: max(1, workflow.cores // max(1, len(FEATURES)))
    resources:
        gpu=1,
    shell:  # where this fails, each run that needs it fails with the reason
        "echo 'Running the extractor {wildcards.extractor} over the photographs ...'; "
        "OMP_NUM_THREADS={threads} {PAPERMILL} notebooks/features.ipynb {log:q} {params.arguments} 2>{log:q}.stderr || true"


rule train:
    input:
        FOLDER / "data.json",
        [FOLDER / f"features-{name}.done" for name in FEATURES],
    output:
        FOLDER / "{run}.json",
    log:
        FOLDER / "{run}.ipynb",
    params:
        arguments=run_parameters,
    threads: max(1, workflow.cores // len(RUNS))
    resources:
        gpu=1,
    shell:
        "echo 'Training {wildcards.run} ...'; "
        "OMP_NUM_THREADS={threads} {PAPERMILL} notebooks/train.ipynb {log:q} {params.arguments} "
        "-p result_file {output:q} 2>{log:q}.stderr || {PYTHON} -m koala.study failed {log:q} {output:q}"


rule analysis:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),
    output:
        FOLDER / "analysis.json",
    log:
        FOLDER / "analysis.ipynb",
    shell:
        "echo 'Comparing the runs ...'; "
        "{PAPERMILL} notebooks/analysis.ipynb {log:q} -p study {NAME:q} 2>{log:q}.stderr "
        "&& {PYTHON} -m koala.study ended {output:q} || {PYTHON} -m koala.study failed {log:q} {output:q}"


rule extractor:
    input:
        expand(FOLDER / "{run}.json", run=RUNS),
    output:
        FOLDER / "extractor.json",
    log:
        FOLDER / "extractor.ipynb",
    params:
        experiment=STUDY.probe,
        seed=STUDY.seeds[0],
    shell:
        "echo 'Looking into the extractor of {params.experiment} ...'; "
        "{PAPERMILL} notebooks/extractor.ipynb {log:q} -p study {NAME:q} -p experiment {params.experiment:q} "
        "-p seed {params.seed} 2>{log:q}.stderr "
        "&& {PYTHON} -m koala.study ended {output:q} || {PYTHON} -m koala.study failed {log:q} {output:q}"


rule report:
    input:
        FOLDER / "analysis.json",
        [FOLDER / "extractor.json"] if STUDY.probe else [],
    output:
        REPORTS / "index.html",
    shell:
        "echo 'Rendering the reports ...'; "
        "{PYTHON} -m koala.report render {NAME:q}"
