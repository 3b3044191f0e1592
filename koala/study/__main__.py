"""python -m koala.study check NAME | ended RESULT_FILE | failed NOTEBOOK RESULT_FILE"""

import argparse
import sys

from koala import study
from koala.system.errors import KoalaError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="koala.study", description="What the graph of a study needs from the shell."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="refuse a study file that cannot be run").add_argument("name")
    ended = actions.add_parser("ended", help="write down that a notebook ended well")
    ended.add_argument("result_file")
    failed = actions.add_parser("failed", help="write down why a notebook failed")
    failed.add_argument("notebook")
    failed.add_argument("result_file")
    arguments = parser.parse_args()
    if arguments.action == "failed":
        study.record_failure(arguments.notebook, arguments.result_file)
        return
    if arguments.action == "ended":
        study.record_end(arguments.result_file)
        return
    try:
        study.load(arguments.name)
    except KoalaError as error:
        sys.exit(f"koala: {error}")


main()
