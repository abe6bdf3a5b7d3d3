"""Laws of reading: forms of an instant agree, versions agree, hostile input is rejected."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import msgspec
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.codec.avro import decode_avro, prepare_schema, read_as_newest
from processor.codec.avro_limits import UnsafeSchemaError
from processor.codec.dates import Dates
from processor.codec.input_reader import InputReader
from processor.domain.errors import RejectError
from processor.domain.outcome import Reject
from tests.support.paths import ROOT
from tests.support.reading import EVENTS, SCORES, a_model, a_profile, json_record, reader_with

Json: TypeAlias = Any

READER = reader_with({"join/cohort": "_acme.loyalty.tier", "join/own_types": {"x": "_acme.x"}})
EXAMPLES = [file.read_bytes() for file in sorted((ROOT / "schemas/examples").rglob("*.*"))]
DATES = Dates("UTC")

instants = st.datetimes(
    datetime(1974, 1, 1),  # noqa: DTZ001
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
keys = st.sampled_from(
    [
        *("identityMap", "endUserIDs", "_experience", "mcid", "ECID", "id", "primary", "body"),
        *(
            "header",
            "xdmEntity",
            "_acme",
            "CustomerAI",
            "Churn",
            "score",
            "scoreDate",
            "percentile",
        ),
        *("influentialFactors", "code", "value", "importance", "modelType", "prediction", "_id"),
        *("timestamp", "eventType", "web", "webPageDetails", "name", "commerce", "order", "search"),
        *("purchaseID", "segmentMemberships", "segmentID", "segmentMembership", "marketing", ""),
    ]
) | st.text(max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["2026-08-03", "2026-08-03T00:00:00Z", "1785715200", "0" * 38, "1" * 38])
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6)
)


@given(instants, offsets)
def test_every_form_of_an_instant_is_the_same_instant(instant: datetime, offset: timezone) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    micros = (instant - epoch) // timedelta(microseconds=1)
    zoned = instant.astimezone(offset)
    forms: list[object] = [
        micros,
        str(micros),
        instant,
        zoned.isoformat(),
        instant.isoformat().replace("+00:00", "Z"),
        instant.isoformat().replace("+00:00", "").replace("T", " "),
        micros / 1_000_000,
    ]

    assert {DATES.instant_ms(form) for form in forms} == {micros // 1000}


@given(st.dates(date(1974, 1, 1), date(2100, 1, 1)))
def test_a_day_is_its_midnight(day: date) -> None:
    forms = [day, str(day), f"{day} 00:00:00", f"{day}T00:00:00Z", f"{day}T00:00:00.000+00:00"]

    assert len({DATES.instant_ms(form) for form in forms}) == 1


@given(
    st.floats(0, 100),
    st.integers(1, 100),
    st.permutations(["score", "percentileScore", "scoreDate", "modelType", "probability"]),
)
def test_order_of_keys_and_form_of_numbers_do_not_matter(
    score: float, percentile: int, order: list[str]
) -> None:
    plain = a_model(score=score, percentileScore=percentile)
    written = a_model(
        score=repr(score), percentileScore=float(percentile), scoreDate="2026-08-03T00:00:00Z"
    )
    reordered = {key: written[key] for key in order}

    one = READER.read(json_record(a_profile(Churn=plain))).scores
    other = READER.read(json_record(a_profile(Churn=reordered))).scores

    assert one == other


def _versions() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for file in sorted((ROOT / "schemas/avro").glob("*.avsc")):
        old = json.loads(file.read_text())
        new = json.loads(file.read_text())
        new["fields"].append({"name": "added", "type": "string", "default": "later"})
        yield old, new


@pytest.mark.parametrize(("old", "new"), list(_versions()), ids=lambda one: str(one["name"]))
@given(number=st.floats(0, 100), text=st.text(max_size=20))
def test_next_version_reads_what_this_one_wrote(
    old: dict[str, Any], new: dict[str, Any], number: float, text: str
) -> None:
    record = {
        "identities": [{"namespace": "CRMID", "id": text}],
        "identityMap": {"CRMID": [{"id": text}]},
        "prediction": text,
        "score": number,
        "scoreDate": 1_785_715_200_000,
        "timestamp": 1_785_715_200_000,
        "_acme": {"CustomerAI": {"Churn": {"score": number}}, "loyalty": {"tier": text}},
    }
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(old), record)
    writer, newest = prepare_schema(json.dumps(old)), prepare_schema(json.dumps(new))

    before = decode_avro(buffer.getvalue(), writer)
    after = decode_avro(buffer.getvalue(), read_as_newest(writer, newest))

    assert after == {**before, "added": "later"}


@given(st.binary(max_size=200), st.sampled_from([SCORES, EVENTS]))
def test_any_bytes_are_read_or_rejected(value: bytes, topic: str) -> None:
    _read(READER, value, topic)


@given(trees, st.sampled_from([SCORES, EVENTS]))
@settings(max_examples=300)
def test_any_json_is_read_or_rejected(tree: Json, topic: str) -> None:
    try:
        value = msgspec.json.encode(tree)
    except ValueError:  # a number or a text that JSON cannot hold
        return
    _read(READER, value, topic)


@given(st.data())
@settings(max_examples=300)
def test_damaged_examples_are_read_or_rejected(data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from(EXAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 8)))
        value[start:end] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"null", b"{}", b"[", b'"'])
        )
    _read(READER, bytes(value), data.draw(st.sampled_from([SCORES, EVENTS])))


@given(st.sampled_from([1, 2, 3]), st.binary(max_size=300))
@settings(max_examples=300)
def test_any_framed_bytes_are_read_or_rejected(schema_id: int, message: bytes) -> None:
    _read(READER, b"\x00" + schema_id.to_bytes(4, "big") + message, SCORES)
    _read(READER, b"\x00" + schema_id.to_bytes(4, "big") + message, EVENTS)


avro_types = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
    | st.sampled_from(
        [
            {"type": "int", "logicalType": "date"},
            {"type": "long", "logicalType": "timestamp-millis"},
            {"type": "long", "logicalType": "timestamp-micros"},
            {"type": "string", "logicalType": "uuid"},
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            {"type": "int", "logicalType": "time-millis"},
        ]
    ),
    lambda inner: (
        inner.map(lambda one: {"type": "array", "items": one})
        | inner.map(lambda one: {"type": "map", "values": one})
        | st.lists(inner, min_size=1, max_size=4).map(
            lambda types: {
                "type": "record",
                "name": "R",
                "fields": [{"name": f"f{index}", "type": one} for index, one in enumerate(types)],
            }
        )
    ),
    max_leaves=6,
)


@given(avro_types, st.binary(max_size=120))
@settings(max_examples=300)
def test_values_of_any_schema_and_bytes_stay_within_the_cost(
    declared: Json, message: bytes
) -> None:
    try:
        schema = prepare_schema(json.dumps(declared))
    except UnsafeSchemaError:
        return
    try:
        value = decode_avro(message, schema)
    except RejectError:
        return
    assert _count(value) <= schema.cost.values(len(message))


def _count(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1


def _check(reject: Reject) -> None:
    assert reject.detail.endswith(".")
    assert len(reject.pointer) < 1_000  # long keys are cut


def _read(reader: InputReader, value: bytes, topic: str) -> None:
    record = json_record(value, topic)
    reader.fetch_schemas([record])
    try:
        reading = reader.read(record)
    except RejectError as error:
        _check(error.reject)
        return
    assert reading.scores or reading.rejects or reading.event or reading.rule
    msgspec.msgpack.encode(reading.event)
