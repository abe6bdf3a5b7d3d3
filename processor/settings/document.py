"""A YAML file as a tree of plain values, and the line each key stands on."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from processor.domain.errors import SettingsError
from processor.settings.keys import KeyPath, dotted

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
    """The values, where each key came from (`line 7` or a variable's name), and what was wrong."""

    tree: dict[str, Any]
    places: dict[KeyPath, str]
    problems: list[str]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core words only: `no`, `0123`, `12:30` and dates stay the text they look like."""


_Loader.yaml_implicit_resolvers = {}


def _words(name: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"{_TAG}{name}", re.compile(pattern), list(first))


_words("null", r"^(?:~|null|Null|NULL|)$", "~nN")
_Loader.yaml_implicit_resolvers[""] = _Loader.yaml_implicit_resolvers["~"]
_words("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_words("int", r"^[-+]?(?:0|[1-9][0-9]{0,18})$", "-+0123456789")
_words(
    "float",
    r"^[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$",
    "-+0123456789",
)


def read_document(text: str) -> Document:
    """Read one YAML mapping with its lines.

    Duplicate keys and foreign tags are noted as problems. Raises SettingsError where there is no
    tree to speak of: a syntax error, a bomb of aliases, nesting without end.
    """
    root = _compose(text)
    walk = _Walk()
    tree = walk.value(root, ()) if root is not None else {}
    if not isinstance(tree, dict):
        raise SettingsError(["The settings must be a mapping of keys to values."])
    return Document(tree, walk.places, walk.problems)


def plain(text: str) -> Any:  # noqa: ANN401
    """Return the value of one piece of YAML, such as `[a, b]` or `2.5`; raises SettingsError."""
    root = _compose(text)
    walk = _Walk()
    value = walk.value(root, ()) if root is not None else None
    if walk.problems:
        raise SettingsError(walk.problems)
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
        raise SettingsError(["The settings hold characters that YAML does not allow."]) from error
    except RecursionError as error:
        raise SettingsError([f"The settings nest deeper than {MAX_DEPTH} levels."]) from error
    return root


class _Walk:
    """Nodes to values; each visit is paid for, so an alias costs what it stands for."""

    def __init__(self) -> None:
        self.places: dict[KeyPath, str] = {}
        self.problems: list[str] = []
        self._left = MAX_NODES

    def value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        """Return the value of a node at a path."""
        self._left -= 1
        if self._left < 0:
            raise SettingsError([f"The settings hold more than {MAX_NODES:,} values."])
        if len(path) > MAX_DEPTH:
            raise SettingsError([f"The settings nest deeper than {MAX_DEPTH} levels."])
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
            here = (*path, key_node.value)
            if key_node.value in found:
                self.problems.append(
                    f"{dotted(here)} stands twice: on {self.places[here]} and on {line}."
                )
            self.places.setdefault(here, line)
            found[key_node.value] = self.value(value_node, here)
        return found

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        line = node.start_mark.line + 1
        self.places.setdefault(path, f"line {line}")
        read = _SCALARS.get(node.tag)
        if read is None or not isinstance(node, yaml.ScalarNode):
            self.problems.append(f"{dotted(path)} (line {line}) has a YAML tag, which is refused.")
            return None
        try:
            return read(node.value)
        except ValueError:
            self.problems.append(f"{dotted(path)} (line {line}) is not what its YAML tag says.")
            return None
