"""JSON text with a bad character in it, read once more: what is bad is lost, not all the rest."""

import json
import math
import re
from typing import Any

from processor.codec.json_text import nested_deeper
from processor.errors import RejectError
from processor.outcome import Reason, Stage

__all__ = ["REPLACED", "decode_leniently"]

REPLACED = "\N{REPLACEMENT CHARACTER}"
"""Stands where a character could not be read."""

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def decode_leniently(text: bytes, max_depth: int) -> Any:  # noqa: ANN401  JSON may be anything
    """Decode JSON text that the strict decoder refused.

    NaN, infinities and numbers beyond a double become null; bytes that are not UTF-8 and halves of
    surrogate pairs become `REPLACED`; bare control characters stay. RejectError: malformed, or
    too_deep where objects and arrays nest deeper than `max_depth`.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig", "replace"),
            parse_constant=_nothing,
            parse_float=_finite,
            parse_int=_whole,
            strict=False,
        )
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    except ValueError as error:
        raise RejectError(Stage.DECODE, Reason.MALFORMED, "The text is not JSON.") from error
    if nested_deeper(text.removeprefix(b"\xef\xbb\xbf"), max_depth):
        raise _too_deep(max_depth)
    return _mended(value) if b"\\u" in text else value


def _nothing(_literal: str) -> None:
    return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _whole(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:  # more digits than Python makes an integer of
        return None


def _mended(value: Any) -> Any:  # noqa: ANN401
    """Replace what no text in UTF-8 can hold; the value nests no deeper than was allowed."""
    match value:
        case str():
            return _SURROGATES.sub(REPLACED, value)
        case list():
            return [_mended(item) for item in value]
        case dict():
            return {_mended(key): _mended(item) for key, item in value.items()}
        case _:
            return value


def _too_deep(max_depth: int) -> RejectError:
    return RejectError(
        Stage.DECODE, Reason.TOO_DEEP, f"Objects and arrays nest deeper than {max_depth} levels."
    )
