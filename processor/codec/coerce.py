"""Coerces the values of a score's fields from the forms they occur in."""

import math
import re
from typing import Any, TypeAlias, cast

import msgspec

from processor.domain.score import Factor

Json: TypeAlias = Any

_CONTROLS = dict.fromkeys((*range(32), 127))
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_FACTOR_KEYS = frozenset(Factor.__annotations__)
_FACTOR_SIZE = len(_FACTOR_KEYS)
IMPORTANCES = frozenset(("low", "medium", "high"))

_is_finite = math.isfinite


def without_controls(text: str) -> str:
    """Return text without the control characters of ASCII."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def number(value: Json) -> float:
    """Return a finite number, also from its decimal text; ValueError has the reason."""
    if type(value) is not float:
        value = _as_float(value)
    if not _is_finite(value):
        raise ValueError("is not a number")
    return cast("float", value)


def optional_number(value: Json) -> float | None:
    """Return a number as `number` does, None for null and for blank text."""
    return None if _is_absent(value) else number(value)


def optional_whole(value: Json) -> int | None:
    """Return an integer, also from `92.0` and from text, None for null and for blank text.

    ValueError has the reason.
    """
    if type(value) is int:
        return value
    if _is_absent(value):
        return None
    exact = number(value)
    if not exact.is_integer():
        raise ValueError("is not a whole number")
    return int(exact)


def text(value: Json) -> str | None:
    """Return text without control characters and surrounding blanks, None where nothing is left.

    ValueError where it is not text.
    """
    if value is None:
        return None
    if type(value) is not str:
        raise ValueError("is not text")
    return without_controls(value).strip() or None


def factors(value: Json, limit: int) -> tuple[Factor, ...]:
    """Return the first influential factors, without empty ones.

    Values become text as JSON writes them, without control characters. An importance is low, medium
    or high, in any letter case; another is left out. ValueError has the reason.
    """
    if value is None:
        return ()
    if type(value) is not list:
        raise ValueError("is not a list")
    first = value if len(value) <= limit else value[:limit]
    if _are_normalised(first):
        return tuple(first)
    return tuple([factor for item in first if (factor := _factor(item))])


def _are_normalised(items: list[Json]) -> bool:
    """Return True where factors need no change, as most do."""
    try:
        for item in items:
            code, value = item["code"], item["value"]
            if not (type(code) is type(value) is str and code and value):
                return False
            if item["importance"] not in IMPORTANCES or len(item) != _FACTOR_SIZE:
                return False
    except (KeyError, TypeError):
        return False
    return are_clean([item["code"] for item in items], [item["value"] for item in items])


def are_clean(codes: list[str], values: list[str]) -> bool:
    """Return True where no code or value is blank or has control characters.

    One test of all texts together is faster than one for each. It may refuse texts that are fine,
    such as one that begins with a blank; they are then looked at one by one.
    """
    together = "|" + "|".join(codes) + "|" + "|".join(values)
    return together.isprintable() and "| " not in together


def _factor(item: Json) -> Factor | None:
    if item is None:
        return None
    if type(item) is not dict:
        raise ValueError("holds a factor that is not an object")
    factor: dict[str, str] = {}
    for key, value in item.items():
        name = key if key in _FACTOR_KEYS else key.lower()
        if name not in _FACTOR_KEYS or value is None:
            continue
        part = _text_of(value)
        if name == "importance" and (part := part.strip().lower()) not in IMPORTANCES:
            continue
        if part and not part.isspace():
            factor[name] = part
    return cast("Factor", factor)


def _text_of(value: Json) -> str:
    if type(value) is str:
        return without_controls(value)
    if type(value) in (int, float, bool):
        return msgspec.json.encode(value).decode()
    raise ValueError("holds a factor with a part that is not text")


def _is_absent(value: Json) -> bool:
    return value is None or (type(value) is str and not value.strip())


def _as_float(value: Json) -> float:
    if type(value) is str:
        value = value.strip()
    if type(value) is int or (type(value) is str and _NUMBER.fullmatch(value)):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError("is not a number")
