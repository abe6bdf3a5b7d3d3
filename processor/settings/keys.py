"""Key paths into the settings: how they are written, and what type stands at each."""

from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from processor.settings.section import Section

KeyPath: TypeAlias = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """Write a key path as people do: `routes[0].inlet_url`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def bare(shape: Any) -> Any:  # noqa: ANN401  a type as annotations spell it
    """Return the type without its constraints and without the `None` it may be."""
    if get_origin(shape) is Annotated:
        return bare(get_args(shape)[0])
    if get_origin(shape) in (Union, UnionType):
        options = [option for option in get_args(shape) if option is not NoneType]
        return bare(options[0]) if len(options) == 1 else shape
    return shape


def names(shape: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the keys a page has; nothing for what is no page."""
    page = bare(shape)
    if isinstance(page, type) and issubclass(page, Section):
        return tuple(page.model_fields)
    return ()


def step(shape: Any, key: str | int) -> Any:  # noqa: ANN401
    """Return the type below `key`, or None where there can be none."""
    outer = bare(shape)
    if key in names(outer):
        return outer.model_fields[key].annotation
    kind, inner = get_origin(outer), get_args(outer)
    if kind is dict and isinstance(key, str):
        return inner[1]
    if kind in (list, tuple) and isinstance(key, int):
        return inner[0]
    return None


def known(shape: Any, path: KeyPath) -> KeyPath:  # noqa: ANN401
    """Return the leading part of the path that the settings have a place for."""
    for depth, key in enumerate(path):
        shape = step(shape, key)
        if shape is None:
            return path[:depth]
    return path
