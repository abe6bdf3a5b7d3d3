"""JSON text with a bad character in it, read once more: what is bad is lost, not all the rest.

JSON text to values: exact integers, no NaN or infinity, valid UTF-8, bounded nesting.
"""

import json
import math
import re
from typing import Any, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

_BOM = b"\xef\xbb\xbf"
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_AS_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

_SHALLOW = 8
_Leaf: TypeAlias = str | int | float | bool | None


def _shallow() -> msgspec.json.Decoder[Any]:
    """Return a decoder of any JSON that nests no deeper than most does."""
    kind: Any = _Leaf
    for _ in range(_SHALLOW):
        kind = _Leaf | list[kind] | dict[str, kind]
    return msgspec.json.Decoder(kind)


_decode = msgspec.json.Decoder().decode
_decode_shallow = _shallow().decode


def decode_json(text: bytes, max_depth: int) -> Any:  # noqa: ANN401  JSON may be anything
    """Decode one JSON text; a leading byte order mark is passed over (RFC 8259 allows it).

    RejectError: malformed, or too_deep where objects and arrays nest deeper than `max_depth`.
    """
    if max_depth < _SHALLOW:
        return _decode_any(text, max_depth)
    try:
        return _decode_shallow(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # too deep for it, or to be said in words
        return _decode_any(text, max_depth)


def _decode_any(text: bytes, max_depth: int) -> Any:  # noqa: ANN401
    try:
        value = _decode(text)
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    except UnicodeDecodeError as error:
        raise _malformed("The text is not valid UTF-8.") from error
    except msgspec.MsgspecError as error:
        if text[:3] == _BOM and text[3:6] != _BOM:
            return decode_json(text[3:], max_depth)
        raise _malformed(f"{error}.") from error
    if text.count(b"{") + text.count(b"[") > max_depth and nested_deeper(text, max_depth):
        raise _too_deep(max_depth)
    return value


def nested_deeper(text: bytes, limit: int) -> bool:
    """Return True where valid JSON nests deeper than `limit`.

    Taking away the innermost pairs of brackets so many times must leave none.
    """
    brackets = _STRINGS.sub(b"", text).translate(_AS_BRACES, _NOT_BRACKETS)
    for _ in range(limit):
        brackets = brackets.replace(b"{}", b"")
        if not brackets:
            return False
    return True


def _malformed(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.MALFORMED, detail)


def _too_deep(max_depth: int) -> RejectError:
    return RejectError(
        Stage.DECODE, Reason.TOO_DEEP, f"Objects and arrays nest deeper than {max_depth} levels."
    )


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
        raise _too_deep_leniently(max_depth) from error
    except ValueError as error:
        raise RejectError(Stage.DECODE, Reason.MALFORMED, "The text is not JSON.") from error
    if nested_deeper(text.removeprefix(b"\xef\xbb\xbf"), max_depth):
        raise _too_deep_leniently(max_depth)
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


def _too_deep_leniently(max_depth: int) -> RejectError:
    return RejectError(
        Stage.DECODE, Reason.TOO_DEEP, f"Objects and arrays nest deeper than {max_depth} levels."
    )
