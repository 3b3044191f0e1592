"""python -m koala.report render STUDY · again STUDY · page NOTEBOOK NAME TITLE · html NOTEBOOK"""

import argparse
import sys

from koala.report import again, pages, render
from koala.system import paths
from koala.system.errors import KoalaError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m koala.report", description="Pages from executed notebooks."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for action, words in (
        ("render", "every page of a study"),
        ("again", "the same, with its analysis made again from its runs or from what was exported of them"),
    ):
        actions.add_parser(action, help=words).add_argument("study", help="its name in params/studies")
    page = actions.add_parser("page", help="one executed notebook as reports/NAME/index.html")
    page.add_argument("notebook", help="an executed notebook")
    page.add_argument("name", help="of the folder in reports")
    page.add_argument("title", help="of the page")
    page = actions.add_parser("html", help="one executed notebook as a page beside it, to look at")
    page.add_argument("notebook", help="an executed notebook")
    _act(parser.parse_args())


def _act(arguments) -> None:
    if arguments.action == "html":
        notebook = paths.resolve(arguments.notebook)
        target = notebook.with_suffix(".html")
        render.render_notebook(notebook, target, notebook.stem)
        print(f"open {target.resolve()}")
    elif arguments.action == "again":
        print(f"open {again.render_again(arguments.study)}")
    elif arguments.action == "render":
        print(f"rendered {pages.render_study(arguments.study)}")
    else:
        print(
            f"rendered {pages.render_page(paths.resolve(arguments.notebook), arguments.name, arguments.title)}"
        )


try:
    main()
except KoalaError as error:
    sys.exit(f"koala: {error}")
