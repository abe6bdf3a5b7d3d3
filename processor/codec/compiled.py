"""An Avro schema as the function that reads its messages: made once, when the schema is learned.

fastavro asks the schema anew for each value of each message. Here every type becomes a function
that knows what follows, and takes and returns a place in the bytes. Nothing is resolved: a message
is read as it was written. For valid messages the values are fastavro's (a law proves it); so are
the refusals, but for numbers of more than 64 bits, which are always refused here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from processor.codec.logical import Meaning, meaning_of
from processor.codec.primitives import (
    PRIMITIVES,
    SHORT,
    Read,
    read_count,
    read_long,
    read_string,
)
from processor.codec.weight import UnsafeSchemaError

__all__ = ["Message", "compiled"]

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
