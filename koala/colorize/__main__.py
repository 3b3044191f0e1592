"""python -m koala.colorize FILE_OR_FOLDER -o OUT: colour photographs, one line per file."""

import argparse
import dataclasses
import sys

from koala.config import ColorizeConfig, from_dict
from koala.system.errors import KoalaError


def parse(arguments: list[str]) -> ColorizeConfig:
    """The command line as ColorizeConfig; KoalaError where a value is out of range."""
    default = ColorizeConfig()
    parser = argparse.ArgumentParser(prog="python -m koala.colorize", description="Colour photographs.")
    parser.add_argument(
        "image",
        metavar="FILE_OR_FOLDER",
        help="a photograph, a folder of them, or the word examples: the embedded photographs",
    )
    parser.add_argument("-o", "--output", required=True, help="a file name for one photograph, else a folder")
    parser.add_argument(
        "--run", default=default.run, help="a run's id or folder; auto: what comes with koala"
    )
    parser.add_argument(
        "--size",
        default=0,
        help="the network sees the shorter side at so many pixels, up to 4096; default 0: as it was judged best",
    )
    parser.add_argument(
        "--strength", default=1.0, help="the predicted chroma is multiplied by it, 0 to 5; default 1"
    )
    parser.add_argument("--format", default="", help="jpg, png, tif or webp; default: as the input")
    parser.add_argument("--overwrite", action="store_true", help="replace files that stand already")
    parser.add_argument("--device", default=default.device, help="auto, cpu, cuda, cuda:0 ...")
    return from_dict(ColorizeConfig, vars(parser.parse_args(arguments)))


def main(arguments: list[str]) -> int:
    """Exit status: 0 if every file was coloured, 1 if some were not, 2 if none was."""
    try:
        config = parse(arguments)
        from koala import colorize
        from koala.system import device

        selection = colorize.find(config.image, config.output)
        targets = colorize.targets(selection, config.output, config.format)
        painter = colorize.load(config.run, device.pick(config.device))
        values = dataclasses.asdict(config)
        options = {name: values[name] for name in ("size", "strength", "overwrite")}
        outcomes = colorize.paint_all(painter, selection, targets, **options)
    except KoalaError as error:
        print(error, file=sys.stderr)
        return 2
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
