"""Avro messages, valid and hostile."""

import io
import math
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import pytest
from fastavro import parse_schema, schemaless_writer

from processor.codec.avro import AvroSchema, decode_avro, prepare_schema, read_as_newest
from processor.codec.avro_limits import UnsafeSchemaError
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason

Json: TypeAlias = Any

_FIELD = b'{"name": "a", "type": "int"}'


def _schema(declared: Json) -> AvroSchema:
    return prepare_schema(msgspec.json.encode(declared))


def _written(declared: Json, value: object) -> bytes:
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(declared), value)
    return buffer.getvalue()


def _record(name: str, **fields: Json) -> dict[str, Any]:
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def _list(of: Json) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _reason(payload: bytes, declared: Json) -> Reason:
    with pytest.raises(RejectError) as caught:
        decode_avro(payload, _schema(declared))
    return caught.value.reject.reason


def _varint(number: int) -> bytes:
    number, out = (number << 1) ^ (number >> 63), b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize(
    ("kind", "logical", "value", "read"),
    [
        ("int", "date", date(2026, 8, 3), date(2026, 8, 3)),
        (
            "long",
            "timestamp-millis",
            datetime(2026, 8, 3, tzinfo=UTC),
            datetime(2026, 8, 3, tzinfo=UTC),
        ),
        (
            "long",
            "timestamp-micros",
            datetime(2026, 8, 3, tzinfo=UTC),
            datetime(2026, 8, 3, tzinfo=UTC),
        ),
        ("string", "uuid", UUID(int=7), str(UUID(int=7))),
        ("long", "time-micros", 5, 5),
    ],
)
def test_logical_types_become_plain_values(
    kind: str, logical: str, value: object, read: object
) -> None:
    declared = {"type": kind, "logicalType": logical}

    assert decode_avro(_written(declared, value), _schema(declared)) == read


@pytest.mark.parametrize("of", [{"type": "bytes"}, {"type": "fixed", "name": "F", "size": 8}])
def test_decimals_become_numbers(of: dict[str, Any]) -> None:
    declared = {**of, "logicalType": "decimal", "precision": 6, "scale": 2}

    assert decode_avro(_written(declared, Decimal("83.10")), _schema(declared)) == 83.1


def test_decimal_of_a_megabyte_is_refused_at_once() -> None:
    declared = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}

    assert _reason(_varint(1 << 20) + b"\x7f" * (1 << 20), declared) is Reason.MALFORMED


@pytest.mark.parametrize(
    "logical", ["timestamp-millis", "timestamp-micros", "local-timestamp-millis"]
)
def test_impossible_timestamp_does_not_reject_the_record(logical: str) -> None:
    declared = _record("R", time={"type": "long", "logicalType": logical}, text="string")
    payload = _varint(1 << 62) + b"\x02a"

    read = decode_avro(payload, _schema(declared))

    assert read["text"] == "a"
    assert math.isnan(read["time"])


@pytest.mark.parametrize(
    ("payload", "declared"),
    [
        (b"", "long"),
        (b"\x02", _record("R", a="string")),
        (b"\x01", "string"),
        (b"\x01abc", "bytes"),
        (b"\x02\x01\x00", _record("R", a="long", b="string", c="boolean")),
        (b"\x02\xff", "string"),
        (b"\x0a", ["null", "int"]),
        (b"\x0a", {"type": "enum", "name": "E", "symbols": ["A"]}),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes"),
        (_varint(50_000_000) + b"\x02", {"type": "array", "items": "long"}),
        (b"\x02\x02", "long"),
        (b"\x80" * 20, "long"),
        (b"\x80" * 10 + b"\x01", "long"),
        (b"\x80" * (1 << 20), "long"),
        (b"\x02", _record("R", a=["null", "string"])),
        (b"\x04a", _record("R", a=["null", "string"])),
        (b"\x02\x04a", _record("R", a=["null", "string"])),
        (b"\x02\x01", _record("R", a=["null", "string"])),
        (b"\x0a", _record("R", a="string", b="string", c="null")),
        (b"\x00" * 7, "double"),
        (b"\x00" * 4, {"type": "fixed", "name": "F", "size": 5}),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
            {"type": "array", "items": {"type": "fixed", "name": "F", "size": 1}},
        ),
    ],
)
def test_bytes_that_do_not_fit_are_malformed(payload: bytes, declared: Json) -> None:
    assert _reason(payload, declared) is Reason.MALFORMED


@pytest.mark.parametrize("size", [b"\x04", b"\xfe\x01"])
def test_blocks_with_their_size_are_read(size: bytes) -> None:
    numbers, pairs = {"type": "array", "items": "long"}, {"type": "map", "values": "long"}

    assert decode_avro(b"\x03" + size + b"\x02\x04\x02\x06\x00", _schema(numbers)) == [1, 2, 3]
    assert decode_avro(b"\x01" + size + b"\x02a\x04\x00", _schema(pairs)) == {"a": 2}


def test_last_field_may_take_no_bytes() -> None:
    nothing = _record("N")
    declared = _record("R", a="long", b=["null", nothing], c="null", d="N")

    assert decode_avro(b"\x0e\x02", _schema(declared)) == {"a": 7, "b": {}, "c": None, "d": {}}


@pytest.mark.parametrize("union", [["null", "string"], ["string", "null"]])
def test_union_index_in_more_bytes_than_needed_is_read(union: Json) -> None:
    declared, text = _record("R", a=union), union.index("string")

    assert decode_avro(bytes([2 * text | 128, 0, 2]) + b"x", _schema(declared)) == {"a": "x"}
    assert decode_avro(bytes([2 - 2 * text | 128, 0]), _schema(declared)) == {"a": None}


def test_schema_of_many_nested_unions_is_compiled_quickly() -> None:
    declared: Json = "string"
    for level in range(60):
        declared = _record(f"R{level}", inner=["null", declared])

    assert decode_avro(b"\x00", _schema(declared)) == {"inner": None}


def test_message_that_could_unfold_into_millions_is_too_large() -> None:
    declared = {
        "type": "array",
        "items": _record("R", **{f"a{i}": "null" for i in range(200)}, b="boolean"),
    }

    assert _reason(b"\x00" * 100_000, declared) is Reason.TOO_LARGE


def test_self_referencing_schema_never_reaches_the_decoder() -> None:
    declared = _record("Node", next=["null", "Node"])

    with pytest.raises(UnsafeSchemaError):
        _schema(declared)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'"nonsense"',
        b'{"type": "record"}',
        b'{"type": "record", "name": "R", "fields": 7}',
        b"[" * 100_000,
        b"[" * 300 + b"]" * 300,
        b'"long"' + b" " * (1 << 20),
        b'{"type": "record", "name": "R", "fields": [{"name": "a", "type": "Other"}]}',
        b"7",
        b"null",
        b"true",
        b'{"type": "fixed", "name": "F", "size": -1}',
        b'{"type": "fixed", "name": "F", "size": "x"}',
        b'{"type": "array"}',
        b'{"type": {"type": {"type": 5}}}',
        b'{"type": "record", "name": "R", "fields": [%s, %s]}' % (_FIELD, _FIELD),
    ],
)
def test_text_that_is_not_a_schema_is_unsafe(text: bytes) -> None:
    with pytest.raises(UnsafeSchemaError):
        prepare_schema(text)


def test_references_may_refer_to_earlier_ones() -> None:
    inner = msgspec.json.encode(_record("a.Inner", x="long"))
    middle = msgspec.json.encode(_record("a.Middle", inner="a.Inner"))
    outer = msgspec.json.encode(_record("a.Outer", middle="a.Middle"))

    schema = prepare_schema(outer, [inner, middle])

    assert decode_avro(b"\x0e", schema) == {"middle": {"inner": {"x": 7}}}


def test_older_writer_is_read_as_the_newest_of_its_name() -> None:
    old = _schema(_record("s.Score", score="int"))
    new = prepare_schema(
        b'{"type": "record", "name": "s.Score", "fields": ['
        b'{"name": "points", "aliases": ["score"], "type": "double"},'
        b'{"name": "model", "type": "string", "default": "churn"}]}'
    )

    assert decode_avro(b"\x0e", read_as_newest(old, new)) == {"points": 7.0, "model": "churn"}
    assert decode_avro(struct.pack("<d", 7.0) + b"\x02m", read_as_newest(new, new)) == {
        "points": 7.0,
        "model": "m",
    }


@pytest.mark.parametrize(
    ("kind", "written"), [("string", "83"), ("bytes", b"83"), (["null", "string"], None)]
)
def test_field_of_another_type_is_read_as_it_was_written(kind: Json, written: object) -> None:
    old = _record("s.Score", score=kind)
    new = _schema(_record("s.Score", score="double"))

    read = decode_avro(_written(old, {"score": written}), read_as_newest(_schema(old), new))

    assert read == {"score": written}


def test_fields_that_the_newest_lacks_are_kept_at_every_level() -> None:
    tenant = _record("s.Tenant", tier="string")
    old = _record(
        "s.Score", own="string", _initech=tenant, several=_list(_record("s.One", a="int"))
    )
    new = _schema(
        _record(
            "s.Score", _acme=tenant, several=["null", _list(_record("s.One", b=["null", "int"]))]
        )
    )
    content = {"own": "x", "_initech": {"tier": "gold"}, "several": [{"a": 1}, {"a": 2}]}

    assert decode_avro(_written(old, content), read_as_newest(_schema(old), new)) == content


def test_record_at_another_place_gets_the_aliases_and_defaults_of_its_name() -> None:
    old = _record("s.Score", _initech=_record("s.Tenant", tier="string"))
    tenant = _record("s.Tenant", level="string", since={"type": "int"})
    tenant["fields"][0]["aliases"] = ["tier"]
    tenant["fields"][1]["default"] = 7
    new = _schema(_record("s.Score", _acme=tenant))

    read = decode_avro(
        _written(old, {"_initech": {"tier": "gold"}}), read_as_newest(_schema(old), new)
    )

    assert read == {"_initech": {"level": "gold", "since": 7}}


def test_two_fields_never_become_one() -> None:
    old = _record("s.Score", a="int", b="int")
    new = _record("s.Score", c="int")
    new["fields"][0]["aliases"] = ["a", "b"]
    same = _record("s.Score", c="int", a="int")
    same["fields"][0]["aliases"] = ["a"]
    content = {"a": 1, "b": 2}
    message = _written(old, content)

    assert decode_avro(message, read_as_newest(_schema(old), _schema(new))) == {"c": 1, "b": 2}
    assert decode_avro(message, read_as_newest(_schema(old), _schema(same))) == content


def test_default_does_not_hide_a_name_in_other_letters() -> None:
    old, new = _record("s.Event", EventType="string"), _record("s.Event", eventType=["null", "int"])
    new["fields"][0]["default"] = None

    read = decode_avro(
        _written(old, {"EventType": "x"}), read_as_newest(_schema(old), _schema(new))
    )

    assert read == {"EventType": "x"}


def test_default_of_several_records_is_not_shared() -> None:
    old, new = _record("s.Score", a="int"), _record("s.Score", factors=_list("string"))
    new["fields"][0]["default"] = []
    schema = read_as_newest(_schema(old), _schema(new))

    decode_avro(b"\x02", schema)["factors"].append("changed")

    assert decode_avro(b"\x02", schema) == {"a": 1, "factors": []}


def test_defaults_count_as_values_and_too_many_are_left_out() -> None:
    old, new = _record("s.Score", a="int"), _record("s.Score", many=_list("int"))
    new["fields"][0]["default"] = [0] * 30_000
    schema = _schema(old)

    assert read_as_newest(schema, _schema(new)) is schema


def test_schema_of_another_name_is_unchanged() -> None:
    one, other = _schema(_record("s.A", a="long")), _schema(_record("s.B", b="long"))

    assert read_as_newest(one, other) is one
    assert read_as_newest(one, None) is one
