"""Avro: writer schemas prepared once, and messages decoded with them, both within limits."""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from processor.codec.avro_compiler import MessageReader, compile_reader
from processor.codec.avro_limits import AvroCost, UnsafeSchemaError, avro_cost
from processor.codec.avro_versions import ParsedSchema, completed
from processor.codec.json_text import nested_deeper
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

_MAX_SCHEMA_BYTES = 1 << 20
_MAX_SCHEMA_DEPTH = 256
MAX_VALUES = 5_000_000
"""Values one message may unfold into at most, by the cost of its schema."""


class AvroSchema(msgspec.Struct, frozen=True):
    """A writer schema that is safe to decode with; `name` is its full name, empty without one."""

    name: str
    writer: ParsedSchema
    cost: AvroCost
    read: MessageReader


def prepare_schema(text: str | bytes, references: Sequence[str | bytes] = ()) -> AvroSchema:
    """Parse a schema, check its cost and compile it; a reference may refer to those before it.

    UnsafeSchemaError where it is not valid Avro, too large, or too costly to decode with.
    """
    named: dict[str, Any] = {}
    for reference in references:
        _parse(reference, named)
    parsed = _parse(text, named)
    name = parsed["name"] if isinstance(parsed, dict) and "name" in parsed else ""
    return _prepared(name, ParsedSchema(parsed, named), ParsedSchema(parsed, named))


def read_as_newest(schema: AvroSchema, newest: AvroSchema | None) -> AvroSchema:
    """Return the schema with the aliases and defaults of the newest of the same full name.

    What was written stays. Where the two cannot be put together, it is read as it was written.
    """
    if newest is None or newest.name != schema.name or newest.writer.schema == schema.writer.schema:
        return schema
    try:
        return _prepared(schema.name, schema.writer, completed(schema.writer, newest.writer))
    except UnsafeSchemaError:
        return schema


def _prepared(name: str, writer: ParsedSchema, read: ParsedSchema) -> AvroSchema:
    cost = avro_cost(read.schema, read.named)
    return AvroSchema(name, writer, cost, compile_reader(read.schema, read.named))


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
        return schema.read(payload)
    except _UNDECODABLE as error:
        cause = ": bytes are missing or left over" if isinstance(error, EOFError) else ""
        detail = f"The message does not fit its schema{cause}."
        raise RejectError(Stage.DECODE, Reason.MALFORMED, detail) from error


# All that is raised for arbitrary bytes; there is no exception of its own for them.
_UNDECODABLE = (
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
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
