"""Compiles an Avro schema into the function that reads its messages, once for each schema.

fastavro interprets the schema again for each value of each message. Here every type becomes a
function `(message, position) -> (value, next position)` that calls the functions of its parts.
A message is read as it was written; `CONSTANT` is the type of fields that are added to it.
For valid messages the values are fastavro's (a law test compares them); so are the refusals, except
that numbers of more than 64 bits are always refused here.

In order: primitive types, logical types, the compiler.
"""

import struct
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from fastavro.read import LOGICAL_READERS

from processor.codec.avro_limits import CONSTANT, UnsafeSchemaError

ValueReader: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""From a message and a position to the value there and the position after it.

IndexError, ValueError and struct.error where there is no such value. Text and bytes that are cut
short are not noticed there: the position after them is beyond the end, which `compile_reader` sees.
"""
MessageReader: TypeAlias = Callable[[bytes], Any]

# Avro writes an int or long as a zig-zag number in a varint. Zig-zag maps 0, -1, 1, -2 ... to 0, 1,
# 2, 3 ..., so the lowest bit is the sign. A varint has seven bits a byte, the lowest first; the
# highest bit of a byte means that another byte follows.
_MORE = 0x80
"""The bit of a byte that announces another one."""
_SIGN_OR_MORE = 0x81
"""A byte with neither bit is a whole number of its own, not negative: half of the byte."""
_SHIFTS = tuple(range(7, 64, 7))
"""Where the bits of the second to tenth byte go: ten bytes hold 64 bits."""
_64_BITS = (1 << 64) - 1
_float, _double = struct.Struct("<f").unpack_from, struct.Struct("<d").unpack_from


def _read_long(message: bytes, position: int) -> tuple[int, int]:
    """Read an int or long of at most ten bytes."""
    number = message[position]
    position += 1
    if number >= _MORE:
        number -= _MORE
        for shift in _SHIFTS:
            byte = message[position]
            position += 1
            if byte < _MORE:
                number |= byte << shift
                break
            number |= (byte - _MORE) << shift
        else:
            raise ValueError("more than 64 bits")
        number &= _64_BITS  # of the tenth byte only the lowest bit fits
    return (number >> 1) ^ -(number & 1), position


def _read_count(message: bytes, position: int) -> tuple[int, int]:
    """Read the number of items in a block; after a negative count comes the block's size."""
    count = message[position]
    if not count & _SIGN_OR_MORE:
        return count >> 1, position + 1
    count, position = _read_long(message, position)
    if count < 0:
        return -count, _read_long(message, position)[1]
    return count, position


def _read_string(message: bytes, position: int) -> tuple[str, int]:
    """Read text: its size in bytes, and UTF-8."""
    size = message[position]
    if size & _SIGN_OR_MORE:
        size, position = _read_size(message, position)
    else:
        size, position = size >> 1, position + 1
    end = position + size
    return message[position:end].decode(), end


def _read_bytes(message: bytes, position: int) -> tuple[bytes, int]:
    size, position = _read_size(message, position)
    end = position + size
    return message[position:end], end


def _read_size(message: bytes, position: int) -> tuple[int, int]:
    size, position = _read_long(message, position)
    if size < 0:  # a position that goes back could read the same bytes for ever
        raise ValueError("negative size")
    return size, position


def _read_null(_: bytes, position: int) -> tuple[None, int]:
    return None, position


def _read_boolean(message: bytes, position: int) -> tuple[bool, int]:
    return message[position] != 0, position + 1


def _read_float(message: bytes, position: int) -> tuple[float, int]:
    return _float(message, position)[0], position + 4


def _read_double(message: bytes, position: int) -> tuple[float, int]:
    return _double(message, position)[0], position + 8


_PRIMITIVES: dict[str, ValueReader] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": _read_long,
    "long": _read_long,
    "float": _read_float,
    "double": _read_double,
    "bytes": _read_bytes,
    "string": _read_string,
}


LogicalReader: TypeAlias = Callable[[Any, Any, Any], Any]
"""From a stored value, its schema, and an unused argument of fastavro's to the logical value.

A date or timestamp that `datetime` cannot hold becomes NaN, which no date is: one bad field must
not cost the whole record.
"""

_MAX_DECIMAL_BYTES = 32
_MAX_DECIMAL_SCALE = 77
_NOT_A_DATE = float("nan")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local timestamps have no zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


def _decimal(data: bytes, writer: dict[str, Any] | None, *_: object) -> float:
    # fastavro's own reader takes minutes for a decimal of a megabyte.
    scale = (writer or {}).get("scale", 0)
    if len(data) > _MAX_DECIMAL_BYTES or not 0 <= scale <= _MAX_DECIMAL_SCALE:
        raise ValueError("decimal out of bounds")
    unscaled = int.from_bytes(data, "big", signed=True)
    return float(unscaled / 10**scale)


def _date(days: int, *_: object) -> date | float:
    try:
        return _EPOCH_DAY + timedelta(days=days)
    except OverflowError:
        return _NOT_A_DATE


def _timestamp(epoch: datetime, unit: timedelta) -> LogicalReader:
    def read(value: int, *_: object) -> datetime | float:
        try:
            return epoch + value * unit
        except OverflowError:
            return _NOT_A_DATE

    return read


_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)

# fastavro has one table of logical types for the process, and documents that it may be changed.
# `schemaless_reader` uses the same table, so values do not depend on which of the two reads.
LOGICAL_READERS.update(
    {
        "bytes-decimal": _decimal,
        "fixed-decimal": _decimal,
        "int-date": _date,
        "long-timestamp-millis": _timestamp(_EPOCH_UTC, _MS),
        "long-timestamp-micros": _timestamp(_EPOCH_UTC, _US),
        "long-local-timestamp-millis": _timestamp(_EPOCH, _MS),
        "long-local-timestamp-micros": _timestamp(_EPOCH, _US),
    }
)
for _as_stored in ("string-uuid", "int-time-millis", "long-time-micros"):
    LOGICAL_READERS.pop(_as_stored, None)


def compile_reader(schema: Any, named: Mapping[str, Any]) -> MessageReader:  # noqa: ANN401  JSON
    """Return the function that reads messages of a parsed schema whose cost was checked.

    `named` holds its named types by full name. The function raises EOFError where bytes are
    missing or left over, and IndexError, ValueError or struct.error where they do not fit.
    """
    read = _Compiler(named).reader(schema)

    def read_message(message: bytes) -> Any:  # noqa: ANN401  any Avro type
        # The added byte lets `read_record` look at the next tag after the last value. A slice that
        # is cut short moves the position beyond the end, and so does reading the added byte.
        value, end = read(message + b"\0", 0)
        if end != len(message):
            raise EOFError
        return value

    return read_message


class _Field(NamedTuple):
    """A field of a record, with what is needed to read it without a call for its union.

    For a union of null and one other type, `null_tag` and `value_tag` are the first byte of the
    index of each: index 0 is written as byte 0, index 1 as byte 2 (zig-zag). For other types both
    are -1, which no byte is. `is_text` is True where the value is text, the most frequent type:
    the record reads it itself.
    """

    name: str
    null_tag: int
    value_tag: int
    is_text: bool
    read_value: ValueReader
    read: ValueReader


class _Compiler:
    """Makes the functions, one for each named type."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._compiled: dict[str, ValueReader] = {}

    def reader(self, schema: Any) -> ValueReader:  # noqa: ANN401
        if isinstance(schema, list):
            return _union([self.reader(branch) for branch in schema])
        if isinstance(schema, str):
            return _PRIMITIVES.get(schema) or self._by_name(schema)
        if schema["type"] == CONSTANT:
            return _constant(schema["value"])
        read, logical_type = self._stored(schema), schema.get("logicalType")
        convert = LOGICAL_READERS.get(f"{schema['type']}-{logical_type}") if logical_type else None
        return read if convert is None else _logical(read, convert, schema)

    def _stored(self, schema: dict[str, Any]) -> ValueReader:
        match schema["type"]:
            case "record" | "error":
                return self._record(schema["fields"])
            case "array":
                return _array(self.reader(schema["items"]))
            case "map":
                return _map(self.reader(schema["values"]))
            case "fixed":
                return _fixed(schema["size"])
            case "enum":
                return _enum(schema["symbols"])
            case inner:
                return self.reader(inner)

    def _by_name(self, name: str) -> ValueReader:
        if name not in self._compiled:
            self._compiled[name] = self.reader(self._named[name])
        return self._compiled[name]

    def _record(self, fields: list[dict[str, Any]]) -> ValueReader:
        by_name = {field["name"]: self._field(field["name"], field["type"]) for field in fields}
        if len(by_name) < len(fields):
            raise UnsafeSchemaError("The schema has two fields of one name.")
        return _record(list(by_name.values()))

    def _field(self, name: str, schema: Any) -> _Field:  # noqa: ANN401
        if not isinstance(schema, list) or len(schema) != 2 or "null" not in schema:  # noqa: PLR2004
            read = self.reader(schema)
            return _Field(name, -1, -1, read is _read_string, read, read)
        branches = [self.reader(branch) for branch in schema]
        null = schema.index("null")
        read_value, is_text = branches[1 - null], branches[1 - null] is _read_string
        return _Field(name, 2 * null, 2 - 2 * null, is_text, read_value, _union(branches))


def _record(fields: list[_Field]) -> ValueReader:
    nulls = dict.fromkeys(field.name for field in fields)

    def read_record(message: bytes, position: int) -> tuple[dict[str, Any], int]:
        values = nulls.copy()  # keeps the order of the fields; a null needs no assignment
        for name, null_tag, value_tag, is_text, read_value, read in fields:
            byte = message[position]
            if byte == null_tag:
                position += 1
                continue
            if byte == value_tag:
                position += 1
                byte = message[position]
            elif value_tag >= 0:  # an index in more bytes than it needs, or one out of range
                values[name], position = read(message, position)
                continue
            if is_text and not byte & _SIGN_OR_MORE:  # text of less than 64 bytes
                start = position + 1
                position = start + (byte >> 1)
                values[name] = message[start:position].decode()
            else:
                values[name], position = read_value(message, position)
        return values, position

    return read_record


def _union(branches: list[ValueReader]) -> ValueReader:
    def read_union(message: bytes, position: int) -> tuple[Any, int]:
        index, position = _read_long(message, position)
        return branches[index](message, position)  # a negative index counts from the end here

    return read_union


def _array(read_item: ValueReader) -> ValueReader:
    def read_array(message: bytes, position: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, position = _read_count(message, position)
        while count:
            for _ in range(count):
                item, position = read_item(message, position)
                items.append(item)
            count, position = _read_count(message, position)
        return items, position

    return read_array


def _map(read_value: ValueReader) -> ValueReader:
    def read_map(message: bytes, position: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        count, position = _read_count(message, position)
        while count:
            for _ in range(count):
                key, position = _read_string(message, position)
                values[key], position = read_value(message, position)
            count, position = _read_count(message, position)
        return values, position

    return read_map


def _fixed(size: int) -> ValueReader:
    def read_fixed(message: bytes, position: int) -> tuple[bytes, int]:
        end = position + size
        if end >= len(message):  # `message` has one byte more than was received
            raise EOFError
        return message[position:end], end

    return read_fixed


def _enum(symbols: list[str]) -> ValueReader:
    def read_enum(message: bytes, position: int) -> tuple[str, int]:
        index, position = _read_long(message, position)
        return symbols[index], position

    return read_enum


def _constant(value: Any) -> ValueReader:  # noqa: ANN401
    if isinstance(value, (dict, list)):
        return lambda _, position: (deepcopy(value), position)
    return lambda _, position: (value, position)


def _logical(read: ValueReader, convert: LogicalReader, schema: dict[str, Any]) -> ValueReader:
    def read_logical(message: bytes, position: int) -> tuple[Any, int]:
        stored, position = read(message, position)
        return convert(stored, schema, None), position

    return read_logical
