"""Avro's primitive values, each read at a place in the bytes: the value, and the place after it.

IndexError, ValueError and struct.error where there is none. Text and bytes that are cut short are
not noticed here: the place after them is beyond the end.
"""

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["PRIMITIVES", "SHORT", "Read", "read_count", "read_long", "read_string"]

Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]

SHORT = 0x81
"""A byte with neither of these bits is a whole number that is not negative, twice as large."""
_MORE = 0x80
"""The bit of a byte that says: the number goes on."""
_SHIFTS = tuple(range(7, 64, 7))
_WORD = (1 << 64) - 1
_float, _double = struct.Struct("<f").unpack_from, struct.Struct("<d").unpack_from


def read_long(message: bytes, at: int) -> tuple[int, int]:
    """Read an int or long: zig-zag, seven bits a byte, in ten bytes at most."""
    number = message[at]
    at += 1
    if number >= _MORE:
        number -= _MORE
        for shift in _SHIFTS:
            byte = message[at]
            at += 1
            if byte < _MORE:
                number |= byte << shift
                break
            number |= (byte - _MORE) << shift
        else:
            raise ValueError("more than 64 bits")
        number &= _WORD
    return (number >> 1) ^ -(number & 1), at


def read_count(message: bytes, at: int) -> tuple[int, int]:
    """Read how many items follow; a negative count has the size of the block after it."""
    count = message[at]
    if not count & SHORT:
        return count >> 1, at + 1
    count, at = read_long(message, at)
    if count < 0:
        return -count, read_long(message, at)[1]
    return count, at


def read_string(message: bytes, at: int) -> tuple[str, int]:
    """Read text: its size in bytes, and UTF-8."""
    size = message[at]
    if size & SHORT:
        size, at = _read_size(message, at)
    else:
        size, at = size >> 1, at + 1
    end = at + size
    return message[at:end].decode(), end


def _read_bytes(message: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_size(message, at)
    end = at + size
    return message[at:end], end


def _read_size(message: bytes, at: int) -> tuple[int, int]:
    size, at = read_long(message, at)
    if size < 0:
        raise ValueError("negative size")
    return size, at


def _read_null(_: bytes, at: int) -> tuple[None, int]:
    return None, at


def _read_boolean(message: bytes, at: int) -> tuple[bool, int]:
    return message[at] != 0, at + 1


def _read_float(message: bytes, at: int) -> tuple[float, int]:
    return _float(message, at)[0], at + 4


def _read_double(message: bytes, at: int) -> tuple[float, int]:
    return _double(message, at)[0], at + 8


PRIMITIVES: dict[str, Read] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": read_long,
    "long": read_long,
    "float": _read_float,
    "double": _read_double,
    "bytes": _read_bytes,
    "string": read_string,
}
