"""A record's value to what it holds, by the format of its topic; the cheapest guard comes first.

The Confluent frame: a magic byte and a schema id in front of the message.
"""

from typing import Any, assert_never

from processor.codec.avro import AvroSchema, decode_avro
from processor.codec.json_text import decode_json, decode_leniently
from processor.codec.schemas import JsonText, Schema, SchemaSource, Unreadable
from processor.domain.errors import RejectError, SettingsError
from processor.domain.outcome import Reason, Stage
from processor.settings import InputSettings, ReadingSettings

FRAME_BYTES = 5
_MAGIC = 0
_GUID_MAGIC = 1


def framed_id(value: bytes | None) -> int | None:
    """Return the schema id of a framed value, None where there is no whole frame.

    JSON never begins with byte 0, so a frame can be told from it.
    """
    if not value or value[0] != _MAGIC or len(value) < FRAME_BYTES:
        return None
    return int.from_bytes(value[1:FRAME_BYTES], "big")


def unframe(value: bytes) -> tuple[int, bytes]:
    """Return the schema id and the message; RejectError(bad_frame) where no frame is read here."""
    schema_id = framed_id(value)
    if schema_id is None:
        raise RejectError(Stage.DECODE, Reason.BAD_FRAME, _fault(value))
    return schema_id, value[FRAME_BYTES:]


def _fault(value: bytes) -> str:
    if value[:1] == bytes([_GUID_MAGIC]):
        return "The frame names its schema by GUID (magic byte 1); only schema ids are read."
    if value[:1] == bytes([_MAGIC]):
        return f"A frame has {FRAME_BYTES} bytes before the message; the value has {len(value)}."
    return "The value does not begin with the magic byte 0 of a schema registry frame."


_LAST_MAGIC = 1
"""Frames begin with byte 0 or 1, which no JSON text does."""
_WANTED: dict[str, type[AvroSchema] | type[JsonText]] = {
    "avro": AvroSchema,
    "json-schema": JsonText,
}


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
        self._wanted = _WANTED.get(source.format)
        self._plain = _plain_schema(source, schemas)

    def schema_id(self, value: bytes | None) -> int | None:
        """Return the id whose schema must be learned before the value is decoded, if any."""
        return framed_id(value) if self._framed else None

    def is_plain_json(self, value: bytes) -> bool:
        """Return True where the value is taken as JSON text, all of it, and not too large."""
        if self._json or (self._auto and value and value[0] > _LAST_MAGIC):
            return len(value) <= self._max_bytes
        return False

    def decode(self, value: bytes) -> Any:  # noqa: ANN401  a record may hold anything
        """Return what a value holds; RejectError. Pure once its schema was learned."""
        if not value:
            raise RejectError(Stage.DECODE, Reason.MALFORMED, "The value is empty.")
        if len(value) > self._max_bytes:
            detail = f"The value has {len(value)} bytes; {self._max_bytes} are allowed."
            raise RejectError(Stage.DECODE, Reason.TOO_LARGE, detail)
        if self._json or (self._auto and value and value[0] > _LAST_MAGIC):
            return decode_json(value, self._max_depth)
        if self._plain is not None:
            return self._decode_with(self._plain, value)
        schema_id, payload = unframe(value)
        schema = self._schemas.get(schema_id)
        if schema is None:
            raise _unknown(f"Nobody knows schema {schema_id}.")
        if self._wanted is not None and isinstance(schema, (AvroSchema, JsonText)):
            _check_kind(schema, self._wanted, schema_id)
        return self._decode_with(schema, payload)

    def decode_leniently(self, value: bytes) -> Any:  # noqa: ANN401
        """Return what a malformed value holds but for what is bad in it; RejectError."""
        if self.is_plain_json(value):
            return decode_leniently(value, self._max_depth)
        if self._plain is None:
            schema_id, payload = unframe(value)
            if isinstance(self._schemas.get(schema_id), JsonText):
                return decode_leniently(payload, self._max_depth)
        raise RejectError(Stage.DECODE, Reason.MALFORMED, "The value is not JSON.")

    def _decode_with(self, schema: Schema, payload: bytes) -> Any:  # noqa: ANN401
        match schema:
            case AvroSchema():
                return decode_avro(payload, schema)
            case JsonText():
                return decode_json(payload, self._max_depth)
            case Unreadable(reason, detail):
                raise RejectError(Stage.DECODE, reason, detail)
            case _:
                assert_never(schema)


def _plain_schema(source: InputSettings, schemas: SchemaSource) -> Schema | None:
    if source.format != "avro-plain":
        return None
    if source.schema_name is None:
        raise SettingsError(["The format avro-plain needs a schema_name beside it."])
    return schemas.named(source.schema_name)


def _check_kind(
    schema: AvroSchema | JsonText, wanted: type[AvroSchema] | type[JsonText], schema_id: int
) -> None:
    if not isinstance(schema, wanted):
        raise _unknown(f"Schema {schema_id} is not of the kind the topic's format asks for.")


def _unknown(detail: str) -> RejectError:
    return RejectError(Stage.DECODE, Reason.UNKNOWN_SCHEMA, detail)
