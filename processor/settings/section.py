"""The base of every settings section, and key paths: how they are written, and their types."""

import difflib
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict

KeyPath: TypeAlias = tuple[str | int, ...]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it: `routes[0].inlet_url`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def plain_type(shape: Any) -> Any:  # noqa: ANN401  a type as annotations spell it
    """Return the type without its constraints and without the `None` it may be."""
    if get_origin(shape) is Annotated:
        return plain_type(get_args(shape)[0])
    if get_origin(shape) in (Union, UnionType):
        options = [option for option in get_args(shape) if option is not NoneType]
        return plain_type(options[0]) if len(options) == 1 else shape
    return shape


def key_names(shape: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the keys of a section; nothing for any other type."""
    section = plain_type(shape)
    if isinstance(section, type) and issubclass(section, Section):
        return tuple(section.model_fields)
    return ()


def type_below(shape: Any, key: str | int) -> Any:  # noqa: ANN401
    """Return the type below `key`, or None if there can be none."""
    outer = plain_type(shape)
    if key in key_names(outer):
        return outer.model_fields[key].annotation
    kind, inner = get_origin(outer), get_args(outer)
    if kind is dict and isinstance(key, str):
        return inner[1]
    if kind in (list, tuple) and isinstance(key, int):
        return inner[0]
    return None


def known_part(shape: Any, path: KeyPath) -> KeyPath:  # noqa: ANN401
    """Return the leading part of the path that exists in the settings."""
    for depth, key in enumerate(path):
        shape = type_below(shape, key)
        if shape is None:
            return path[:depth]
    return path


def closest(key: str, among: Iterable[str]) -> str | None:
    """Return the name that was probably intended, if one is similar enough."""
    near = difflib.get_close_matches(key.lower(), list(among), n=1, cutoff=0.6)
    return near[0] if near else None
