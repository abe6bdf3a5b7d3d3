"""The forms a score's leaves come in, made into the one form a score has."""

import math
import re
from typing import Any, TypeAlias, cast

import msgspec

from processor.score import Factor

__all__ = ["Json", "factors", "number", "optional_number", "optional_whole", "text"]

Json: TypeAlias = Any

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_FACTOR_KEYS = frozenset(Factor.__annotations__)
_USUAL_LENGTH = len(_FACTOR_KEYS)
_USUAL_IMPORTANCE = frozenset(("low", "medium", "high"))

_finite = math.isfinite


def number(value: Json) -> float:
    """Return a finite number, also from its decimal text; ValueError says what is wrong."""
    if type(value) is not float:
        value = _as_float(value)
    if not _finite(value):
        raise ValueError("is not a number")
    return cast("float", value)


def optional_number(value: Json) -> float | None:
    """Return a number as `number` does, None for none."""
    return None if value is None else number(value)


def optional_whole(value: Json) -> int | None:
    """Return an integer, also from `92.0` and from text; ValueError says what is wrong."""
    if value is None or type(value) is int:
        return value
    exact = number(value)
    if not exact.is_integer():
        raise ValueError("is not a whole number")
    return int(exact)


def text(value: Json) -> str | None:
    """Return text without blanks around it, None where nothing is left; ValueError otherwise."""
    if value is None:
        return None
    if type(value) is not str:
        raise ValueError("is not text")
    return value.strip() or None


def factors(value: Json, limit: int) -> tuple[Factor, ...]:
    """Return the first influential factors, without those that say nothing.

    Values become text as JSON writes them, importance lower case; ValueError says what is wrong.
    """
    if value is None:
        return ()
    if type(value) is not list:
        raise ValueError("is not a list")
    first = value if len(value) <= limit else value[:limit]
    if _are_usual(first):
        return tuple(first)
    return tuple([factor for item in first if (factor := _factor(item))])


def _are_usual(items: list[Json]) -> bool:
    """Most factors are as they should be, and are taken as they are."""
    try:
        for item in items:
            code, value = item["code"], item["value"]
            if not (type(code) is type(value) is str and code and value):
                return False
            if item["importance"] not in _USUAL_IMPORTANCE or len(item) != _USUAL_LENGTH:
                return False
    except (KeyError, TypeError):
        return False
    return True


def _factor(item: Json) -> Factor | None:
    if item is None:
        return None
    if type(item) is not dict:
        raise ValueError("holds a factor that is not an object")
    factor: dict[str, str] = {}
    for key, value in item.items():
        name = key if key in _FACTOR_KEYS else key.lower()
        if name in _FACTOR_KEYS and value is not None and (said := _said(value)):
            factor[name] = said.lower() if name == "importance" else said
    return cast("Factor", factor)


def _said(value: Json) -> str:
    if type(value) is str:
        return value
    if type(value) in (int, float, bool):
        return msgspec.json.encode(value).decode()
    raise ValueError("holds a factor with a part that is not text")


def _as_float(value: Json) -> float:
    if type(value) is int or (type(value) is str and _NUMBER.fullmatch(value)):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError("is not a number")
