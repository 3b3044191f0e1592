"""The guard that papermill lacks: a notebook's parameters against a dataclass of typed, bounded fields.

papermill injects an unknown name with one warning line and goes on, and hands `-p x false` over as text.
`check` therefore resolves the notebook's globals against the dataclass before anything else runs.
"""

import ast
import dataclasses
import os
import typing
from pathlib import Path
from typing import Annotated

import psutil
import pydantic
from IPython import get_ipython

from koala.system import paths, terminal, yaml_files
from koala.system.errors import KoalaError, nearest

LONGEST = 4096  # characters of a text: as many as a path may have
LIMITS = {  # pydantic's name of a complaint -> our words, and where it keeps the limit
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}


def check(cls, namespace: dict | None = None, history: list[str] = ()):
    """The notebook's parameters as an instance of `cls`.

    namespace: the notebook's globals(), taken from the kernel where it is left out. history: the kernel's `In`, where
    papermill's injected cell ("# Parameters") stands, so that a name that is no parameter is noticed.
    Raises KoalaError naming the parameter, the value and what is allowed.
    """
    if namespace is None:
        namespace = get_ipython().user_ns
        history = namespace["In"]
    names = [field.name for field in dataclasses.fields(cls)]
    injected = injected_names(history)
    for file in parameter_files() if injected else ():
        yaml_files.read(file)  # papermill takes the last of two values for a name, without a word
    for name in injected:
        if name not in names:
            raise KoalaError(
                f"unknown parameter '{name}'{nearest(name, names)} (parameters: {', '.join(names)})"
            )
    missing = [name for name in names if name not in namespace]
    if missing:
        plain = [k for k, v in namespace.items() if isinstance(v, bool | int | float | str) and k[0] != "_"]
        for name in plain:
            if name not in names and (meant := nearest(name, missing)):
                raise KoalaError(f"unknown parameter '{name}'{meant}")
        raise KoalaError(f"parameter '{missing[0]}' has no value: run the notebook's parameters cell first.")
    return from_dict(cls, {name: namespace[name] for name in names})


def from_dict(cls, values: dict):
    """An instance of `cls` from plain values; types are coerced ("false" -> False, "1e-3" -> 0.001), ranges checked."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in values:
        if name not in hints:
            raise KoalaError(f"unknown parameter '{name}'{nearest(name, hints)}")
    return cls(**{name: _coerce(name, hints[name], value) for name, value in values.items()})


def injected_names(history: list[str]) -> list[str]:
    """Names that papermill set: the assignments of the last cell that opens with "# Parameters".

    papermill writes keys into that cell as code: KoalaError where one of them is more than a name."""
    cells = [cell for cell in history if cell.lstrip().startswith("# Parameters")]
    if not cells:
        return []
    names = []
    for node in ast.parse(cells[-1]).body:
        if not isinstance(node, ast.Assign) or not all(isinstance(t, ast.Name) for t in node.targets):
            line = shorten(ast.unparse(node))
            raise KoalaError(
                f"a parameter is a name with a value, not {line}: mend the file or the -p that sets it."
            )
        names += [target.id for target in node.targets]
    return names


def parameter_files() -> list[Path]:
    """The files that papermill, which started this kernel, was told to read with -f, as far as they are on this disk."""
    words = terminal.papermill_words() or ()
    names = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-f", "--parameters_file")]
    try:
        folder = Path(psutil.Process(os.getppid()).cwd()) if names else Path()
    except psutil.Error:
        return []
    return [folder / name for name in names if paths.exists(folder / name)]


def _coerce(name, hint, value):
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if isinstance(value, str) and len(value) > LONGEST:
        raise KoalaError(f"parameter '{name}' has {len(value):,} characters, and {LONGEST:,} are allowed.")
    if kind in (int, float) and isinstance(value, bool):
        raise KoalaError(f"parameter '{name}' must be a number, not {value}.")
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # papermill hands `-p dataset 2012` over as a number
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        raise KoalaError(f"parameter '{name}' {_explain(error.errors()[0], hint, value)}") from None


def _explain(error: dict, hint, value) -> str:
    """One plain clause for pydantic's first complaint."""
    context, shown = error.get("ctx", {}), shorten(repr(value))
    if error["type"] == "literal_error":
        choices = [str(choice) for choice in typing.get_args(hint)]
        return f"must be one of {', '.join(choices)}, not {shown}{nearest(str(value), choices)}."
    if error["type"] == "value_error":  # a check of the dataclass's own
        return str(context["error"])
    if error["type"] in LIMITS:
        words, key = LIMITS[error["type"]]
        return f"must be {words} {context[key]:,}, not {shown}."
    if error["type"] == "string_pattern_mismatch":  # what a pattern means in words stands beside it
        return f"must be {hint.__metadata__[0].description}, not {shown}."
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    return f"must be {KINDS[kind]}, not {shown}."


def shorten(text: str) -> str:
    """text for a sentence: on one line, its end left out where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:60] + " ..."
