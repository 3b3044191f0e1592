"""python -m koala.study check NAME | verdict NAME | export NAME | elsewhere NAME DATASET | why NOTEBOOK | ended RESULT_FILE |
failed NOTEBOOK RESULT_FILE"""

import argparse
import sys

from koala import study
from koala.system.errors import KoalaError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m koala.study", description="Commands for studies.")
    actions = parser.add_subparsers(dest="action", required=True)
    study_name = ("name", "a study's name in params/studies")
    log, result = ("notebook", "the executed notebook"), ("result_file", "the JSON file to write")
    for action, words, taken in (
        ("check", "refuse a study that cannot be run here, and say what it costs", (study_name,)),
        ("export", "write the study's numbers to reports/NAME/runs, to be kept in git", (study_name,)),
        (
            "elsewhere",
            "judge a study's networks on other photographs",
            (study_name, ("dataset", "the name of a prepared data set")),
        ),
        ("why", "say why a notebook failed, in one line", (log,)),
        ("verdict", "say which page to open and what failed; exit 1 if anything did", (study_name,)),
        ("ended", "write down that a notebook ended well", (result,)),
        ("failed", "write down why a notebook failed", (log, result)),
    ):
        one = actions.add_parser(action, help=words)
        for name, meaning in taken:
            one.add_argument(name, help=meaning)
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
        if arguments.action == "verdict":
            sys.exit(study.verdict(study.load(arguments.name)))
        if arguments.action == "export":
            from koala.study import export, loading

            print(f"exported to {export.write(loading.load(arguments.name))}")
            return
        if arguments.action == "elsewhere":
            _elsewhere(arguments.name, arguments.dataset)
            return
        _check(study.load(arguments.name))
    except KoalaError as error:
        sys.exit(f"koala: {error}")


def _elsewhere(name: str, dataset: str) -> None:
    from koala import data
    from koala.study import compare, elsewhere, loading
    from koala.system import device
    from koala.system.progress import Progress

    whole = loading.load(name)
    judged = elsewhere.judge(whole, data.load(dataset), device.pick("auto"), Progress())
    elsewhere.write(whole, judged, dataset)
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
