"""Readers and records for tests of reading."""

from collections.abc import Mapping
from typing import Any

import msgspec

from processor.codec.input_reader import InputReader
from processor.codec.schemas import SchemaFolder, SchemaSource
from processor.domain.errors import RejectError
from processor.domain.event import DecodedRecord
from processor.domain.outcome import Reject
from processor.domain.record import Record
from processor.domain.schema_files import schemas_folder
from tests.support.settings import settings_with

SCORES = "customer-ai-scores"
EVENTS = "experience-events"
ECID = "00000000000000000000000000000000004711"


def reader_with(
    changes: Mapping[str, Any] | None = None, schemas: SchemaSource | None = None
) -> InputReader:
    """Return a reader of the minimal settings with these changes, and the shipped schemas."""
    return InputReader(settings_with(changes), schemas or SchemaFolder(schemas_folder()))


def json_record(content: object, topic: str = SCORES) -> Record:
    """Return a record that holds bytes as they are, and anything else as JSON."""
    value = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return Record(topic, 0, 7, 1_795_000_000_000, b"key", value)


def a_model(**fields: object) -> dict[str, object]:
    """Return a model's object as Customer AI writes it, with these changes."""
    return {
        "score": 83.1,
        "probability": 0.412,
        "percentileScore": 92,
        "modelType": "Conversion",
        "scoreDate": "2026-08-03",
        **fields,
    }


def a_profile(**models: object) -> dict[str, Any]:
    """Return a profile-shaped score record of these models."""
    identities = {"ECID": [{"id": ECID, "primary": True}]}
    return {"identityMap": identities, "_acme": {"CustomerAI": models}}


def refusal(reader: InputReader, record: Record) -> Reject:
    """Return the reject of a record, or of the one score in it."""
    reader.fetch_schemas([record])
    try:
        reading: DecodedRecord = reader.read(record)
    except RejectError as error:
        return error.reject
    (reject,) = reading.rejects
    return reject
