"""Executed notebooks and plain pages as HTML in one file that loads nothing: no font, no formula engine, no network."""

import datetime
import hashlib
import re
from pathlib import Path

import latex2mathml.converter
import markupsafe
import nbconvert
import nbformat
from pygments.formatters import HtmlFormatter

from koala.experiment import provenance
from koala.report import charts, tables
from koala.system import paths

TEMPLATES = Path(__file__).parent / "templates"
STEPS = r'\n(<span class="steps">.*?</span>)?</nav>'
PLUMBING = "plumbing"  # the tag of cells that a reader of pages does not need


def read(path: Path) -> nbformat.NotebookNode | None:
    """An executed notebook; None where it has not been run."""
    return nbformat.read(path, as_version=4) if path.exists() else None


def render_notebook(source: Path, target: Path, title: str, **context) -> None:
    """One executed notebook -> one HTML file."""
    notebook = read(source)
    origin = notebook.metadata.get("papermill", {}).get("input_path", "")
    made_by = f"{Path(origin).stem} {cells_hash(notebook)}" if origin else ""
    body = notebook_body(notebook)
    paths.write_text(target, page(title, body, date=executed(notebook), notebook=made_by, **context))


def cells_hash(notebook: nbformat.NotebookNode) -> str:
    """Of a notebook's cells, without those of its parameters: a page whose notebook has another one by now is older."""
    parameters = {"parameters", "injected-parameters"}
    sources = [cell.source for cell in notebook.cells if not parameters & set(cell.metadata.get("tags", []))]
    return hashlib.sha256("\n\n".join(sources).encode()).hexdigest()[:16]


def relink(target: Path, previous: tuple | None, following: tuple | None) -> None:
    """Name the neighbours (words, link) of a page whose notebook is not here, and leave the rest of it as it is."""
    steps = tables.render("steps.html.j2", previous=previous, following=following).strip()
    text = target.read_text(encoding="utf-8")
    paths.write_text(target, re.sub(STEPS, lambda _: f"\n{steps}</nav>", text, count=1, flags=re.S))


def notebook_body(notebook: nbformat.NotebookNode) -> str:
    """The cells as HTML, without their first heading (the page has its own), without plumbing and progress."""
    notebook.cells = [cell for cell in notebook.cells if not _hidden(cell)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mathml(cell.source)
    if notebook.cells and notebook.cells[0].cell_type == "markdown":
        notebook.cells[0].source = re.sub(r"\A# .*\n", "", notebook.cells[0].source)
    exporter = nbconvert.HTMLExporter(
        template_name="koala", extra_template_basedirs=[str(TEMPLATES)], anchor_link_text="#"
    )
    exporter.register_filter("photographs", photographs)
    return exporter.from_notebook_node(notebook)[0]


def bundles(notebook: nbformat.NotebookNode | None) -> list[dict]:
    """Everything that an executed notebook displays, in order: MIME type -> content."""
    cells = notebook.cells if notebook else []
    return [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]


def outputs(notebook: nbformat.NotebookNode | None, kind: str) -> list:
    """What it displays of one MIME type."""
    return [data[kind] for data in bundles(notebook) if kind in data]


def photographs(shown: dict) -> markupsafe.Markup:
    """A grid of photographs (koala.report.pictures.Photographs.as_json) as a table, with a slider where it has one."""
    return markupsafe.Markup(tables.render("photographs.html.j2", **shown))


def chart(groups: dict) -> markupsafe.Markup:
    """Differences by group as a figure for a page; nothing where there is none."""
    groups = {heading: rows for heading, rows in groups.items() if rows}
    if not groups:
        return markupsafe.Markup("")
    figure = charts.forest(
        groups, "difference in CIEDE2000 and its 95 % interval (left of 0: the first is better)"
    )
    svg = charts.show_svg(
        figure, "Paired differences in CIEDE2000 with intervals; the table of differences has the numbers"
    ).data
    return markupsafe.Markup(f'<div class="koala-output"><div class="koala-chart">{svg}</div></div>')


def page(title: str, body: str, date: str = "", **context) -> str:
    """A page in the reports' style. body: HTML. context: home, previous, following, downloads, notebook of page.html.j2."""
    defaults = {
        "home": [],
        "previous": None,
        "following": None,
        "downloads": [],
        "kicker": "",
        "notebook": "",
    }
    sections = re.findall(r'<h2[^>]*\bid="([^"]+)"[^>]*>(.*?)(?:<a\b.*?)?</h2>', body, flags=re.S)
    text = tables.render(
        "page.html.j2",
        title=title,
        body=markupsafe.Markup(body),
        sections=[(name, markupsafe.Markup(words)) for name, words in sections],
        style=markupsafe.Markup(_style()),
        script=markupsafe.Markup((TEMPLATES / "pages" / "page.js").read_text()),
        date=date or f"{datetime.date.today():%Y-%m-%d}",
        commit=provenance.commit(),
        **(defaults | context),
    )
    return without_places(text)


def executed(notebook) -> str:
    """The day on which papermill ran a notebook, or ""."""
    return ((notebook or {}).get("metadata", {}).get("papermill", {}).get("end_time") or "")[:10]


def without_places(text: str) -> str:
    """Reports are published: this machine's folders become ".", "KOALA_HOME" and ".." in them."""
    for place, name in ((paths.ROOT, "."), (paths.home(), "KOALA_HOME"), (paths.ROOT.parent, "..")):
        text = text.replace(f"{place}/", f"{name}/") if len(place.parts) > 1 else text
    return text


def mathml(markdown: str) -> str:
    """$...$ and $$...$$ outside code spans -> MathML, which browsers draw without a script."""
    pieces = re.split(r"(```.*?```|`[^`]*`)", markdown, flags=re.S)
    for index in range(0, len(pieces), 2):
        for pattern, kind in ((r"\$\$(.+?)\$\$", "block"), (r"\$([^$\n]+?)\$", "inline")):
            pieces[index] = re.sub(
                pattern,
                lambda match, kind=kind: latex2mathml.converter.convert(match[1], display=kind),
                pieces[index],
                flags=re.S,
            )
    return "".join(pieces)


def _hidden(cell) -> bool:
    tags = cell.metadata.get("tags", [])
    return PLUMBING in tags or "papermill-error-cell-tag" in tags or cell.get("id") == "papermill-error-cell"


def _style() -> str:
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    own = (TEMPLATES / "pages" / "page.css").read_text()
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{own}"
