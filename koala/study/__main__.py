"""python -m koala.study check NAME | export NAME | elsewhere NAME DATASET | why NOTEBOOK | ended RESULT_FILE | failed NOTEBOOK RESULT_FILE"""

import argparse
import sys

from koala import study
from koala.system.errors import KoalaError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="koala.study", description="What the graph of a study needs from the shell."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="refuse a study that cannot be run here, and say what it costs")
    check.add_argument("name")
    keep = actions.add_parser(
        "export", help="write the study's numbers to reports/NAME/runs, to be kept in git"
    )
    keep.add_argument("name")
    away = actions.add_parser("elsewhere", help="judge a study's networks on a prepared data set of others")
    away.add_argument("name")
    away.add_argument("dataset")
    why = actions.add_parser("why", help="say why a notebook failed, in one line")
    why.add_argument("notebook")
    ended = actions.add_parser("ended", help="write down that a notebook ended well")
    ended.add_argument("result_file")
    failed = actions.add_parser("failed", help="write down why a notebook failed")
    failed.add_argument("notebook")
    failed.add_argument("result_file")
    arguments = parser.parse_args()
    if arguments.action == "failed":
        study.record_failure(arguments.notebook, arguments.result_file)
        return
    if arguments.action == "why":
        print(f"failed: {study.why(arguments.notebook)}")
        return
    if arguments.action == "ended":
        study.record_end(arguments.result_file)
        return
    try:
        if arguments.action == "export":
            from koala.study import compare, export

            print(f"exported to {export.write(compare.load(arguments.name))}")
            return
        if arguments.action == "elsewhere":
            _elsewhere(arguments.name, arguments.dataset)
            return
        _check(study.load(arguments.name))
    except KoalaError as error:
        sys.exit(f"koala: {error}")


def _elsewhere(name: str, dataset: str) -> None:
    from koala import data
    from koala.study import compare, elsewhere
    from koala.system import device
    from koala.system.progress import Progress

    judged = elsewhere.judge(compare.load(name), data.load(dataset), device.pick("auto"), Progress())
    elsewhere.write(judged, dataset)
    print(
        compare.summary(judged, ["ciede2000", "ab_rmse"]).to_string(index=False, float_format="{:.2f}".format)
    )


def _check(plan: study.Study) -> None:
    from koala.study import budget, ready  # torch is loaded once the file is known to be good
    from koala.system import device
    from koala.system.progress import Progress

    ready.check(plan, Progress("bytes"))
    costs = budget.estimate(plan, device.pick())
    print("\n".join(costs.lines()))
    costs.check()


main()
