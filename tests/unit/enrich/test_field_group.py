import json
from pathlib import Path
from typing import Any

import pytest

from processor.domain.schema_files import schemas_folder
from processor.enrich.context import STANDARD_KINDS, bucket_movement
from processor.enrich.event_schema import EventSchema, closed_event, render_field_group

MODEL = "PropensityToUpgrade"
FOLDER = schemas_folder() / "xdm"
VALID = sorted((FOLDER / "examples" / "valid").iterdir())
INVALID = sorted((FOLDER / "examples" / "invalid").iterdir())
SCHEMA = EventSchema(closed_event("acme", [MODEL]))


def fields_of(tenant: str, *models: str) -> dict[str, Any]:
    group = render_field_group(tenant, models)
    (own,) = group["definitions"]["customFields"]["properties"].values()
    fields: dict[str, Any] = own["properties"]
    return fields


def context_fields() -> dict[str, Any]:
    fields: dict[str, Any] = fields_of("acme", MODEL)["scoreContext"]["properties"]
    return fields


@pytest.mark.parametrize("example", VALID, ids=lambda path: path.stem)
def test_valid_examples_are_accepted(example: Path) -> None:
    assert SCHEMA.violation(json.loads(example.read_bytes())) is None


@pytest.mark.parametrize("example", INVALID, ids=lambda path: path.stem)
def test_invalid_examples_are_refused(example: Path) -> None:
    event = json.loads(example.read_bytes())

    assert not SCHEMA.accepts(event)
    assert SCHEMA.violation(event) is not None


@pytest.mark.parametrize("tenant", ["acme", "_acme"])
def test_the_tenant_has_one_underscore_however_it_is_given(tenant: str) -> None:
    group = render_field_group(tenant, [MODEL])

    assert list(group["definitions"]["customFields"]["properties"]) == ["_acme"]


def test_the_rendered_group_has_no_placeholder() -> None:
    text = json.dumps(render_field_group("acme", ["A", "B"]))

    assert "{TENANT}" not in text
    assert "{MODEL}" not in text


def test_each_prediction_has_its_object() -> None:
    models = fields_of("acme", "A", "B")["CustomerAI"]["properties"]

    assert [(key, model["title"]) for key, model in models.items()] == [("A", "A"), ("B", "B")]


def test_types_are_those_that_cja_buckets_and_sums() -> None:
    leaves = fields_of("acme", MODEL)["CustomerAI"]["properties"][MODEL]["properties"]

    assert (leaves["score"]["type"], leaves["percentileScore"]["type"]) == ("number", "integer")
    assert leaves["scoreDate"]["format"] == "date-time"


def test_each_field_has_a_title_and_a_description_for_analysts() -> None:
    def undescribed(fields: dict[str, Any], path: str) -> list[str]:
        found = [
            f"{path}/{key}"
            for key, field in fields.items()
            if not (field.get("title") and field.get("description"))
        ]
        for key, field in fields.items():
            found += undescribed(field.get("properties", {}), f"{path}/{key}")
            found += undescribed(field.get("items", {}).get("properties", {}), f"{path}/{key}")
        return found

    assert undescribed(fields_of("acme", MODEL), "") == []


def test_the_counted_event_types_are_the_declared_ones() -> None:
    assert context_fields()["eventCounts"]["properties"].keys() == STANDARD_KINDS


def test_the_declared_movements_are_those_of_the_events() -> None:
    buckets = context_fields()["scoreBucket"]["meta:enum"]
    possible = {bucket_movement(one, other) for one in buckets for other in buckets}

    assert context_fields()["bucketMovement"]["meta:enum"].keys() == possible


def test_the_group_extends_the_class_of_events() -> None:
    group = render_field_group("acme", [MODEL])

    assert group["meta:intendedToExtend"] == ["https://ns.adobe.com/xdm/context/experienceevent"]
    assert group["allOf"] == [{"$ref": "#/definitions/customFields"}]
