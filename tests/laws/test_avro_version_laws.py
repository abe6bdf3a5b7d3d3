"""Laws of reading a message with the newest schema: it adds, and never takes away."""

import io
import json
from typing import Any, TypeAlias

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from hypothesis import assume, given
from hypothesis import strategies as st

from processor.codec.avro import decode_avro, prepare_schema, read_as_newest

Json: TypeAlias = Any

NAMES = [f"f{number}" for number in range(6)]
_VALUES: dict[str, st.SearchStrategy[Json]] = {
    "long": st.integers(-(2**40), 2**40),
    "string": st.text(max_size=5),
    "boolean": st.booleans(),
}
_kinds = st.sampled_from(sorted(_VALUES))


@st.composite
def written_records(draw: st.DrawFn) -> tuple[Json, Json]:
    """Return a writer schema, nested once in a field of any name, and a message's content."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    inner = {name: draw(_kinds) for name in names}
    content = {name: draw(_VALUES[kind]) for name, kind in inner.items()}
    place = draw(st.sampled_from(["here", "there"]))
    return _outer(place, [{"name": n, "type": kind} for n, kind in inner.items()]), {place: content}


@st.composite
def newest_schemas(draw: st.DrawFn) -> Json:
    """Return a newest schema of the same names: other fields, types, defaults and aliases."""
    fields = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        kind = draw(_kinds)
        field: Json = {"name": name, "type": kind}
        field |= {"default": draw(_VALUES[kind])} if draw(st.booleans()) else {}
        field["aliases"] = draw(st.lists(st.sampled_from(NAMES), max_size=2))
        fields.append(field)
    return _outer("here", fields)


def _outer(place: str, fields: list[Json]) -> Json:
    inner = {"type": "record", "name": "x.Inner", "fields": fields}
    return {"type": "record", "name": "x.Outer", "fields": [{"name": place, "type": inner}]}


@given(written_records(), newest_schemas())
def test_every_written_value_is_read_and_only_defaults_are_added(
    of: tuple[Json, Json], newest: Json
) -> None:
    declared, content = of
    ((place, written),) = content.items()
    fields = newest["fields"][0]["type"]["fields"]
    by_name = {field["name"]: field for field in fields}

    read = _read(declared, newest, content)[place]

    old_name = {name: name for name in written} | {
        alias: name
        for name, field in by_name.items()
        for alias in field["aliases"]
        if name not in written and name in read and alias in written and alias not in by_name
    }
    for name, value in written.items():
        assert read[name if name in read else old_name[name]] == value
    added = list(read)[len(written) :]
    assert {name: read[name] for name in added} == {
        name: field["default"]
        for name, field in by_name.items()
        if "default" in field and name not in list(read)[: len(written)]
    }


@given(written_records(), newest_schemas())
def test_what_schema_resolution_reads_is_read(of: tuple[Json, Json], newest: Json) -> None:
    declared, content = of
    assume("here" in content)
    for field in newest["fields"][0]["type"]["fields"]:
        del field["aliases"]  # fastavro fails where two fields get one name
    try:
        resolved: Json = schemaless_reader(
            io.BytesIO(_message(declared, content)), parse_schema(declared), parse_schema(newest)
        )
    except SchemaResolutionError:
        return

    read = _read(declared, newest, content)

    assert resolved["here"].items() <= read["here"].items()


def _read(declared: Json, newest: Json, content: Json) -> Json:
    schema = prepare_schema(json.dumps(declared))
    newer = prepare_schema(json.dumps(newest))
    return decode_avro(_message(declared, content), read_as_newest(schema, newer))


def _message(declared: Json, content: Json) -> bytes:
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(declared), content)
    return buffer.getvalue()
