"""Environment variables laid over the file: `CAI__KAFKA__BOOTSTRAP_SERVERS`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from processor.domain.errors import SettingsError
from processor.settings.document import Document, plain
from processor.settings.keys import KeyPath, bare, dotted, names, step
from processor.settings.messages import meant
from processor.settings.settings import Settings

PREFIX = "CAI__"
_TEXT = (str, SecretStr, Path)


def apply_overrides(document: Document, env: Mapping[str, str]) -> list[str]:
    """Lay every `CAI__` variable over the tree, in place, and return what is wrong with them.

    Two underscores step down; a number steps into a list. Where the setting is text the variable
    is taken letter for letter (a secret needs no quotes), everywhere else it is read as YAML.
    Below `client`, one underscore stands for librdkafka's dot.
    """
    problems = []
    for name in sorted(env):
        if name.startswith(PREFIX):
            try:
                path, shape = _path(name)
                _set(document, path, _value(shape, env[name]))
                document.places[path] = name
            except SettingsError as error:
                problems += [f"{name}: {problem}" for problem in error.problems]
    return problems


def _path(name: str) -> tuple[KeyPath, Any]:
    path: KeyPath = ()
    shape: Any = Settings
    for part in name.removeprefix(PREFIX).split("__"):
        key = _key(part.lower(), path)
        below = step(shape, key)
        if below is None:
            raise SettingsError([_unknown(shape, path, str(key))])
        path, shape = (*path, key), below
    return path, bare(shape)


def _key(part: str, path: KeyPath) -> str | int:
    if part.isascii() and part.isdigit():
        return int(part)
    return part.replace("_", ".") if path[-1:] == ("client",) else part


def _unknown(shape: Any, path: KeyPath, key: str) -> str:  # noqa: ANN401
    near = meant(key, names(shape))
    hint = "__".join(str(part) for part in (*path, near)).upper() if near else ""
    return f"no such setting{f'; did you mean {PREFIX}{hint}?' if near else '.'}"


def _value(shape: Any, text: str) -> Any:  # noqa: ANN401
    letter_for_letter = shape in _TEXT or get_origin(shape) is Literal
    return text if letter_for_letter or SecretStr in get_args(shape) else plain(text)


def _set(document: Document, path: KeyPath, value: Any) -> None:  # noqa: ANN401
    place: Any = document.tree
    for depth, key in enumerate(path[:-1]):
        if _absent(place, key):
            _put(place, key, [] if isinstance(path[depth + 1], int) else {})
        place = place[key]
        if not isinstance(place, dict | list):
            raise SettingsError([f"{dotted(path[: depth + 1])} is no group in the file."])
    _put(place, path[-1], value)


def _absent(place: Any, key: str | int) -> bool:  # noqa: ANN401
    if isinstance(place, list):
        return isinstance(key, int) and key >= len(place)
    return place.get(key) is None


def _put(place: Any, key: str | int, value: Any) -> None:  # noqa: ANN401
    if isinstance(place, dict) or (isinstance(key, int) and key < len(place)):
        place[key] = value
    elif key == len(place):
        place.append(value)
    else:
        raise SettingsError([f"the list has {len(place)} items, so {key} is out of reach."])
