"""Imports point one way, and importing koala downloads nothing, seeds nothing and sets no backend."""

import ast
import subprocess
import sys

from koala.system import paths

# Who may import whom, room by room. "" is the heart: the modules that stand in koala/ itself.
MAY = {
    "system": set(),
    "": {"system"},
    "data": {"system", ""},
    "extractors": {"system", ""},
    "training": {"system", ""},
    "experiment": {"system", "", "data", "extractors", "training"},
    "study": {"system", "", "data", "extractors", "training", "experiment"},
    "colorize": {"system", "", "data", "extractors", "training", "experiment"},
    "report": {"system", "", "data", "extractors", "training", "experiment", "study", "colorize"},
}
KOALA = paths.ROOT / "koala"


def modules() -> dict[str, object]:
    """ "room.module" or, of the heart, "module" -> its file; a package's own file is "room.__init__"."""
    files = (path.relative_to(KOALA).with_suffix("") for path in sorted(KOALA.rglob("*.py")))
    return {
        ".".join(path.parts): KOALA / path.with_suffix(".py") for path in files if str(path) != "__init__"
    }


def imported(path, known) -> set[str]:
    """Names of koala's modules that a file imports, as in `modules`; a package stands for its own file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "koala":
            base = node.module.removeprefix("koala").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                names.add(
                    next(
                        (n for n in (inner, f"{inner}.__init__", base, f"{base}.__init__") if n in known),
                        inner,
                    )
                )
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix("koala.") for alias in node.names if alias.name.startswith("koala.")
            }
    return names


def room(name: str) -> str:
    return name.rpartition(".")[0].split(".")[0]


def test_imports_point_one_way():
    known = modules()
    graph = {name: imported(path, known) for name, path in known.items()}
    for name, others in graph.items():
        assert room(name) in MAY, f"koala/{room(name)} has no place in the table of {__file__}"
        for other in others:
            assert other in known, f"koala.{name} imports koala.{other}, which is no module"
            assert room(other) in MAY[room(name)] | {room(name)}, (
                f"koala.{name} imports koala.{other}: upward"
            )
    seen = set()
    while len(seen) < len(graph):  # no circle within a room
        free = {name for name in graph if name not in seen and graph[name] <= seen}
        assert free, f"imports in a circle among {sorted(set(graph) - seen)}"
        seen |= free


def test_faces_are_not_hidden_by_modules():
    """`koala.data.prepare` is a function: a module prepare.py would take its place once it is imported."""
    known = modules()
    for name, path in known.items():
        if name.endswith("__init__"):
            face = {
                alias.asname or alias.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            assert not face & {other.rpartition(".")[2] for other in known if room(other) == room(name)}


def test_importing_has_no_side_effects():
    names = [name for name in modules() if not name.endswith("__main__")]
    code = (
        "import socket, sys, torch, matplotlib\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "seed, backend = torch.initial_seed(), matplotlib.rcParams._get('backend')\n"
        f"for name in {names!r}: __import__('koala.' + name)\n"
        "assert torch.initial_seed() == seed and matplotlib.rcParams._get('backend') == backend\n"
        "assert 'torch._dynamo' not in sys.modules, 'the compiler takes two seconds to load'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_parameter_guard_is_light():
    """A slip in a parameter stops within seconds: neither torch nor timm is imported before it is found."""
    code = "import sys, koala.config; assert not {'torch', 'timm', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
