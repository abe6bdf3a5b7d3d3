"""Writer schemas: what a schema id can turn out to be, and who is asked for it."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeAlias

import msgspec

from processor.codec.avro import AvroSchema, ready_schema, resolved_by
from processor.codec.weight import UnsafeSchemaError
from processor.outcome import Reason

__all__ = ["JsonText", "NewestSchemas", "Schema", "SchemaSource", "Unreadable", "made_ready"]


class JsonText(msgspec.Struct, frozen=True):
    """The schema is a JSON Schema: the message is JSON text and says itself what it holds."""


class Unreadable(msgspec.Struct, frozen=True):
    """A schema that records are not decoded with; all of them are rejected for this reason."""

    reason: Reason
    detail: str


Schema: TypeAlias = AvroSchema | JsonText | Unreadable


class SchemaSource(Protocol):
    """Who knows schemas by id: a registry, or a folder of files."""

    def learn(self, ids: AbstractSet[int]) -> None:
        """Make `get` able to answer for these ids.

        UnavailableError while that can not be done: an outage, or an id that may yet become known.
        """
        ...

    def get(self, schema_id: int) -> Schema | None:
        """Return what was learned of an id, None where nobody knows it. Asks nobody."""
        ...

    def named(self, name: str) -> Schema:
        """Return the schema of a file, for messages without a frame; SettingsError."""
        ...


class NewestSchemas(Protocol):
    """Who knows the schema our side reads a type of record with."""

    def newest(self, name: str) -> AvroSchema | None:
        """Return the newest schema of a full name, None where the name is not one of ours."""
        ...


def made_ready(
    kind: str, text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> Schema:
    """Turn a schema as a registry stores it into what its records are decoded with."""
    match kind:
        case "JSON":
            return JsonText()
        case "AVRO":
            return _avro(text, references, newest)
        case _:
            detail = f"The schema is {kind}; Avro and JSON Schema are read."
            return Unreadable(Reason.UNKNOWN_SCHEMA, detail)


def _avro(
    text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> AvroSchema | Unreadable:
    try:
        schema = ready_schema(text, references)
    except UnsafeSchemaError as error:
        return Unreadable(Reason.UNSAFE_SCHEMA, str(error))
    return resolved_by(schema, newest.newest(schema.name))
