"""The guard that papermill lacks: a notebook's parameters against a dataclass of typed, bounded fields.

papermill injects an unknown name with one warning line and goes on, and hands `-p x false` over as text.
`check` therefore resolves the notebook's globals against the dataclass before anything else runs.
"""

import ast
import dataclasses
import typing
from typing import Annotated

import pydantic

from koala.system import paths
from koala.system.errors import KoalaError, nearest

WEIGHTS = ("auto", "imagenet", "untrained", "distilled")  # or a file


def check(cls, namespace: dict, history: list[str] = ()):
    """The notebook's parameters as an instance of `cls`.

    namespace: the notebook's globals(). history: the kernel's `In`, where papermill's injected cell
    ("# Parameters") stands, so that a name that is no parameter is found.
    Raises KoalaError naming the parameter, the value and what is allowed.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    for name in injected_names(history):
        if name not in names:
            raise KoalaError(
                f"unknown parameter '{name}'{nearest(name, names)} (parameters: {', '.join(names)})"
            )
    missing = [name for name in names if name not in namespace]
    if missing:
        raise KoalaError(f"parameter '{missing[0]}' has no value: run the notebook's parameters cell first.")
    return from_dict(cls, {name: namespace[name] for name in names})


def from_dict(cls, values: dict):
    """An instance of `cls` from plain values; types are coerced ("false" -> False, "1e-3" -> 0.001), ranges checked."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in values:
        if name not in hints:
            raise KoalaError(f"unknown parameter '{name}'{nearest(name, hints)}")
    config = cls(**{name: _coerce(name, hints[name], value) for name, value in values.items()})
    if getattr(config, "weights", "auto") not in WEIGHTS:
        _check_weights(config.weights)
    return config


def injected_names(history: list[str]) -> list[str]:
    """Names that papermill set: the assignments of the last cell that opens with "# Parameters"."""
    cells = [cell for cell in history if cell.lstrip().startswith("# Parameters")]
    if not cells:
        return []
    assigns = [node for node in ast.parse(cells[-1]).body if isinstance(node, ast.Assign)]
    return [target.id for node in assigns for target in node.targets if isinstance(target, ast.Name)]


def _coerce(name, hint, value):
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
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
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = [str(choice) for choice in typing.get_args(hint)]
        return f"must be one of {', '.join(choices)}, not {value!r}{nearest(str(value), choices)}."
    limits = {
        "greater_than_equal": ("at least", "ge"),
        "greater_than": ("more than", "gt"),
        "less_than_equal": ("at most", "le"),
        "less_than": ("less than", "lt"),
        "multiple_of": ("a multiple of", "multiple_of"),
    }
    if error["type"] in limits:
        words, key = limits[error["type"]]
        return f"must be {words} {context[key]}, not {value}."
    if error["type"] == "string_pattern_mismatch":
        return f"must be auto, cpu, cuda, cuda:0, cuda:1 ..., not {value!r}."
    kinds = {
        "int": "a whole number",
        "float": "a finite number",
        "fini": "a finite number",
        "bool": "true or false",
        "stri": "text",
    }
    kind = next((text for start, text in kinds.items() if error["type"].startswith(start)), "of another type")
    return f"must be {kind}, not {value!r}."


def _check_weights(weights: str) -> None:
    try:
        if paths.resolve(weights).suffix not in (".pth", ".safetensors"):
            raise KoalaError("of another kind")
    except KoalaError:
        close = nearest(weights, WEIGHTS)
        raise KoalaError(
            f"parameter 'weights' must be {', '.join(WEIGHTS)} or an existing .pth or .safetensors file, "
            f"not {weights!r}{close}"
        ) from None
