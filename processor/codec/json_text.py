"""JSON text to values: exact integers, no NaN or infinity, valid UTF-8, bounded nesting."""

import re
from typing import Any, TypeAlias

import msgspec

from processor.errors import RejectError
from processor.outcome import Reason, Stage

__all__ = ["decode_json", "nested_deeper"]

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
