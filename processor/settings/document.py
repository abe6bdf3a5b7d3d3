"""Read YAML into a tree of plain values, with the line of each key."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from processor.domain.errors import SettingsError
from processor.settings.section import KeyPath, dotted

MAX_BYTES = 256 << 10
MAX_NODES = 20_000
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": int,
    f"{_TAG}float": float,
    f"{_TAG}str": str,
}


class Document(NamedTuple):
    """The values, the origin of each key (`line 7` or the name of a variable), and the problems."""

    tree: dict[str, Any]
    origins: dict[KeyPath, str]
    problems: list[str]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema only: `no`, `0123`, `12:30` and dates are text."""


_Loader.yaml_implicit_resolvers = {}


def _resolve(name: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"{_TAG}{name}", re.compile(pattern), list(first))


_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN")
_Loader.yaml_implicit_resolvers[""] = _Loader.yaml_implicit_resolvers["~"]
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?(?:0|[1-9][0-9]{0,18})$", "-+0123456789")
_resolve(
    "float",
    r"^[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$",
    "-+0123456789",
)


def read_document(text: str) -> Document:
    """Read one YAML mapping with its lines.

    Duplicate keys and YAML tags are returned as problems. Raises SettingsError if there is no
    tree: a syntax error, too many values (also through aliases), or too deep nesting.
    """
    root = _compose(text)
    builder = _TreeBuilder()
    tree = builder.value(root, ()) if root is not None else {}
    if not isinstance(tree, dict):
        raise SettingsError(["The settings must be a mapping of keys to values."])
    return Document(tree, builder.origins, builder.problems)


def read_value(text: str) -> Any:  # noqa: ANN401
    """Return the value of one piece of YAML, such as `[a, b]` or `2.5`; raises SettingsError."""
    root = _compose(text)
    builder = _TreeBuilder()
    value = builder.value(root, ()) if root is not None else None
    if builder.problems:
        raise SettingsError(builder.problems)
    return value


def _compose(text: str) -> yaml.Node | None:
    if len(text.encode()) > MAX_BYTES:
        raise SettingsError([f"The settings are larger than {MAX_BYTES >> 10} KiB."])
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError([f"Line {line} is not YAML: {error.problem}."]) from error
    except yaml.YAMLError as error:
        raise SettingsError(["The settings contain characters not allowed in YAML."]) from error
    except RecursionError as error:
        raise SettingsError([f"The settings are nested deeper than {MAX_DEPTH} levels."]) from error
    return root


class _TreeBuilder:
    """Turns nodes into values; counts each visit, so an alias counts as much as its target."""

    def __init__(self) -> None:
        self.origins: dict[KeyPath, str] = {}
        self.problems: list[str] = []
        self._nodes_left = MAX_NODES

    def value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        """Return the value of a node at a path."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise SettingsError([f"The settings contain more than {MAX_NODES:,} values."])
        if len(path) > MAX_DEPTH:
            raise SettingsError([f"The settings are nested deeper than {MAX_DEPTH} levels."])
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(f"A key on {line} is not plain text.")
                continue
            key_path = (*path, key_node.value)
            if key_node.value in found:
                self.problems.append(
                    f"{dotted(key_path)} is set twice: on {self.origins[key_path]} and on {line}."
                )
            self.origins.setdefault(key_path, line)
            found[key_node.value] = self.value(value_node, key_path)
        return found

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        line = node.start_mark.line + 1
        self.origins.setdefault(path, f"line {line}")
        read = _SCALARS.get(node.tag)
        if read is None or not isinstance(node, yaml.ScalarNode):
            self.problems.append(f"{dotted(path)} (line {line}) has a YAML tag; none is allowed.")
            return None
        try:
            return read(node.value)
        except ValueError:
            self.problems.append(f"{dotted(path)} (line {line}) does not match its YAML tag.")
            return None
