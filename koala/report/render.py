"""Executed notebooks and plain pages as HTML in one file that loads nothing: no script, no font, no formula engine."""

import html
import re
from pathlib import Path

import latex2mathml.converter
import nbconvert
import nbformat

from koala.system import paths

TEMPLATES = Path(__file__).parent / "templates"


def render_notebook(source: Path, target: Path, title: str, navigation: str = "") -> None:
    """One executed notebook -> one HTML file. A notebook that is not there becomes a page that says so."""
    if source.exists():
        notebook = nbformat.read(source, as_version=4)
    else:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell(f"# {title}\nThis notebook has not been run.")]
        )
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mathml(cell.source)
    notebook.cells = [
        c
        for c in notebook.cells
        if not c.get("id") == "papermill-error-cell"
        and "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    exporter = nbconvert.HTMLExporter(template_name="koala", extra_template_basedirs=[str(TEMPLATES)])
    resources = {
        "koala_title": title,
        "koala_navigation": navigation,
        "koala_css": (TEMPLATES / "koala" / "style.css").read_text(),
    }
    body, _ = exporter.from_notebook_node(notebook, resources)
    paths.write_text(target, without_places(body))


def without_places(text: str) -> str:
    """Reports are published: this machine's folders become ".", "KOALA_HOME" and ".." in them."""
    for place, name in ((paths.ROOT, "."), (paths.home(), "KOALA_HOME"), (paths.ROOT.parent, "..")):
        text = text.replace(f"{place}/", f"{name}/") if len(place.parts) > 1 else text
    return text


def mathml(markdown: str) -> str:
    """$...$ and $$...$$ outside code spans -> MathML, which browsers draw without a script."""
    pieces = re.split(r"(```.*?```|`[^`]*`)", markdown, flags=re.S)
    for index in range(0, len(pieces), 2):
        pieces[index] = re.sub(
            r"\$\$(.+?)\$\$",
            lambda m: latex2mathml.converter.convert(m[1], display="block"),
            pieces[index],
            flags=re.S,
        )
        pieces[index] = re.sub(
            r"\$([^$\n]+?)\$", lambda m: latex2mathml.converter.convert(m[1]), pieces[index]
        )
    return "".join(pieces)


def page(title: str, body: str, navigation: str = "") -> str:
    """A page of its own in the reports' style; body: HTML."""
    style = (TEMPLATES / "koala" / "style.css").read_text()
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title><style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main><nav>{navigation}</nav>\n<h1>{html.escape(title)}</h1>\n{without_places(body)}</main></body></html>\n'
