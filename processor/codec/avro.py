"""Avro: writer schemas made ready once, messages decoded with them, both behind guards."""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from processor.codec.avro_compiler import Message, compiled
from processor.codec.avro_limits import AvroCost, UnsafeSchemaError, avro_cost
from processor.codec.json_text import nested_deeper
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

_MAX_SCHEMA_BYTES = 1 << 20
_MAX_SCHEMA_DEPTH = 256
MAX_VALUES = 5_000_000
"""Values one message may unfold into at most, by the weight of its schema."""


class AvroSchema(msgspec.Struct, frozen=True):
    """A writer schema that is safe to decode with, and the newer one its records are read as.

    `reader` is None where records are taken as they were written: `as_written` reads those.
    """

    name: str
    writer: Any
    weight: AvroCost
    as_written: Message
    reader: Any = None


def ready_schema(text: str | bytes, references: Sequence[str | bytes] = ()) -> AvroSchema:
    """Parse and weigh a schema; `references` come first and may build on those before them.

    UnsafeSchemaError where it is not valid Avro, too large, or would hurt to decode with.
    """
    named: dict[str, Any] = {}
    for reference in references:
        _parse(reference, named)
    parsed = _parse(text, named)
    weight = avro_cost(parsed, named)
    name = parsed["name"] if isinstance(parsed, dict) and "name" in parsed else ""
    return AvroSchema(name, parsed, weight, compiled(parsed, named))


def resolved_by(schema: AvroSchema, newest: AvroSchema | None) -> AvroSchema:
    """Return the schema so that its records are read as the newest of the same full name."""
    if newest is None or newest.name != schema.name or newest.writer == schema.writer:
        return schema
    return msgspec.structs.replace(schema, reader=newest.writer)


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
    try:
        if schema.reader is None:
            return schema.as_written(payload)
        return _resolved(payload, schema)
    except _UNDECODABLE as error:
        why = ": bytes are missing or left over" if isinstance(error, EOFError) else ""
        detail = f"The message does not fit its schema{why}."
        raise RejectError(Stage.DECODE, Reason.MALFORMED, detail) from error


def _resolved(payload: bytes, schema: AvroSchema) -> Any:  # noqa: ANN401
    source = BytesIO(payload)
    value = schemaless_reader(source, schema.writer, schema.reader)
    if source.tell() != len(payload):
        raise EOFError
    return value


# Everything that was seen on hostile bytes; fastavro has no exception of its own for them.
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
