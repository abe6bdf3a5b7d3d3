"""A record's value to plain values, by the format of its topic; the cheapest check comes first.

A Confluent frame is byte 0, a schema id of four bytes, and the message.
"""

from typing import Any, assert_never

from processor.codec.avro import AvroSchema, decode_avro
from processor.codec.json_text import decode_json, decode_leniently
from processor.codec.schemas import JsonSchema, Schema, SchemaSource, UnusableSchema
from processor.domain.errors import RejectError, SettingsError
from processor.domain.outcome import Reason, Stage
from processor.settings import InputSettings, ReadingSettings

FRAME_BYTES = 5
_ID_MAGIC, _GUID_MAGIC = 0, 1
"""The first byte of a frame by schema id and of one by GUID. No JSON text begins with either."""
_EXPECTED_SCHEMAS: dict[str, type[AvroSchema] | type[JsonSchema]] = {
    "avro": AvroSchema,
    "json-schema": JsonSchema,
}


def framed_id(value: bytes | None) -> int | None:
    """Return the schema id of a framed value, None where there is no whole frame."""
    if not value or value[0] != _ID_MAGIC or len(value) < FRAME_BYTES:
        return None
    return int.from_bytes(value[1:FRAME_BYTES], "big")


def unframe(value: bytes) -> tuple[int, bytes]:
    """Return the schema id and the message; RejectError(bad_frame) where there is no such frame."""
    schema_id = framed_id(value)
    if schema_id is None:
        raise RejectError(Stage.DECODE, Reason.BAD_FRAME, _frame_fault(value))
    return schema_id, value[FRAME_BYTES:]


def _frame_fault(value: bytes) -> str:
    if value[:1] == bytes([_GUID_MAGIC]):
        return "The frame names its schema by GUID (magic byte 1); only schema ids are read."
    if value[:1] == bytes([_ID_MAGIC]):
        return f"A frame has {FRAME_BYTES} bytes before the message; the value has {len(value)}."
    return "The value does not begin with the magic byte 0 of a schema registry frame."


class ValueDecoder:
    """Decodes the values of one input: size, frame, schema, structure, in this order."""

    def __init__(
        self, source: InputSettings, reading: ReadingSettings, schemas: SchemaSource
    ) -> None:
        self._max_bytes = reading.max_record_bytes
        self._max_depth = reading.max_depth
        self._schemas = schemas
        self._json = source.format == "json"
        self._auto = source.format == "auto"
        self._framed = source.format in ("auto", "avro", "json-schema")
        self._expected = _EXPECTED_SCHEMAS.get(source.format)
        self._plain = _plain_schema(source, schemas)

    def schema_id(self, value: bytes | None) -> int | None:
        """Return the id of the schema that `decode` needs, None where it needs none."""
        return framed_id(value) if self._framed else None

    def is_plain_json(self, value: bytes) -> bool:
        """Return True where the whole value is taken as JSON text and is not too large."""
        if self._json or (self._auto and value and value[0] > _GUID_MAGIC):
            return len(value) <= self._max_bytes
        return False

    def decode(self, value: bytes) -> Any:  # noqa: ANN401  a record may hold anything
        """Return the decoded value; RejectError. Pure once its schema was fetched."""
        if not value:
            raise RejectError(Stage.DECODE, Reason.MALFORMED, "The value is empty.")
        if len(value) > self._max_bytes:
            detail = f"The value has {len(value)} bytes; {self._max_bytes} are allowed."
            raise RejectError(Stage.DECODE, Reason.TOO_LARGE, detail)
        if self._json or (self._auto and value[0] > _GUID_MAGIC):
            return decode_json(value, self._max_depth)
        if self._plain is not None:
            return self._decode_with(self._plain, value)
        schema_id, payload = unframe(value)
        schema = self._schemas.get(schema_id)
        if schema is None:
            raise _unknown_schema(f"Nobody knows schema {schema_id}.")
        if self._expected is not None and isinstance(schema, (AvroSchema, JsonSchema)):
            _check_format(schema, self._expected, schema_id)
        return self._decode_with(schema, payload)

    def decode_leniently(self, value: bytes) -> Any:  # noqa: ANN401
        """Return a malformed value without what is bad in it; RejectError where it is not JSON."""
        if self.is_plain_json(value):
            return decode_leniently(value, self._max_depth)
        if self._plain is None:
            schema_id, payload = unframe(value)
            if isinstance(self._schemas.get(schema_id), JsonSchema):
                return decode_leniently(payload, self._max_depth)
        raise RejectError(Stage.DECODE, Reason.MALFORMED, "The value is not JSON.")

    def _decode_with(self, schema: Schema, payload: bytes) -> Any:  # noqa: ANN401
        match schema:
            case AvroSchema():
                return decode_avro(payload, schema)
            case JsonSchema():
                return decode_json(payload, self._max_depth)
            case UnusableSchema(reason, detail):
                raise RejectError(Stage.DECODE, reason, detail)
            case _:
                assert_never(schema)


def _plain_schema(source: InputSettings, schemas: SchemaSource) -> Schema | None:
    if source.format != "avro-plain":
        return None
    if source.schema_name is None:
        raise SettingsError(["The format avro-plain needs a schema_name."])
    return schemas.named(source.schema_name)


def _check_format(
    schema: AvroSchema | JsonSchema, expected: type[AvroSchema] | type[JsonSchema], schema_id: int
) -> None:
    if not isinstance(schema, expected):
        raise _unknown_schema(f"Schema {schema_id} is not of the kind the topic's format asks for.")


def _unknown_schema(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.UNKNOWN_SCHEMA, detail)
