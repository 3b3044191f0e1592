"""Reading parameter files: YAML (and so JSON) as plain names and values, and nothing else that YAML can do."""

import itertools
from pathlib import Path

import yaml

from koala.system.errors import KoalaError

LARGEST = 2**16  # bytes; the longest of ours has about 1,000
DEEPEST = 10  # levels; ours have four


class _Strict(yaml.SafeLoader):
    """Refuses aliases (a few lines of them can fill the memory), tags, deep nesting and repeated keys."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases (*name) are not used here")
        if getattr(self.peek_event(), "tag", None):
            self._refuse("tags (!name) are not used here")
        if self.depth == DEEPEST and not self.check_event(yaml.ScalarEvent):
            self._refuse(f"it goes more than {DEEPEST} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, problem):
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                name = isinstance(key, yaml.ScalarNode)
                what = f"'{key.value}' stands there twice" if name else "a key must be a name"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def opening(path) -> str:
    """The comment that a file begins with, as one line; "" where there is none."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.strip("# ") for line in comment)


def read(path) -> dict:
    """The names and values of a YAML or JSON file. Raises KoalaError that names the file, the line and what is wrong."""
    try:
        text = Path(path).read_bytes()
        if len(text) > LARGEST:
            raise KoalaError(f"{path} has {len(text):,} bytes: a file of parameters has {LARGEST:,} at most.")
        values = yaml.load(text.decode(), _Strict)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise KoalaError(f"{path}{line} cannot be read: {error.problem or error.context}.") from None
    except OSError as error:
        raise KoalaError(f"{path} cannot be read: {error.strerror or error}.") from None
    except KoalaError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # no text, 5,000 digits
        raise KoalaError(f"{path} cannot be read: {str(error).splitlines()[0][:200]}.") from None
    if not isinstance(values, dict):
        raise KoalaError(f"{path} must hold 'name: value' lines.")
    for name in values:
        if not isinstance(name, str) or not name.isidentifier():
            raise KoalaError(f"{path}: {str(name)[:60]!r} is no name of a parameter.")
    return values
