"""JSON text to values: exact integers, no NaN or infinity, valid UTF-8, bounded nesting.

`decode_json` is strict; `decode_leniently` reads text that it refused, without the bad values.
"""

import json
import math
import re
from typing import Any, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

REPLACED = "\N{REPLACEMENT CHARACTER}"
"""What a character that cannot be read becomes."""

_BOM = b"\xef\xbb\xbf"
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_AS_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

_SHALLOW = 8
_Scalar: TypeAlias = str | int | float | bool | None


def _shallow_decoder() -> msgspec.json.Decoder[Any]:
    """Return a decoder of any JSON that nests at most `_SHALLOW` levels, as most records do.

    Its type bounds the nesting, so no second pass over the text is needed.
    """
    kind: Any = _Scalar
    for _ in range(_SHALLOW):
        kind = _Scalar | list[kind] | dict[str, kind]
    return msgspec.json.Decoder(kind)


_decode = msgspec.json.Decoder().decode
_decode_shallow = _shallow_decoder().decode


def decode_json(text: bytes, max_depth: int) -> Any:  # noqa: ANN401  JSON may be anything
    """Decode one JSON text; a leading byte order mark is skipped (RFC 8259 allows it).

    RejectError: malformed, or too_deep where objects and arrays nest deeper than `max_depth`.
    """
    if max_depth < _SHALLOW:
        return _decode_any(text, max_depth)
    try:
        return _decode_shallow(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # deeper, or an error that needs a detail
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


def decode_leniently(text: bytes, max_depth: int) -> Any:  # noqa: ANN401  JSON may be anything
    """Decode JSON text that the strict decoder refused.

    NaN, infinities and numbers beyond a double become null; bytes that are not UTF-8 and halves of
    surrogate pairs become `REPLACED`; bare control characters stay. RejectError: malformed, or
    too_deep where objects and arrays nest deeper than `max_depth`.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig", "replace"),
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_integer,
            strict=False,
        )
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    except ValueError as error:
        raise _malformed("The text is not JSON.") from error
    if nested_deeper(text.removeprefix(_BOM), max_depth):
        raise _too_deep(max_depth)
    # Only an escape can bring half of a surrogate pair: UTF-8 has none.
    return _repaired(value) if b"\\u" in text else value


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _integer(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts to an integer
        return None


def _repaired(value: Any) -> Any:  # noqa: ANN401
    """Replace what UTF-8 cannot hold; the depth of the value was checked."""
    match value:
        case str():
            return _SURROGATES.sub(REPLACED, value)
        case list():
            return [_repaired(item) for item in value]
        case dict():
            return {_repaired(key): _repaired(item) for key, item in value.items()}
        case _:
            return value


def nested_deeper(text: bytes, limit: int) -> bool:
    """Return True where valid JSON nests deeper than `limit`.

    With strings removed and all brackets made alike, each pass removes the innermost pairs: one
    level. After `limit` passes no bracket may be left.
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
