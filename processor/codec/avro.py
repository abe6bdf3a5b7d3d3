"""Avro: writer schemas made ready once, messages decoded with them, both behind guards."""

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader
from fastavro.read import LOGICAL_READERS, SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from processor.codec.json_text import nested_deeper
from processor.codec.weight import UnsafeSchemaError, Weight, weigh
from processor.errors import RejectError
from processor.outcome import Reason, Stage

__all__ = ["MAX_VALUES", "AvroSchema", "decode_avro", "ready_schema", "resolved_by"]

_MAX_SCHEMA_BYTES = 1 << 20
_MAX_SCHEMA_DEPTH = 256
MAX_VALUES = 5_000_000
"""Values one message may unfold into at most, by the weight of its schema."""
_MAX_DECIMAL_BYTES = 32
_MAX_DECIMAL_SCALE = 77
_NOT_A_DATE = float("nan")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  local timestamps have no zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)


class AvroSchema(msgspec.Struct, frozen=True):
    """A writer schema that is safe to decode with, and the newer one its records are read as.

    `reader` is None where records are taken as they were written.
    """

    name: str
    writer: Any
    weight: Weight
    reader: Any = None


def ready_schema(text: str | bytes, references: Sequence[str | bytes] = ()) -> AvroSchema:
    """Parse and weigh a schema; `references` come first and may build on those before them.

    UnsafeSchemaError where it is not valid Avro, too large, or would hurt to decode with.
    """
    named: dict[str, Any] = {}
    for reference in references:
        _parse(reference, named)
    parsed = _parse(text, named)
    weight = weigh(parsed, named)
    name = parsed["name"] if isinstance(parsed, dict) and "name" in parsed else ""
    return AvroSchema(name, parsed, weight)


def resolved_by(schema: AvroSchema, newest: AvroSchema | None) -> AvroSchema:
    """Return the schema so that its records are read as the newest of the same full name."""
    if newest is None or newest.name != schema.name or newest.writer == schema.writer:
        return schema
    return AvroSchema(schema.name, schema.writer, schema.weight, newest.writer)


def decode_avro(payload: bytes, schema: AvroSchema) -> Any:  # noqa: ANN401  any Avro type
    """Decode one message, all of it.

    Dates and timestamps become `date` and `datetime` (NaN where they have no such value), decimals
    floats, UUIDs text. RejectError: malformed, or too_large where the bytes could unfold into more
    values than are good for us.
    """
    if schema.weight.values(len(payload)) > MAX_VALUES:
        raise RejectError(
            Stage.DECODE, Reason.TOO_LARGE, "The message can unfold into too many values."
        )
    source = BytesIO(payload)
    try:
        value = schemaless_reader(source, schema.writer, schema.reader)
    except _UNDECODABLE as error:
        raise _malformed(
            f"The message does not fit its schema ({type(error).__name__})."
        ) from error
    if source.tell() != len(payload):
        raise _malformed("Bytes are left over after the message: it was written otherwise.")
    return value


# Everything fastavro was seen to raise on hostile bytes; it has no exception of its own for them.
_UNDECODABLE = (
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    SchemaResolutionError,
    struct.error,
)


def _malformed(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.MALFORMED, detail)


def _parse(text: str | bytes, named: dict[str, Any]) -> Any:  # noqa: ANN401
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > _MAX_SCHEMA_BYTES:
        raise UnsafeSchemaError(f"The schema is larger than {_MAX_SCHEMA_BYTES} bytes.")
    try:
        declared = msgspec.json.decode(raw)
        if nested_deeper(raw, _MAX_SCHEMA_DEPTH):
            raise UnsafeSchemaError("The schema's text nests too deep.")
        return parse_schema(declared, named_schemas=named)
    except _UNPARSABLE as error:
        raise UnsafeSchemaError(
            f"The schema is not valid Avro ({type(error).__name__})."
        ) from error


_UNPARSABLE = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    SchemaParseException,
    UnknownType,
    KeyError,
    TypeError,
    AttributeError,
)


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


def _timestamp(epoch: datetime, unit: timedelta, value: int) -> datetime | float:
    try:
        return epoch + value * unit
    except OverflowError:
        return _NOT_A_DATE


_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)

# fastavro's documented place for logical types, one for the process: ours never raise for a date
# that can not be, since one bad field must not cost the event, and leave the rest as it was stored.
LOGICAL_READERS.update(
    {
        "bytes-decimal": _decimal,
        "fixed-decimal": _decimal,
        "int-date": _date,
        "long-timestamp-millis": lambda value, *_: _timestamp(_EPOCH_UTC, _MS, value),
        "long-timestamp-micros": lambda value, *_: _timestamp(_EPOCH_UTC, _US, value),
        "long-local-timestamp-millis": lambda value, *_: _timestamp(_EPOCH, _MS, value),
        "long-local-timestamp-micros": lambda value, *_: _timestamp(_EPOCH, _US, value),
    }
)
for _kept_as_stored in ("string-uuid", "int-time-millis", "long-time-micros"):
    LOGICAL_READERS.pop(_kept_as_stored, None)
