from typing import Any

import pytest

from processor.domain.errors import SettingsError
from processor.enrich.event_schema import EventSchema, close, undeclared

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}},
    "definitions": {
        "own": {
            "required": ["n"],
            "properties": {
                "n": {"type": "integer"},
                "deep": {"type": "object", "properties": {"a": {"type": "string"}}},
            },
        },
        "more": {"properties": {"deep": {"properties": {"b": {"type": "string"}}}}},
    },
    "allOf": [
        {"$ref": "#/definitions/own"},
        {"allOf": [{"$ref": "#/definitions/more"}]},
        {
            "properties": {
                "map": {
                    "type": "object",
                    "meta:xdmType": "map",
                    "additionalProperties": {"type": "object", "properties": {"x": {}}},
                },
                "list": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"y": {"type": "number"}}},
                },
            }
        },
    ],
}
CLOSED = EventSchema(close(SCHEMA))
GOOD: dict[str, Any] = {
    "id": "1",
    "n": 1,
    "deep": {"a": "1", "b": "2"},
    "map": {"any": {"x": 1}},
    "list": [{"y": 1.5}],
}


def test_fields_declared_in_any_branch_are_accepted() -> None:
    assert CLOSED.violation(GOOD) is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"other": 1}, "/other"),
        ({"deep": {"c": "1"}}, "/deep/c"),
        ({"deep": {}}, "/deep"),
        ({"map": {"any": {"z": 1}}}, "/map/any/z"),
        ({"map": {"a/b~c": {"z": 1}}}, "/map/a~1b~0c/z"),
        ({"list": [{"y": 1}, {"z": 1}]}, "/list/1/z"),
        ({"list": []}, "/list"),
        ({"id": ""}, "/id"),
        ({"n": "1"}, "/n"),
    ],
)
def test_undeclared_or_empty_value_is_refused_at_its_pointer(
    change: dict[str, Any], pointer: str
) -> None:
    violation = CLOSED.violation({**GOOD, **change})

    assert violation is not None
    assert violation.pointer == pointer


def test_field_required_in_any_branch_is_required() -> None:
    without_n = {key: value for key, value in GOOD.items() if key != "n"}

    violation = CLOSED.violation(without_n)

    assert violation is not None
    assert (violation.pointer, violation.sentence) == ("/n", "The field is missing.")


def test_a_schema_that_refers_to_others_is_refused() -> None:
    with pytest.raises(SettingsError, match="xed-full"):
        close({"$ref": "https://ns.adobe.com/xdm/context/experienceevent"})


def test_a_schema_that_refers_to_itself_is_refused() -> None:
    with pytest.raises(SettingsError, match="refers to itself"):
        close({"definitions": {"a": {"$ref": "#/definitions/a"}}, "$ref": "#/definitions/a"})


def test_a_reference_without_a_target_is_refused() -> None:
    with pytest.raises(SettingsError, match="nothing at"):
        close({"$ref": "#/definitions/a"})


def test_undeclared_paths_are_the_topmost() -> None:
    wanted = close(SCHEMA)
    deep: dict[str, Any] = {"properties": {"a": {}}}
    listed = {"type": "array", "items": {"properties": {"z": {}}}}
    declared = close({"properties": {"id": {}, "n": {}, "deep": deep, "list": listed}})

    assert sorted(undeclared(wanted, declared)) == [("deep", "b"), ("list", "y"), ("map",)]
