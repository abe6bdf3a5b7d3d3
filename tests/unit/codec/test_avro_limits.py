"""How many values an Avro schema can make of how few bytes."""

from typing import Any, TypeAlias

import pytest
from fastavro import parse_schema

from processor.codec.avro_limits import MAX_LEVELS, AvroCost, UnsafeSchemaError, avro_cost

Json: TypeAlias = Any


def _cost(schema: Json) -> AvroCost:
    named: dict[str, Any] = {}
    return avro_cost(parse_schema(schema, named_schemas=named), named)


def _record(name: str, *types: Json) -> dict[str, Any]:
    fields = [{"name": f"f{index}", "type": kind} for index, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


@pytest.mark.parametrize(
    ("schema", "width"),
    [
        ("null", 0),
        ("boolean", 1),
        ("long", 1),
        ("double", 8),
        (["null", "double"], 1),
        (_record("R", "float", "string"), 5),
        ({"type": "fixed", "name": "F", "size": 16}, 16),
        ({"type": "array", "items": "long"}, 1),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, 1),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1),
    ],
)
def test_width_is_the_least_number_of_bytes(schema: Json, width: int) -> None:
    assert _cost(schema).width == width


def test_type_that_contains_itself_is_refused() -> None:
    chain = _record("Node", ["null", "Node"])

    with pytest.raises(UnsafeSchemaError, match="contains itself"):
        _cost(chain)


def test_types_that_contain_each_other_are_refused() -> None:
    inner = _record("B", {"type": "array", "items": "A"})

    with pytest.raises(UnsafeSchemaError, match="contains itself"):
        _cost(_record("A", inner))


@pytest.mark.parametrize(
    "items",
    [
        "null",
        _record("Empty"),
        _record("Nulls", "null", "null"),
        {"type": "fixed", "name": "F", "size": 0},
    ],
)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_items_of_zero_width_are_refused(kind: str, items: Json) -> None:
    key = "items" if kind == "array" else "values"

    with pytest.raises(UnsafeSchemaError, match="no bytes"):
        _cost({"type": kind, key: items})


def test_doubling_with_each_level_is_refused() -> None:
    schema: Json = _record("R0", "null", "null")
    for level in range(1, 25):
        schema = _record(f"R{level}", schema, f"R{level - 1}")

    with pytest.raises(UnsafeSchemaError, match="too many values"):
        _cost(schema)


def test_nesting_too_deep_is_refused_inline_and_by_name() -> None:
    nested: Any = "long"
    for _ in range(MAX_LEVELS + 1):
        nested = {"type": "array", "items": nested}
    with pytest.raises(UnsafeSchemaError, match="deeper"):
        _cost(nested)

    named = [_record("R0", "long")]
    named += [_record(f"R{level}", f"R{level - 1}") for level in range(1, MAX_LEVELS + 1)]
    with pytest.raises(UnsafeSchemaError, match="deeper"):
        _cost(_record("All", *named))


def test_same_type_twice_is_not_recursion() -> None:
    inner = _record("Inner", "string")

    assert _cost(_record("Outer", inner, "Inner", ["null", "Inner"])).width == 3


def test_bound_covers_the_densest_message() -> None:
    many = _cost({"type": "array", "items": _record("Item", "boolean", "boolean")})

    assert many.values(2 * 1000 + 3) >= 1 + 1000 * 3
