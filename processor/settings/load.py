"""Load the settings from a file and the environment, or report everything that is wrong.

Environment variables such as `CAI__KAFKA__BOOTSTRAP_SERVERS` override the file.
"""

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import SecretStr, ValidationError

from processor.domain.errors import SettingsError
from processor.settings.checks import contradictions
from processor.settings.document import MAX_BYTES, Document, read_document, read_value
from processor.settings.messages import error_messages, unknown_keys
from processor.settings.routes_file import fill_routes
from processor.settings.secrets import read_secret_files
from processor.settings.section import KeyPath, closest, dotted, key_names, plain_type, type_below
from processor.settings.settings import CommonSettings, PlannedSettings, Settings

PREFIX = "CAI__"
_TEXT = (str, SecretStr, Path)


_Model = TypeVar("_Model", bound=CommonSettings)


def load_settings(path: Path, env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a YAML file, overridden by the `CAI__` variables.

    `env` is by default the environment of the process. Raises SettingsError with all problems at
    once: unknown keys, wrong values, contradictions, secrets that cannot be read, routes that are
    not provisioned.
    """
    return _parse(_read(path), os.environ if env is None else env, path.parent, Settings)


def load_planned_settings(path: Path, env: Mapping[str, str] | None = None) -> PlannedSettings:
    """Return the same settings, whose routes may lack what `provision apply` is to make."""
    return _parse(_read(path), os.environ if env is None else env, path.parent, PlannedSettings)


def parse_settings(text: str, env: Mapping[str, str]) -> Settings:
    """Return the settings of a YAML text; see `load_settings`."""
    return _parse(text, env, Path(), Settings)


def _parse(text: str, env: Mapping[str, str], folder: Path, model: type[_Model]) -> _Model:
    document = read_document(text)
    problems = [*document.problems, *apply_overrides(document, env)]
    problems += read_secret_files(document.tree)
    problems += fill_routes(document.tree, folder, complete=model is Settings)
    settings, found = _validate(document, model)
    problems += found
    if settings is None or problems:
        raise SettingsError(list(dict.fromkeys(problems)))
    return settings


def _validate(document: Document, model: type[_Model]) -> tuple[_Model | None, list[str]]:
    try:
        settings = model.model_validate(document.tree)
    except ValidationError as error:
        messages = error_messages(error, document.origins)
        unknown = unknown_keys(error)
        return None, messages + _contradictions_without(unknown, document.tree, model)
    return settings, contradictions(settings)


def _contradictions_without(
    unknown: list[KeyPath], tree: dict[str, Any], model: type[CommonSettings]
) -> list[str]:
    """Return the contradictions that remain once the unknown keys are removed."""
    known = deepcopy(tree)
    for path in unknown:
        section: Any = known
        for key in path[:-1]:
            section = section[key]
        del section[path[-1]]
    try:
        return contradictions(model.model_validate(known))
    except ValidationError:
        return []


def apply_overrides(document: Document, env: Mapping[str, str]) -> list[str]:
    """Write every `CAI__` variable into the document, and return what is wrong with them.

    Two underscores separate keys; a number is an index of a list. If the setting is text, the
    variable is used unchanged (a secret needs no quotes); otherwise it is read as YAML.
    Below `client`, one underscore stands for librdkafka's dot.
    """
    problems = []
    for name in sorted(env):
        if name.startswith(PREFIX):
            try:
                path, shape = _path(name)
                _set(document, path, _value(shape, env[name]))
                document.origins[path] = name
            except SettingsError as error:
                problems += [f"{name}: {problem}" for problem in error.problems]
    return problems


def _path(name: str) -> tuple[KeyPath, Any]:
    path: KeyPath = ()
    shape: Any = Settings
    for part in name.removeprefix(PREFIX).split("__"):
        key = _key(part.lower(), path)
        below = type_below(shape, key)
        if below is None:
            raise SettingsError([_unknown(shape, path, str(key))])
        path, shape = (*path, key), below
    return path, plain_type(shape)


def _key(part: str, path: KeyPath) -> str | int:
    if part.isascii() and part.isdigit():
        return int(part)
    return part.replace("_", ".") if path[-1:] == ("client",) else part


def _unknown(shape: Any, path: KeyPath, key: str) -> str:  # noqa: ANN401
    near = closest(key, key_names(shape))
    hint = "__".join(str(part) for part in (*path, near)).upper() if near else ""
    return f"no such setting{f'; did you mean {PREFIX}{hint}?' if near else '.'}"


def _value(shape: Any, text: str) -> Any:  # noqa: ANN401
    is_text = shape in _TEXT or get_origin(shape) is Literal
    return text if is_text or SecretStr in get_args(shape) else read_value(text)


def _set(document: Document, path: KeyPath, value: Any) -> None:  # noqa: ANN401
    group: Any = document.tree
    for depth, key in enumerate(path[:-1]):
        if _absent(group, key):
            _put(group, key, [] if isinstance(path[depth + 1], int) else {})
        group = group[key]
        if not isinstance(group, dict | list):
            raise SettingsError([f"{dotted(path[: depth + 1])} is not a group in the file."])
    _put(group, path[-1], value)


def _absent(group: Any, key: str | int) -> bool:  # noqa: ANN401
    if isinstance(group, list):
        return isinstance(key, int) and key >= len(group)
    return group.get(key) is None


def _put(group: Any, key: str | int, value: Any) -> None:  # noqa: ANN401
    if isinstance(group, dict) or (isinstance(key, int) and key < len(group)):
        group[key] = value
    elif key == len(group):
        group.append(value)
    else:
        raise SettingsError([f"the list has {len(group)} items, so index {key} is out of range."])


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        raise SettingsError([f"{path} cannot be read: {cause}."]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path} is not UTF-8 text."]) from error
