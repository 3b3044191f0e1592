"""One of the processes that train a run together. train.ipynb starts them where several GPUs are free; by hand, on
each of two machines with eight GPUs and one KOALA_HOME (or one each, with the same photographs):

python -m torch.distributed.run --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29500 \\
    -m koala.experiment.worker -f params/experiments/1-inception.yaml -p dataset places
"""

import argparse
import datetime
import os
import sys

import torch
import torch.distributed as dist
import yaml

from koala import config as configs
from koala.experiment import launch, pipeline
from koala.experiment.inputs import check, load_inputs, load_photos, split_rows
from koala.system import paths, yaml_files
from koala.system.errors import KoalaError
from koala.training import distributed

WAIT = datetime.timedelta(
    hours=12
)  # a machine's first process may prepare photographs and features for hours


def read_config(arguments=None) -> configs.RunConfig:
    """The run's parameters from -f FILE and -p NAME VALUE, as papermill takes them."""
    parser = argparse.ArgumentParser(
        prog="koala.experiment.worker", description="One of the processes of a run."
    )
    parser.add_argument(
        "-f", action="append", default=[], metavar="FILE", help="a YAML or JSON file of parameters"
    )
    parser.add_argument(
        "-p", action="append", default=[], nargs=2, metavar=("NAME", "VALUE"), help="one parameter"
    )
    options, values = parser.parse_args(arguments), {}
    for file in options.f:
        values |= yaml_files.read(paths.resolve(file))
    values |= {name: yaml.safe_load(value) for name, value in options.p}
    config = configs.from_dict(configs.RunConfig, values)
    check(config)
    return config


def join(wanted: str) -> torch.device:
    """Join the process group that torch.distributed.run describes; the device of this process."""
    if wanted == "cpu" or not torch.cuda.is_available():
        dist.init_process_group("gloo", timeout=WAIT)
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", timeout=WAIT, device_id=device)
    return device


def train(config, device) -> None:
    first = distributed.rank() == 0
    progress = launch.tell_progress() if first and distributed.launched() else None
    on_epoch = (lambda history: launch.tell("history", history)) if first and distributed.launched() else None
    with distributed.first_here():  # the others find what it has prepared
        photos = load_photos(config, progress)
        inputs = load_inputs(config, photos, split_rows(config, photos), device, progress)
    pipeline.run(config, inputs, device, on_epoch, progress)


def main(arguments=None) -> None:
    try:
        config = read_config(arguments)
        train(config, join(config.device))
    except Exception as error:
        known = isinstance(error, KoalaError)
        reason = str(error) if known else f"{type(error).__name__}: {error}".partition("\n")[0]
        if distributed.launched():
            launch.tell("failure", reason)
        if not known:
            raise
        sys.exit(f"koala: {reason}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
