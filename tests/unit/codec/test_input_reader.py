"""Topics, formats and limits, through the input reader."""

import struct
from collections.abc import Set as AbstractSet

import msgspec
import pytest

from processor.codec.avro import prepare_schema
from processor.codec.schemas import JsonSchema, Schema, UnusableSchema
from processor.domain.errors import InvariantError, SettingsError, UnavailableError
from processor.domain.outcome import FilterRule, Reason, Stage
from processor.domain.record import Record
from tests.support.framed import framed_avro
from tests.support.reading import (
    EVENTS,
    SCORES,
    a_model,
    a_profile,
    json_record,
    reader_with,
    refusal,
)


class FakeSchemas:
    """A schema source that returns given schemas, and lists the ids it was asked for."""

    def __init__(self, schemas: dict[int, Schema], *, down: bool = False) -> None:
        self.schemas = schemas
        self.down = down
        self.requested: list[set[int]] = []

    def fetch_schemas(self, ids: AbstractSet[int]) -> bool:
        self.requested.append(set(ids))
        if self.down:
            raise UnavailableError("registry", "down")
        return True

    def get(self, schema_id: int) -> Schema | None:
        return self.schemas.get(schema_id)

    def named(self, name: str) -> Schema:
        raise SettingsError([f"no {name}"])


PROFILE = msgspec.json.encode(a_profile(Churn=a_model()))


def _framed(schema_id: int, message: bytes) -> Record:
    return json_record(b"\x00" + struct.pack(">I", schema_id) + message)


def test_record_without_a_value_is_a_tombstone() -> None:
    record = Record(SCORES, 0, 0, 0, b"key", None)

    assert reader_with().read(record).rule is FilterRule.TOMBSTONE


def test_topics_may_be_patterns() -> None:
    reader = reader_with(
        {"kafka/scores": {"topics": ["^cai-.*", "one"]}, "kafka/events": {"topics": ["^ee"]}}
    )

    assert reader.read(json_record(PROFILE, "cai-churn")).scores
    assert reader.read(json_record(PROFILE, "one")).scores
    assert refusal(reader, json_record(b"{}", "ee-web")).reason is Reason.NO_TIMESTAMP


def test_topic_without_an_input_is_an_invariant_error() -> None:
    with pytest.raises(InvariantError):
        reader_with().read(json_record(PROFILE, "customer-ai-scores-2"))


def test_value_over_the_size_limit_is_refused_before_it_is_decoded() -> None:
    reader = reader_with({"reading/max_record_bytes": 1_024})

    assert refusal(reader, json_record(b"{" + b" " * 1_024)).reason is Reason.TOO_LARGE
    assert refusal(reader, json_record(b"{" + b" " * 1_023)).reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("format_", "schema", "read"),
    [
        ("auto", JsonSchema(), True),
        ("json-schema", JsonSchema(), True),
        ("avro", JsonSchema(), False),
        ("json-schema", prepare_schema('"long"'), False),
        ("auto", UnusableSchema(Reason.UNKNOWN_SCHEMA, "The schema is PROTOBUF."), False),
        ("avro", UnusableSchema(Reason.UNSAFE_SCHEMA, "The schema contains itself."), False),
    ],
)
def test_framed_value_is_decoded_by_the_type_of_its_schema(
    format_: str, schema: Schema, *, read: bool
) -> None:
    source = FakeSchemas({7: schema})
    reader = reader_with({"kafka/scores": {"topics": [SCORES], "format": format_}}, source)
    record = _framed(7, PROFILE)

    if read:
        assert reader.read(record).scores
    else:
        reject = refusal(reader, record)
        assert reject.stage is Stage.DECODE
        assert reject.reason in (Reason.UNKNOWN_SCHEMA, Reason.UNSAFE_SCHEMA)


def test_framed_avro_is_decoded_with_the_schema_of_its_id() -> None:
    identities = {"ECID": [{"id": "1" * 38, "primary": True}]}
    model = {"score": 12.5, "scoreDate": "2026-08-03"}
    schema = (
        '{"type": "record", "name": "R", "fields": ['
        '{"name": "identityMap", "type": {"type": "map", "values": {"type": "array", "items":'
        '{"type": "record", "name": "I", "fields": [{"name": "id", "type": "string"}, '
        '{"name": "primary", "type": "boolean"}]}}}},'
        '{"name": "_acme", "type": {"type": "record", "name": "T", "fields": ['
        '{"name": "CustomerAI", "type": {"type": "map", "values": {"type": "record", "name": "M",'
        '"fields": [{"name": "score", "type": "double"},'
        '{"name": "scoreDate", "type": "string"}]}}}]}}]}'
    )
    value = framed_avro(9, schema)(
        {"identityMap": identities, "_acme": {"CustomerAI": {"Churn": model}}}
    )
    reader = reader_with(schemas=FakeSchemas({9: prepare_schema(schema)}))

    (score,) = reader.read(json_record(value)).scores

    assert (score.model, score.score) == ("Churn", 12.5)


@pytest.mark.parametrize("format_", ["avro", "json-schema"])
def test_framed_formats_refuse_json_without_a_frame(format_: str) -> None:
    reader = reader_with({"kafka/scores": {"topics": [SCORES], "format": format_}})

    assert refusal(reader, json_record(PROFILE)).reason is Reason.BAD_FRAME


def test_format_json_refuses_frames() -> None:
    reader = reader_with({"kafka/scores": {"topics": [SCORES], "format": "json"}})

    assert refusal(reader, _framed(1, PROFILE)).reason is Reason.MALFORMED


def test_plain_avro_needs_an_existing_schema() -> None:
    plain = {"topics": [SCORES], "format": "avro-plain", "schema_name": "customer-ai-score-flat.v1"}
    reader_with({"kafka/scores": plain})

    with pytest.raises(SettingsError, match="no-such"):
        reader_with({"kafka/scores": {**plain, "schema_name": "no-such"}})


def test_schemas_of_a_batch_are_fetched_together() -> None:
    source = FakeSchemas({})
    reader = reader_with(schemas=source)

    reader.fetch_schemas(
        [
            json_record(PROFILE),
            _framed(3, b""),
            _framed(3, b"x"),
            _framed(4, b""),
            json_record(b"\x00\x00"),
            json_record(b"\x01" * 20, EVENTS),
            Record(EVENTS, 0, 0, 0, None, None),
        ]
    )

    assert source.requested == [{3, 4}]


def test_record_with_an_unknown_schema_is_rejected() -> None:
    reject = refusal(reader_with(schemas=FakeSchemas({})), _framed(8, b"x"))

    assert (reject.stage, reject.reason) == (Stage.DECODE, Reason.UNKNOWN_SCHEMA)


def test_registry_that_is_down_is_an_outage() -> None:
    reader = reader_with(schemas=FakeSchemas({}, down=True))

    with pytest.raises(UnavailableError):
        reader.fetch_schemas([_framed(8, b"x")])


@pytest.mark.parametrize(
    "envelope",
    [
        {"header": {}, "body": {"xdmMeta": {}, "xdmEntity": a_profile(Churn=a_model())}},
        {"body": {"xdmEntity": a_profile(Churn=a_model())}},
        {"header": None, "body": a_profile(Churn=a_model())},
        {
            "header": {},
            "body": {
                "xdmMeta": {"identityMap": a_profile()["identityMap"]},
                "xdmEntity": {"_acme": a_profile(Churn=a_model())["_acme"]},
            },
        },
    ],
)
def test_envelope_is_removed(envelope: object) -> None:
    (score,) = reader_with().read(json_record(envelope)).scores

    assert score.model == "Churn"


@pytest.mark.parametrize(
    "record",
    [
        b"[]",
        b"7",
        b"null",
        b'"x"',
        {"header": {}, "body": "x"},
        {"header": {}, "body": {"xdmEntity": None}},
    ],
)
def test_record_that_is_not_an_object_is_rejected(record: object) -> None:
    assert refusal(reader_with(), json_record(record)).reason is Reason.NOT_AN_OBJECT
