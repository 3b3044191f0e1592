"""What a study file may hold: its keys, and what kind of value each takes."""

from pathlib import Path

from koala.system.errors import KoalaError

KEYS = {"title", "about", "experiments", "seeds", "data", "scale", "distill", "elsewhere", "probe", "parts"}
RUNS = {"experiments", "seeds"}
PART_KEYS = RUNS | {"scale", "suffix"}

_NAMES, _VALUES = (list, "a list: [one, two]"), (dict, "parameters with their values, one per line")
KINDS = {
    "experiments": _NAMES,
    "seeds": _NAMES,
    "data": _VALUES,
    "scale": _VALUES,
    "distill": _VALUES,
    "elsewhere": _VALUES,
    "title": (str, "text"),
    "about": (str, "text"),
    "probe": (str, "an experiment's name, or empty quotes for none"),
    "suffix": (str, "text that follows the experiments' names"),
    "parts": (list, "a list of parts, each with experiments and seeds"),
}


def check(path: Path, values: dict, known: set, needed: set) -> None:
    """Raises KoalaError where a study's file, or a part of it, has an unknown key, lacks one, or has a wrong kind of value."""
    for key in sorted(set(values) - known) or sorted(needed - set(values)):
        state = "no key of a study file" if key in values else "missing"
        raise KoalaError(f"{path}: '{key}' is {state} (keys: {', '.join(sorted(known))}).")
    for key, (kind, words) in KINDS.items():
        if key in values and not isinstance(values[key], kind):
            raise KoalaError(f"{path}: '{key}' must be {words}, not {values[key]!r}.")
        if kind is list and len(set(map(str, values.get(key, [])))) < len(values.get(key, [])):
            raise KoalaError(f"{path}: '{key}' names one of {values[key]} twice.")
    for key, kind, words in (("seeds", int, "whole numbers"), ("experiments", str, "names")):
        for entry in values.get(key, []):
            if type(entry) is not kind:  # 0 and 0.0 and "0" would be one seed under three names
                raise KoalaError(f"{path}: '{key}' must hold {words}, not {entry!r}.")
