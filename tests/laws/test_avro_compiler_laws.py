"""Laws of the Avro compiler: compiled readers read and refuse what fastavro does."""

import io
import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any, TypeAlias

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from processor.codec.avro import decode_avro, prepare_schema
from processor.codec.avro_limits import UnsafeSchemaError
from processor.domain.errors import RejectError
from tests.support.paths import ROOT

Json: TypeAlias = Any

SHIPPED = [json.loads(file.read_text()) for file in sorted((ROOT / "schemas/avro").glob("*.avsc"))]
TOO_LONG = re.compile(rb"[\x80-\xff]{9}")
"""A number of ten bytes or more, which no writer writes and fastavro may accept."""

_SIMPLE: list[tuple[Json, st.SearchStrategy[Json]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("bytes", st.binary(max_size=200)),
    ("string", st.text(max_size=100)),
    ({"type": "int", "logicalType": "date"}, st.integers(-(2**31), 2**31 - 1)),
    ({"type": "long", "logicalType": "timestamp-millis"}, st.integers(-(2**63), 2**63 - 1)),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, st.integers(0, 2**52)),
    ({"type": "string", "logicalType": "uuid"}, st.uuids().map(str)),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        st.binary(max_size=9),
    ),
]


Typed: TypeAlias = tuple[Json, st.SearchStrategy[Json]]
"""A type, and a strategy for its values."""


def _record(fields: list[Typed]) -> Typed:
    listed = [{"name": f"f{index}", "type": kind} for index, (kind, _) in enumerate(fields)]
    values = st.fixed_dictionaries({f"f{index}": one for index, (_, one) in enumerate(fields)})
    return {"type": "record", "fields": listed}, values


def _unions(of: Typed) -> st.SearchStrategy[Typed]:
    kind, values = of
    if kind == "null" or isinstance(kind, list):
        return st.just(of)
    either = st.none() | values
    return st.sampled_from([(["null", kind], either), ([kind, "null"], either), ([kind], values)])


_named = st.sampled_from(
    [
        ({"type": "enum", "symbols": ["LOW", "HIGH"]}, st.sampled_from(["LOW", "HIGH"])),
        ({"type": "fixed", "size": 5}, st.binary(min_size=5, max_size=5)),
    ]
)


def _or_null(of: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return of | of.flatmap(_unions)


def _lists(of: Typed) -> Typed:
    return {"type": "array", "items": of[0]}, st.lists(of[1], max_size=3)


def _maps(of: Typed) -> Typed:
    keys = st.text(max_size=3)
    return {"type": "map", "values": of[0]}, st.dictionaries(keys, of[1], max_size=3)


def _records(of: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.lists(of, min_size=1, max_size=4).map(_record)


_leaves = _or_null(st.sampled_from(_SIMPLE) | _named)
_inner = _or_null(_leaves | _records(_leaves))
typed = _records(_inner | _or_null(_inner.map(_lists) | _inner.map(_maps))).map(
    lambda of: (_with_names(of[0], count()), of[1])
)


def _with_names(declared: Json, numbers: Iterator[int]) -> Json:
    """Return a schema whose records, enums and fixed types have a name each."""
    if isinstance(declared, list):
        return [_with_names(one, numbers) for one in declared]
    if not isinstance(declared, dict) or "logicalType" in declared:
        return declared
    inner = {
        key: _with_names(one, numbers) if key in ("type", "items", "values", "fields") else one
        for key, one in declared.items()
    }
    return inner if "name" in inner else {**inner, "name": f"N{next(numbers)}"}


def _by_fastavro(message: bytes, declared: Json) -> str:
    source = io.BytesIO(message)
    try:
        value = schemaless_reader(source, parse_schema(declared), None)
    except (EOFError, ValueError, LookupError, TypeError):
        return "refused"
    return repr(value) if source.tell() == len(message) else "refused"


def _by_compiler(message: bytes, declared: Json) -> str | None:
    try:
        return repr(decode_avro(message, prepare_schema(json.dumps(declared))))
    except RejectError:
        return "refused"
    except UnsafeSchemaError:
        return None


def _plain(declared: Json) -> Json:
    """Return a schema without its logical types, so that a writer takes values as they are."""
    if isinstance(declared, list):
        return [_plain(one) for one in declared]
    if isinstance(declared, dict):
        return {key: _plain(one) for key, one in declared.items() if key != "logicalType"}
    return declared


@given(typed, st.data())
@settings(max_examples=400)
def test_written_messages_are_read_as_by_fastavro(of: Typed, data: st.DataObject) -> None:
    declared, values = of
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(_plain(declared)), data.draw(values))
    found = _by_compiler(buffer.getvalue(), declared)

    assume(found is not None)
    assert found == _by_fastavro(buffer.getvalue(), declared)


@given(typed | st.sampled_from([(one, st.none()) for one in SHIPPED]), st.binary(max_size=60))
@settings(max_examples=600)
def test_any_bytes_are_read_or_refused_as_by_fastavro(of: Typed, message: bytes) -> None:
    found = _by_compiler(message, of[0])

    assume(found is not None)
    assert found == _by_fastavro(message, of[0]) or TOO_LONG.search(message)


@given(typed, st.data())
@settings(max_examples=400)
def test_damaged_messages_are_read_or_refused_as_by_fastavro(
    of: Typed, data: st.DataObject
) -> None:
    declared, values = of
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(_plain(declared)), data.draw(values))
    message = bytearray(buffer.getvalue())
    start = data.draw(st.integers(0, len(message)))
    message[start : start + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    found = _by_compiler(bytes(message), declared)

    assume(found is not None)
    assert found == _by_fastavro(bytes(message), declared) or TOO_LONG.search(message)
