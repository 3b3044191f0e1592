"""Reading parameter files: YAML (and so JSON) as plain names and values, and nothing else that YAML can do."""

from pathlib import Path

import yaml

from koala.system.errors import KoalaError

LARGEST = 2**16  # bytes; the longest of ours has about 1,000


class _Strict(yaml.SafeLoader):
    """Refuses aliases (a few lines of them can fill the memory) and repeated keys."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used here", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                name = isinstance(key, yaml.ScalarNode)
                what = f"'{key.value}' stands there twice" if name else "a key must be a name"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no text, 5,000 digits, 1,000 brackets
        raise KoalaError(f"{path} cannot be read: {str(error).splitlines()[0][:200]}.") from None
    if not isinstance(values, dict):
        raise KoalaError(f"{path} must hold 'name: value' lines.")
    for name in values:
        if not isinstance(name, str) or not name.isidentifier():
            raise KoalaError(f"{path}: {str(name)[:60]!r} is no name of a parameter.")
    return values
