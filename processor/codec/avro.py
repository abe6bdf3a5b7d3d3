"""Avro: writer schemas prepared once, and messages decoded with them, both within limits."""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from processor.codec.avro_compiler import MessageReader, compile_reader
from processor.codec.avro_limits import AvroCost, UnsafeSchemaError, avro_cost
from processor.codec.json_text import nested_deeper
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

_MAX_SCHEMA_BYTES = 1 << 20
_MAX_SCHEMA_DEPTH = 256
MAX_VALUES = 5_000_000
"""Values one message may unfold into at most, by the cost of its schema."""


class AvroSchema(msgspec.Struct, frozen=True):
    """A writer schema that is safe to decode with, and the reader schema, if it differs.

    Where `reader` is None, `read_as_written` decodes a message without schema resolution.
    """

    name: str
    writer: Any
    cost: AvroCost
    read_as_written: MessageReader
    reader: Any = None


def prepare_schema(text: str | bytes, references: Sequence[str | bytes] = ()) -> AvroSchema:
    """Parse a schema, check its cost and compile it; a reference may refer to those before it.

    UnsafeSchemaError where it is not valid Avro, too large, or too costly to decode with.
    """
    named: dict[str, Any] = {}
    for reference in references:
        _parse(reference, named)
    parsed = _parse(text, named)
    cost = avro_cost(parsed, named)
    name = parsed["name"] if isinstance(parsed, dict) and "name" in parsed else ""
    return AvroSchema(name, parsed, cost, compile_reader(parsed, named))


def read_as_newest(schema: AvroSchema, newest: AvroSchema | None) -> AvroSchema:
    """Return the schema with the newest of the same full name as its reader schema."""
    if newest is None or newest.name != schema.name or newest.writer == schema.writer:
        return schema
    return msgspec.structs.replace(schema, reader=newest.writer)


def decode_avro(payload: bytes, schema: AvroSchema) -> Any:  # noqa: ANN401  any Avro type
    """Decode one message, all of it.

    Dates and timestamps become `date` and `datetime` (NaN where they have no such value), decimals
    floats, UUIDs text. RejectError: malformed, or too_large where the bytes could unfold into more
    than `MAX_VALUES` values.
    """
    if schema.cost.values(len(payload)) > MAX_VALUES:
        raise RejectError(
            Stage.DECODE, Reason.TOO_LARGE, "The message can unfold into too many values."
        )
    try:
        if schema.reader is None:
            return schema.read_as_written(payload)
        return _resolved(payload, schema)
    except _UNDECODABLE as error:
        cause = ": bytes are missing or left over" if isinstance(error, EOFError) else ""
        detail = f"The message does not fit its schema{cause}."
        raise RejectError(Stage.DECODE, Reason.MALFORMED, detail) from error


def _resolved(payload: bytes, schema: AvroSchema) -> Any:  # noqa: ANN401
    source = BytesIO(payload)
    value = schemaless_reader(source, schema.writer, schema.reader)
    if source.tell() != len(payload):
        raise EOFError
    return value


# All that fastavro raises for arbitrary bytes; it has no exception of its own for them.
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
