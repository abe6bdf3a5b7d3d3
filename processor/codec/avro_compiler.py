"""An Avro schema as the function that reads its messages: made once, when the schema is learned.

fastavro asks the schema anew for each value of each message. Here every type becomes a function
that knows what follows, and takes and returns a place in the bytes. Nothing is resolved: a message
is read as it was written. For valid messages the values are fastavro's (a law proves it); so are
the refusals, but for numbers of more than 64 bits, which are always refused here.

Avro's primitive values, each read at a place in the bytes: the value, and the place after it.

IndexError, ValueError and struct.error where there is none. Text and bytes that are cut short are
not noticed here: the place after them is beyond the end.

Avro's logical types: what a stored value means, without ever failing for a date that can not be.

One bad field must not cost the event: it becomes NaN, which no date is.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from fastavro.read import LOGICAL_READERS

from processor.codec.avro_limits import UnsafeSchemaError

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


Meaning: TypeAlias = Callable[[Any, Any, Any], Any]
"""From a stored value, its schema, and one more that is not used, to what it means."""

_MAX_DECIMAL_BYTES = 32
_MAX_DECIMAL_SCALE = 77
_NOT_A_DATE = float("nan")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local timestamps have no zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


def meaning_of(schema: dict[str, Any]) -> Meaning | None:
    """Return what reads the logical type of a parsed schema, None where it is taken as stored."""
    logical = schema.get("logicalType")
    return LOGICAL_READERS.get(f"{schema['type']}-{logical}") if logical else None


def _decimal(data: bytes, writer: dict[str, Any] | None, *_: object) -> float:
    # The library's own reader takes minutes for a decimal of a megabyte.
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


def _timestamp(epoch: datetime, unit: timedelta) -> Meaning:
    def read(value: int, *_: object) -> datetime | float:
        try:
            return epoch + value * unit
        except OverflowError:
            return _NOT_A_DATE

    return read


_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)

# fastavro's documented place for logical types, one for the process.
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
for _kept_as_stored in ("string-uuid", "int-time-millis", "long-time-micros"):
    LOGICAL_READERS.pop(_kept_as_stored, None)


Message: TypeAlias = Callable[[bytes], Any]


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
        if isinstance(schema, str):
            return PRIMITIVES.get(schema) or self._by_name(schema)
        read, meaning = self._stored(schema), meaning_of(schema)
        return read if meaning is None else _meant(read, meaning, schema)

    def _stored(self, schema: dict[str, Any]) -> Read:
        match schema["type"]:
            case "record" | "error":
                return self._record(schema["fields"])
            case "array":
                return _array(self.read(schema["items"]))
            case "map":
                return _map(self.read(schema["values"]))
            case "fixed":
                return _fixed(schema["size"])
            case "enum":
                return _enum(schema["symbols"])
            case kind:
                return self.read(kind)

    def _by_name(self, name: str) -> Read:
        if name not in self._made:
            self._made[name] = self.read(self._named[name])
        return self._made[name]

    def _record(self, fields: list[dict[str, Any]]) -> Read:
        named = {field["name"]: self._field(field["name"], field["type"]) for field in fields}
        if len(named) < len(fields):
            raise UnsafeSchemaError("The schema has two fields of one name.")
        return _record(list(named.values()))

    def _field(self, name: str, schema: Any) -> _Field:  # noqa: ANN401
        if not isinstance(schema, list) or len(schema) != 2 or "null" not in schema:  # noqa: PLR2004
            read = self.read(schema)
            return _Field(name, -1, -1, read is read_string, read, read)
        branches = [self.read(branch) for branch in schema]
        null = schema.index("null")
        some = branches[1 - null]
        return _Field(name, 2 * null, 2 - 2 * null, some is read_string, some, _union(branches))


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
            if text and not tag & SHORT:
                start = at + 1
                at = start + (tag >> 1)
                values[name] = message[start:at].decode()
            else:
                values[name], at = read_some(message, at)
        return values, at

    return read_record


def _union(branches: list[Read]) -> Read:
    def read_union(message: bytes, at: int) -> tuple[Any, int]:
        index, at = read_long(message, at)
        return branches[index](message, at)

    return read_union


def _array(read_item: Read) -> Read:
    def read_array(message: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count, at = read_count(message, at)
        while count:
            for _ in range(count):
                item, at = read_item(message, at)
                items.append(item)
            count, at = read_count(message, at)
        return items, at

    return read_array


def _map(read_value: Read) -> Read:
    def read_map(message: bytes, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        count, at = read_count(message, at)
        while count:
            for _ in range(count):
                key, at = read_string(message, at)
                values[key], at = read_value(message, at)
            count, at = read_count(message, at)
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
        index, at = read_long(message, at)
        return symbols[index], at

    return read_enum


def _meant(read: Read, meaning: Meaning, schema: dict[str, Any]) -> Read:
    def read_meant(message: bytes, at: int) -> tuple[Any, int]:
        stored, at = read(message, at)
        return meaning(stored, schema, None), at

    return read_meant
