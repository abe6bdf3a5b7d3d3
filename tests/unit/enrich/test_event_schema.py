import json
from pathlib import Path
from typing import Any

import pytest

from processor.domain.errors import SettingsError
from processor.domain.outcome import ContextStatus
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import (
    EventSchema,
    closed_event,
    compile_schemas,
    render_field_group,
)
from tests.support.enriching import MODEL_KEY, NOW_MS, body_of, model_in, score_of
from tests.support.settings import settings_with


def resolved() -> dict[str, Any]:
    """Return a dataset's schema as AEP resolves it: the class and the field group in one object."""
    group = render_field_group("acme", [MODEL_KEY])["definitions"]["customFields"]["properties"]
    text = {"type": "string", "meta:xdmType": "string"}
    item = {"type": "object", "properties": {"id": text, "primary": {"type": "boolean"}}}
    return {
        "$id": "https://ns.adobe.com/acme/schemas/1",
        "type": "object",
        "meta:class": "https://ns.adobe.com/xdm/context/experienceevent",
        "required": ["_id", "timestamp"],
        "properties": {
            "_id": {**text, "format": "uri-reference"},
            "timestamp": {**text, "format": "date-time"},
            "eventType": {**text, "meta:enum": {"advertising.clicks": "Clicks"}},
            "eventMergeId": text,
            "producedBy": text,
            "identityMap": {
                "type": "object",
                "meta:xdmType": "map",
                "additionalProperties": {"type": "array", "items": item},
            },
            **group,
        },
    }


def enricher_of(schema: Any, folder: Path) -> Enricher:  # noqa: ANN401  whatever a file may hold
    path = folder / "schema.json"
    path.write_text(json.dumps(schema))
    settings = settings_with({"routes/0/schema_file": str(path)})
    return Enricher(settings, compile_schemas(settings))


def event_of(enricher: Enricher) -> bytes:
    prepared = enricher.prepare(score_of(), NOW_MS)
    return body_of(enricher, prepared, None, ContextStatus.COMPLETE)


def tenant_fields(schema: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = schema["properties"]["_acme"]["properties"]
    return fields


def model_fields(schema: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = tenant_fields(schema)["CustomerAI"]["properties"][MODEL_KEY][
        "properties"
    ]
    return fields


def test_a_datasets_own_schema_accepts_the_whole_event(tmp_path: Path) -> None:
    assert "scoreContext" in json.loads(event_of(enricher_of(resolved(), tmp_path)))["_acme"]


def test_a_score_date_declared_as_plain_text_is_accepted(tmp_path: Path) -> None:
    schema = resolved()
    model_fields(schema)["scoreDate"] = {"type": "string"}

    event_of(enricher_of(schema, tmp_path))


def test_context_a_dataset_does_not_declare_is_left_out(tmp_path: Path) -> None:
    schema = resolved()
    del tenant_fields(schema)["scoreContext"]
    del schema["properties"]["producedBy"]

    event = json.loads(event_of(enricher_of(schema, tmp_path)))

    assert event["_acme"].keys() == {"CustomerAI"}
    assert "producedBy" not in event


def test_parts_of_factors_a_dataset_does_not_declare_are_left_out(tmp_path: Path) -> None:
    schema = resolved()
    items = model_fields(schema)["influentialFactors"]["items"]["properties"]
    del items["importance"]
    score = score_of()

    enricher = enricher_of(schema, tmp_path)
    body = body_of(enricher, enricher.prepare(score, NOW_MS), None, ContextStatus.COMPLETE)

    assert model_in(body)["influentialFactors"] == [{"code": "Counts of webVisit", "value": "14"}]
    assert score == score_of()


@pytest.mark.parametrize("leaf", ["score", "scoreDate"])
def test_a_dataset_without_score_or_date_is_refused_at_start(leaf: str, tmp_path: Path) -> None:
    schema = resolved()
    del model_fields(schema)[leaf]

    with pytest.raises(SettingsError, match=rf"Route upgrade: .* _acme\.CustomerAI\..*\.{leaf}\."):
        enricher_of(schema, tmp_path)


@pytest.mark.parametrize("field", ["_id", "timestamp", "identityMap", "_acme"])
def test_a_dataset_without_a_field_of_the_class_is_refused_at_start(
    field: str, tmp_path: Path
) -> None:
    schema = resolved()
    del schema["properties"][field]

    with pytest.raises(SettingsError, match=f"does not declare {field}"):
        enricher_of(schema, tmp_path)


@pytest.mark.parametrize("schema", [[], "x", {"$ref": "https://ns.adobe.com/xdm/x"}])
def test_a_file_that_is_not_a_resolved_schema_is_refused_at_start(
    schema: object, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="Route upgrade"):
        enricher_of(schema, tmp_path)


def test_a_missing_schema_file_is_refused_at_start() -> None:
    settings = settings_with({"routes/0/schema_file": "nowhere.json"})

    with pytest.raises(SettingsError, match="cannot be read"):
        compile_schemas(settings)


def test_a_violation_does_not_contain_the_value() -> None:
    schema = EventSchema(closed_event("acme", [MODEL_KEY]))
    event = {
        "_id": "a secret id",
        "timestamp": "2026-08-03T00:00:00Z",
        "eventType": "x",
        "producedBy": "system",
        "identityMap": {"ECID": [{"id": "1"}]},
    }

    violation = schema.violation(event)

    assert violation is not None
    assert (violation.pointer, violation.sentence) == (
        "/_id",
        "The text is not a valid uri-reference.",
    )
