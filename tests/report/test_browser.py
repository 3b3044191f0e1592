"""The pages in a real browser, from disk, without a network: nothing fails, nothing is cut, sliders move, tables sort."""

import shutil

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from made_study import made_study

from koala.report import charts, facts, overview, pages, pictures, render, show_study, tables
from koala.study import compare, curves
from koala.system import paths

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="needs an installed Chromium: the pages were not looked at"
)

# What sticks out of the window, or of its parent, and does not stand in a box that scrolls.
STICKS_OUT = """() => [...document.querySelectorAll("main, main *, aside, aside *")].filter(element => {
  if (element.closest(".scroll, .koala-output, svg, math, option, .stage, details:not([open])")?.contains(element)) {
    const box = element.closest(".scroll, .koala-output");
    if (!box || box !== element) return false;
  }
  return element.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map(element => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rendered pages: the index over all studies, a study's index, and an executed notebook."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("KOALA_HOME", str(home))
    patch.setenv("KOALA_REPORTS", str(home / "reports"))
    found = made_study()
    plan, known = found.plan, facts.gather(found)
    nbformat.write(executed(found), plan.folder / "analysis.ipynb")
    render.render_notebook(
        plan.folder / "analysis.ipynb", plan.reports / "analysis.html", "Analysis: Test", home=[overview.HOME]
    )
    paths.write_json(plan.reports / "summary.json", known)
    pages.write_index(plan, known)
    overview.write()
    patch.undo()
    return home / "reports"


def executed(found) -> nbformat.NotebookNode:
    """A notebook with every kind of output that ours have."""
    rng = np.random.default_rng(0)
    tiles = {
        name: rng.integers(0, 255, (3, 64, 64, 3), np.uint8)
        for name in ("input", *found.experiments, "truth")
    }
    summary = compare.summary(found, list(tables.METRICS))
    histories = curves.histories(found, found.experiments)
    shown = {
        "The answer": show_study.answer(found, summary),
        "Held-out photographs": show_study.summary(summary),
        "Curves": charts.show_svg(charts.compare_curves(histories, title="Validation loss")),
        "Photographs": pictures.grid(tiles, ["sky", "campus", "a very_long_name_of_a_category"]),
    }
    cells = []
    for title, output in shown.items():
        bundle, metadata = InteractiveShell.instance().display_formatter.format(output)
        cells.append(nbformat.v4.new_markdown_cell(f"## {title}\nWords with $L^*$ and `code_{'x' * 80}`."))
        cells.append(
            nbformat.v4.new_code_cell(
                "show()", outputs=[nbformat.v4.new_output("display_data", bundle, metadata=metadata)]
            )
        )
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A study\nQuestion."), *cells])


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield running
        running.close()


@pytest.fixture
def look(browser, folder):
    """A function that opens a page at a width and gives it with its list of complaints."""
    contexts = []

    def opened(name, width=1280, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page, complaints = context.new_page(), []
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url) if not request.url.startswith(("file:", "data:")) else None
            ),
        )
        page.goto((folder / name).as_uri())
        return page, complaints

    yield opened
    for context in contexts:
        context.close()


PAGES = ("index.html", "test/index.html", "test/analysis.html")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_fails_and_nothing_is_cut(look, name, width):
    page, complaints = look(name, width, "dark" if width == 390 else "light")
    assert complaints == []
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pictures_without_words = "[...document.querySelectorAll('img')].filter(i => !i.alt).length + [...document.querySelectorAll('main svg')].filter(s => !s.querySelector('title')).length"
    assert page.evaluate(pictures_without_words) == 0
    smallest = "Math.min(...[...document.querySelectorAll('main svg text')].map(t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)))"
    assert page.evaluate(smallest) >= 9.9  # pixels on the screen (Infinity where a page has no chart)


@pytest.mark.parametrize("name", PAGES)
def test_paper_cuts_no_column(look, name):
    page, _ = look(name, 720)  # A4 less its margins
    page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('table, svg, img')].filter(e => e.getBoundingClientRect().right > 722).map(e => e.outerHTML.slice(0, 100))"
    assert page.evaluate(wide) == []


def test_dark_is_dark_and_readable(look):
    page, _ = look("test/index.html", scheme="dark")
    light = "colour => colour.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    back, text = (
        page.evaluate(f"({light})(getComputedStyle(document.body).{name})")
        for name in ("backgroundColor", "color")
    )
    assert back < 60 and text > 190


def test_the_answer_is_on_the_first_screen(look):
    for name in PAGES[:2]:
        page, _ = look(name)
        assert page.locator(".koala-answer p").first.bounding_box()["y"] < 500


def test_the_slider_moves_by_key_and_by_pointer(look):
    page, _ = look("test/index.html")
    handle, over = (
        page.locator(".koala-compare input[type=range]").first,
        page.locator(".koala-compare .over").first,
    )
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert handle.input_value() == "60" and over.evaluate("e => e.style.getPropertyValue('--x')") == "60%"
    box = handle.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    assert 15 <= int(handle.input_value()) <= 25
    before = page.locator(".koala-compare .under").first.get_attribute("src")
    page.locator(".koala-compare select[aria-label='right side']").first.select_option(label="truth")
    assert page.locator(".koala-compare .under").first.get_attribute("src") != before


def test_photographs_stand_side_by_side_without_a_script(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "test/index.html").as_uri())
    assert (
        page.locator(".koala-photographs img").count() == 3 * 6
        and page.locator(".koala-compare").count() == 0
    )
    context.close()


def test_tables_sort_by_a_click_on_their_heads(look):
    page, _ = look("test/index.html")
    table = page.locator("h2#experiments ~ .scroll table").first
    column = "t => [...t.tBodies[0].rows].map(r => parseFloat(r.cells[2].textContent)).filter(v => !isNaN(v))"
    head = table.locator("th", has_text="CIEDE2000").first
    for order in (1, -1):
        head.locator("button").click()
        values = table.evaluate(column)
        assert len(values) > 4 and values == sorted(values, reverse=order < 0)
    assert head.get_attribute("aria-sort") == "descending"
