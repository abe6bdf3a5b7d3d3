"""Every file under schemas/ except the field group parses, is used, and is correct."""

import io
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jsonschema_rs
import msgspec
import pytest
import yaml
from fastavro import parse_schema, schemaless_writer
from fastavro.validation import validate

from processor.codec.avro import MAX_VALUES, prepare_schema
from processor.codec.dates import Dates
from processor.codec.input_reader import InputReader
from processor.domain.event import DecodedRecord
from processor.domain.outcome import FilterRule, Reason
from processor.domain.record import Record
from processor.settings import InputSettings, ReadingSettings
from tests.support.paths import ROOT
from tests.support.reading import json_record, reader_with, refusal

Json: TypeAlias = Any

SCHEMAS = ROOT / "schemas"
READER = reader_with({"join/cohort": "_acme.loyalty.tier"})
DATES = Dates("UTC")


class Version(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    avro: str
    compatibility: Literal["backward"]
    examples: list[str]
    json: str | None = None


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    versions: list[Version]


class Topic(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    settings: Literal["kafka.scores", "kafka.events"]
    description: str
    key: str
    formats: list[str]
    shapes: list[Shape]
    examples: str


def _topics() -> list[Topic]:
    files = sorted((SCHEMAS / "topics").iterdir())
    return [msgspec.convert(yaml.safe_load(file.read_text()), Topic) for file in files]


TOPICS = _topics()
VERSIONS = [
    (topic, version) for topic in TOPICS for shape in topic.shapes for version in shape.versions
]
VALID = [
    (topic, file)
    for topic in TOPICS
    for file in sorted((SCHEMAS / topic.examples / "valid").iterdir())
]
INVALID = [
    (topic, file)
    for topic in TOPICS
    for file in sorted((SCHEMAS / topic.examples / "invalid").iterdir())
]
IDS: dict[str, str] = msgspec.json.decode((SCHEMAS / "avro" / "ids.json").read_bytes())


def _of(version: Version, topic: Topic) -> list[Path]:
    files = [file for owner, file in VALID if owner is topic]
    return [file for file in files if any(fnmatch(file.name, one) for one in version.examples)]


def _name(given: object) -> str | None:
    return given.name if isinstance(given, Path) else None


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.topic)
def test_topic_file_has_existing_formats_and_consecutive_versions(topic: Topic) -> None:
    allowed = InputSettings.model_json_schema()["properties"]["format"]["enum"]

    assert set(topic.formats) <= set(allowed) - {"auto"}
    for shape in topic.shapes:
        assert [one.version for one in shape.versions] == [*range(1, len(shape.versions) + 1)]
    for shape in topic.shapes:
        for one in shape.versions:
            assert one.avro.endswith(f".v{one.version}.avsc")


def test_every_file_is_named_by_a_topic_or_is_an_example() -> None:
    named = {"avro/ids.json", "README.md"}
    named |= {file for _, one in VERSIONS for file in (one.avro, one.json) if file}
    named |= {f"topics/{topic.topic}.yaml" for topic in TOPICS}
    named |= {str(file.relative_to(SCHEMAS)) for _, file in VALID + INVALID}

    found = {str(file.relative_to(SCHEMAS)) for file in SCHEMAS.rglob("*") if file.is_file()}

    assert {file for file in found if not file.startswith("xdm/")} == named


def test_every_schema_has_an_id() -> None:
    declared = {file for _, one in VERSIONS for file in (one.avro, one.json) if file}

    assert set(IDS.values()) == declared
    assert len(set(IDS.values())) == len(IDS)


@pytest.mark.parametrize("name", sorted(IDS.values()))
def test_cost_of_shipped_schema_allows_the_largest_record(name: str) -> None:
    if name.endswith(".avsc"):
        cost = prepare_schema((SCHEMAS / name).read_bytes()).cost

        assert cost.values(ReadingSettings().max_record_bytes) < MAX_VALUES


@pytest.mark.parametrize(("topic", "file"), VALID, ids=_name)
def test_valid_example_is_read(topic: Topic, file: Path) -> None:
    reading = _read(READER, json_record(file.read_bytes(), topic.topic))

    if file.stem == "without-person":
        assert reading.rule is FilterRule.EVENT_WITHOUT_PERSON
    else:
        assert reading.scores or reading.event
    assert not reading.rejects


@pytest.mark.parametrize(("topic", "file"), INVALID, ids=_name)
def test_invalid_example_is_refused_for_the_reason_in_its_name(topic: Topic, file: Path) -> None:
    reject = refusal(READER, json_record(file.read_bytes(), topic.topic))

    assert reject.reason is Reason(file.name.split(".")[0])


@pytest.mark.parametrize(
    ("topic", "version", "file"),
    [(topic, one, file) for topic, one in VERSIONS for file in _of(one, topic)],
    ids=_name,
)
def test_example_reads_the_same_in_framed_and_in_plain_avro(
    topic: Topic, version: Version, file: Path
) -> None:
    declared = msgspec.json.decode((SCHEMAS / version.avro).read_bytes())
    content = _for_avro(msgspec.json.decode(file.read_bytes()), declared)
    message = _written(declared, content)
    schema_id = next(int(number) for number, path in IDS.items() if path == version.avro)
    framed = b"\x00" + schema_id.to_bytes(4, "big") + message
    plain = reader_with(
        {
            f"{topic.settings.replace('.', '/')}": {
                "topics": [topic.topic],
                "format": "avro-plain",
                "schema_name": Path(version.avro).stem,
            },
            "join/cohort": "_acme.loyalty.tier",
        }
    )
    expected = _read(READER, json_record(file.read_bytes(), topic.topic))

    assert _read(READER, json_record(framed, topic.topic)) == expected
    assert _read(plain, json_record(message, topic.topic)) == expected


@pytest.mark.parametrize(
    ("topic", "version", "file"),
    [(topic, one, file) for topic, one in VERSIONS if one.json for file in _of(one, topic)],
    ids=_name,
)
def test_example_is_valid_by_its_json_schema_and_is_read_in_its_frame(
    topic: Topic, version: Version, file: Path
) -> None:
    assert version.json is not None
    schema_id = next(int(number) for number, path in IDS.items() if path == version.json)
    framed = b"\x00" + schema_id.to_bytes(4, "big") + file.read_bytes()

    _validator(version.json).validate(msgspec.json.decode(file.read_bytes()))

    assert _read(READER, json_record(framed, topic.topic)).scores


@pytest.mark.parametrize(
    "broken",
    [
        {"prediction": "x", "score": 1, "scoreDate": "2026-08-03"},
        {"identities": [{"namespace": "CRMID"}], "prediction": "x", "score": 1, "scoreDate": "d"},
        {"namespace": "CRMID", "id": "7", "prediction": "x", "score": 101, "scoreDate": "d"},
        {"namespace": "CRMID", "id": "7", "prediction": "", "score": 1, "scoreDate": "d"},
        {"namespace": "CRMID", "id": "7", "prediction": "x", "score": "1", "scoreDate": "d"},
        {"namespace": "CRMID", "id": "7", "prediction": "x", "score": 1},
    ],
)
def test_json_schema_refuses_something(broken: object) -> None:
    for _, version in VERSIONS:
        if version.json:
            assert not _validator(version.json).is_valid(broken)


def _read(reader: InputReader, record: Record) -> DecodedRecord:
    reader.fetch_schemas([record])
    return reader.read(record)


def _validator(file: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(msgspec.json.decode((SCHEMAS / file).read_bytes()))


def _written(declared: Json, content: object) -> bytes:
    parsed = parse_schema(declared)
    assert validate(content, parsed, strict=False)
    buffer = io.BytesIO()
    schemaless_writer(buffer, parsed, content)
    return buffer.getvalue()


def _for_avro(content: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """Return an example as a producer with this schema holds it: dates as epoch milliseconds."""
    types = {field["name"]: field["type"] for field in declared["fields"]}
    dated = [
        name for name, kind in types.items() if isinstance(kind, dict) and "logicalType" in kind
    ]
    return {**content, **{name: DATES.instant_ms(content[name]) for name in dated}}
