"""An Avro schema as the function that reads its messages: made once, when the schema is learned.

fastavro asks the schema anew for each value of each message. Here every type becomes a function
that knows what follows, and takes and returns a place in the bytes. Nothing is resolved: a message
is read as it was written. For valid messages the values are fastavro's (a law proves it); so are
the refusals, but for numbers of more than 64 bits, which are always refused here.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from processor.codec.logical import Meaning, meaning_of

__all__ = ["Message", "compiled"]

Read: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
Message: TypeAlias = Callable[[bytes], Any]

_SHIFTS = tuple(range(7, 64, 7))
_WORD = (1 << 64) - 1
_SHORT = 0x81
"""A byte with neither of these bits is a whole number of one byte that is not negative."""
_float, _double = struct.Struct("<f").unpack_from, struct.Struct("<d").unpack_from


def compiled(schema: Any, named: Mapping[str, Any]) -> Message:  # noqa: ANN401  schemas are JSON
    """Return the function that reads messages of a parsed schema that was weighed.

    `named` holds its named types by full name. The function raises EOFError where bytes are
    missing or left over, and IndexError, ValueError or struct.error where they do not fit.
    """
    read = _Compiler(named).read(schema)

    def read_message(message: bytes) -> Any:  # noqa: ANN401  any Avro type
        # Text is cut out without a look at what is left, and one byte more may be peeked at: what
        # was too short has led beyond the end.
        value, at = read(message + b"\0", 0)
        if at != len(message):
            raise EOFError
        return value

    return read_message


class _Field(NamedTuple):
    """A field of a record; of a union of null and one other type, the bytes that say which, or -1.

    `text` is True where the other type is text, which the record reads itself: a call less for what
    there is most of.
    """

    name: str
    null: int
    some: int
    text: bool
    read_some: Read
    read: Read


class _Compiler:
    """Makes the functions, one for each named type."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._made: dict[str, Read] = {}

    def read(self, schema: Any) -> Read:  # noqa: ANN401
        if isinstance(schema, list):
            return _union([self.read(branch) for branch in schema])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in _PRIMITIVES:
            read = _PRIMITIVES[kind]
        elif isinstance(schema, dict) and kind in _COMPLEX:
            read = _COMPLEX[kind](self, schema)
        else:
            return self._by_name(kind)
        meaning = meaning_of(schema) if isinstance(schema, dict) else None
        return read if meaning is None else _meant(read, meaning, schema)

    def _by_name(self, name: str) -> Read:
        if name not in self._made:
            self._made[name] = self.read(self._named[name])
        return self._made[name]

    def _record(self, schema: dict[str, Any]) -> Read:
        return _record([self._field(field["name"], field["type"]) for field in schema["fields"]])

    def _field(self, name: str, schema: Any) -> _Field:  # noqa: ANN401
        read = self.read(schema)
        if not isinstance(schema, list) or len(schema) != 2 or "null" not in schema:  # noqa: PLR2004
            return _Field(name, -1, -1, read is _read_string, read, read)
        null = schema.index("null")
        some = self.read(schema[1 - null])
        return _Field(name, 2 * null, 2 - 2 * null, some is _read_string, some, read)

    def _array(self, schema: dict[str, Any]) -> Read:
        return _array(self.read(schema["items"]))

    def _map(self, schema: dict[str, Any]) -> Read:
        return _map(self.read(schema["values"]))

    def _fixed(self, schema: dict[str, Any]) -> Read:
        return _fixed(schema["size"])

    def _enum(self, schema: dict[str, Any]) -> Read:
        return _enum(schema["symbols"])


def _record(fields: list[_Field]) -> Read:
    blank = dict.fromkeys(field.name for field in fields)

    def read_record(message: bytes, at: int) -> tuple[dict[str, Any], int]:
        values = blank.copy()
        for name, null, some, text, read_some, read in fields:
            tag = message[at]
            if tag == null:
                at += 1
                continue
            if tag == some:
                at += 1
                tag = message[at]
            elif some >= 0:
                values[name], at = read(message, at)
                continue
            if text and not tag & _SHORT:
                start = at + 1
                at = start + (tag >> 1)
                values[name] = message[start:at].decode()
            else:
                values[name], at = read_some(message, at)
        return values, at

    return read_record


def _union(branches: list[Read]) -> Read:
    def read_union(message: bytes, at: int) -> tuple[Any, int]:
        index, at = _read_long(message, at)
        return branches[index](message, at)

    return read_union


def _array(read_item: Read) -> Read:
    def read_array(message: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = _read_count(message, at)
        while count:
            for _ in range(count):
                item, at = read_item(message, at)
                items.append(item)
            count, at = _read_count(message, at)
        return items, at

    return read_array


def _map(read_value: Read) -> Read:
    def read_map(message: bytes, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        count, at = _read_count(message, at)
        while count:
            for _ in range(count):
                key, at = _read_string(message, at)
                values[key], at = read_value(message, at)
            count, at = _read_count(message, at)
        return values, at

    return read_map


def _fixed(size: int) -> Read:
    def read_fixed(message: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        if end >= len(message):
            raise EOFError
        return message[at:end], end

    return read_fixed


def _enum(symbols: list[str]) -> Read:
    def read_enum(message: bytes, at: int) -> tuple[str, int]:
        index, at = _read_long(message, at)
        return symbols[index], at

    return read_enum


def _meant(read: Read, meaning: Meaning, schema: dict[str, Any]) -> Read:
    def read_meant(message: bytes, at: int) -> tuple[Any, int]:
        stored, at = read(message, at)
        return meaning(stored, schema, None), at

    return read_meant


def _read_long(message: bytes, at: int) -> tuple[int, int]:
    number = message[at]
    at += 1
    if number > 0x7F:
        number &= 0x7F
        for shift in _SHIFTS:
            byte = message[at]
            at += 1
            if byte < 0x80:
                number |= byte << shift
                break
            number |= (byte & 0x7F) << shift
        else:
            raise ValueError("more than 64 bits")
        number &= _WORD
    return (number >> 1) ^ -(number & 1), at


def _read_count(message: bytes, at: int) -> tuple[int, int]:
    """Read how many items follow; a negative count has the size of the block after it."""
    count = message[at]
    if not count & _SHORT:
        return count >> 1, at + 1
    count, at = _read_long(message, at)
    if count < 0:
        return -count, _read_long(message, at)[1]
    return count, at


def _read_string(message: bytes, at: int) -> tuple[str, int]:
    size = message[at]
    at += 1
    if size & _SHORT:
        size, at = _read_size(message, at - 1)
    else:
        size >>= 1
    end = at + size
    return message[at:end].decode(), end


def _read_bytes(message: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_size(message, at)
    end = at + size
    return message[at:end], end


def _read_size(message: bytes, at: int) -> tuple[int, int]:
    size, at = _read_long(message, at)
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


_PRIMITIVES: dict[str, Read] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": _read_long,
    "long": _read_long,
    "float": _read_float,
    "double": _read_double,
    "bytes": _read_bytes,
    "string": _read_string,
}

_COMPLEX: dict[str, Callable[[_Compiler, dict[str, Any]], Read]] = {
    "record": _Compiler._record,
    "error": _Compiler._record,
    "array": _Compiler._array,
    "map": _Compiler._map,
    "fixed": _Compiler._fixed,
    "enum": _Compiler._enum,
}
