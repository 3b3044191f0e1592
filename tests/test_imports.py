"""Imports point one way, and importing koala downloads nothing, seeds nothing and sets no backend."""

import ast
import subprocess
import sys

from koala import paths

# Each module may import those of earlier lines, and its own line's earlier ones.
LAYERS = [
    ["errors", "paths", "lifetime", "memory"],
    ["config", "lab", "model", "progress", "device", "render", "download", "parallel", "launch"],
    ["bins", "losses", "checkpoint", "packing", "inception2015", "calibrate", "weights", "extractors", "controls", "decode", "embedded", "archives"],
    ["known", "stl10", "lists", "sources", "split", "copies", "shards", "finish", "prepare", "data"],
    ["batches", "metrics", "colours", "plots", "plots_data", "plots_speed", "features", "results", "study"],
    ["step", "training", "evaluation", "categories", "analysis", "pretrained"],
    ["pretrain", "literal", "experiment", "worker", "benchmark", "claims", "probe", "colorize", "report", "show", "show_study"],
]


def imported(path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "koala":
            names |= (
                {alias.name for alias in node.names}
                if node.module == "koala"
                else {node.module.split(".")[1]}
            )
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("koala.")}
    return names


def test_imports_point_one_way():
    level = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    graph = {}
    for path in sorted((paths.ROOT / "koala").glob("*.py")):
        if path.stem != "__init__":
            assert path.stem in level, f"koala/{path.name} has no place in the layers of {__file__}"
            graph[path.stem] = {name for name in imported(path) if name in level}
            for name in graph[path.stem]:
                assert level[name] <= level[path.stem], (
                    f"koala.{path.stem} imports koala.{name} from a later layer"
                )
    seen = set()
    while len(seen) < len(graph):  # no circle within a layer
        free = {name for name in graph if name not in seen and graph[name] <= seen}
        assert free, f"imports in a circle among {sorted(set(graph) - seen)}"
        seen |= free


def test_importing_has_no_side_effects():
    modules = [path.stem for path in (paths.ROOT / "koala").glob("*.py") if path.stem not in ("__init__",)]
    code = (
        "import socket, sys, torch, matplotlib\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "seed, backend = torch.initial_seed(), matplotlib.rcParams._get('backend')\n"
        f"for name in {modules!r}: __import__('koala.' + name)\n"
        "assert torch.initial_seed() == seed and matplotlib.rcParams._get('backend') == backend\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_parameter_guard_is_light():
    """A slip in a parameter stops within seconds: neither torch nor timm is imported before it is found."""
    code = "import sys, koala.config; assert not {'torch', 'timm', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
