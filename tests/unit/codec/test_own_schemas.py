"""The recipe of schemas/README.md: the shipped schemas under one's own tenant name."""

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from fastavro import parse_schema, schemaless_writer

from processor.codec.dates import Dates
from processor.codec.registry import schema_source
from processor.domain.clock import SystemClock
from processor.domain.event import DecodedRecord
from processor.settings import RegistrySettings
from tests.support.paths import ROOT
from tests.support.reading import EVENTS, SCORES, json_record, reader_with
from tests.support.registry import FakeRegistry, fetch_all

Json: TypeAlias = Any

SCHEMAS = ROOT / "schemas"
SETTINGS = {"event/tenant": "initech", "join/cohort": "_initech.loyalty.tier"}
EXAMPLES = [
    *[
        (SCORES, "customer-ai-score-profile.v1", file)
        for file in ("profile-one-model", "profile-several-models")
    ],
    (SCORES, "customer-ai-score-flat.v1", "flat-identities"),
    *[
        (EVENTS, "experience-event.v1", file)
        for file in ("analytics-purchase", "link-click-and-search")
    ],
]
examples = pytest.mark.parametrize(("topic", "schema", "example"), EXAMPLES)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def _unchanged(declared: Json) -> None:
    """Only the tenant is another."""


def _more(declared: Json) -> None:
    """Add a field of one's own in front, and leave the last one out."""
    declared["fields"].insert(0, {"name": "source", "type": "string"})
    if "default" in declared["fields"][-1] and not declared["fields"][-1]["name"].startswith("_"):
        declared["fields"].pop()


def _reordered(declared: Json) -> None:
    """Put null last in every union, without the default that would have to be of another type."""
    for field in _fields(declared):
        if isinstance(field["type"], list) and field["type"][0] == "null":
            field["type"].append(field["type"].pop(0))
            field.pop("default", None)


def _without_defaults(declared: Json) -> None:
    for field in _fields(declared):
        if field.pop("default", None) is not None:
            field["type"] = ["null", field["type"]]


def _with_enums(declared: Json) -> None:
    """Make texts enums, with a symbol that nobody else has."""
    symbols = {
        "modelType": ["Conversion", "Churn", "Custom", "conversion", "churn", "custom", "x"],
        "authenticatedState": ["ambiguous", "authenticated", "loggedOut", "x"],
        "importance": ["low", "medium", "high", "x"],
    }
    for number, field in enumerate(_fields(declared)):
        if field["name"] in symbols:
            enum = {"type": "enum", "name": f"Symbols{number}", "symbols": symbols[field["name"]]}
            field["type"] = ["null", enum]


def _other_types_of_our_names(declared: Json) -> None:
    """Give every nested record of our names a field of one's own in front."""
    for number, record in enumerate(_records(declared["fields"])):
        own = {"name": f"own{number}", "type": ["null", "long"], "default": None}
        record["fields"].insert(0, own)


def _in_another_namespace(declared: Json) -> None:
    declared["namespace"] = "com.initech"


def _in_microseconds(declared: Json) -> None:
    for field in declared["fields"]:
        if isinstance(field["type"], dict) and "logicalType" in field["type"]:
            field["type"]["logicalType"] = "timestamp-micros"


def _records(declared: Json) -> Iterator[Json]:
    if isinstance(declared, list):
        for each in declared:
            yield from _records(each)
    elif isinstance(declared, dict):
        if declared.get("type") == "record":
            yield declared
        for each in declared.values():
            yield from _records(each)


def _fields(declared: Json) -> list[Json]:
    return [field for record in _records(declared) for field in record["fields"]]


changes = pytest.mark.parametrize(
    "change",
    [
        _unchanged,
        _more,
        _reordered,
        _without_defaults,
        _with_enums,
        _other_types_of_our_names,
        _in_another_namespace,
        _in_microseconds,
    ],
)


@examples
@changes
def test_own_schema_in_a_registry_reads_as_json_does(
    topic: str, schema: str, example: str, change: Callable[[Json], None], registry: FakeRegistry
) -> None:
    declared, content = _own(schema, example, change)
    schema_id = registry.register(f"{topic}-value", msgspec.json.encode(declared).decode())
    framed = b"\x00" + schema_id.to_bytes(4, "big") + _message(declared, content)

    assert _framed(topic, framed, registry) == _as_json(topic, content)


@examples
@changes
@pytest.mark.parametrize("name", ["a-tenant.v1", "own-schema.v1"])
def test_own_schema_in_a_copied_folder_reads_as_json_does(
    topic: str,
    schema: str,
    example: str,
    *,
    change: Callable[[Json], None],
    name: str,
    tmp_path: Path,
) -> None:
    declared, content = _own(schema, example, change)
    message = _message(declared, content)
    folder = shutil.copytree(SCHEMAS, tmp_path / "schemas")
    (folder / "avro" / f"{name}.avsc").write_bytes(msgspec.json.encode(declared))
    (folder / "avro" / "ids.json").write_text(f'{{"77": "avro/{name}.avsc"}}')
    kafka = "kafka/scores" if topic == SCORES else "kafka/events"
    plain = {"topics": [topic], "format": "avro-plain", "schema_name": name}
    source = schema_source(RegistrySettings(folder=folder), SystemClock())

    framed = reader_with(SETTINGS, source).read(
        json_record(b"\x00\x00\x00\x00\x4d" + message, topic)
    )
    unframed = reader_with({**SETTINGS, kafka: plain}, source).read(json_record(message, topic))

    assert framed == unframed == _as_json(topic, content)


@examples
def test_own_json_schema_in_a_registry_reads_as_json_does(
    topic: str, schema: str, example: str, registry: FakeRegistry
) -> None:
    """The schema is not needed to read JSON: what is written counts, whatever it declares."""
    _, content = _own(schema, example, _unchanged)
    declared = {"title": schema, "type": "object", "additionalProperties": False}
    text = msgspec.json.encode(declared).decode()
    schema_id = registry.register(f"{topic}-value", text, "JSON")

    framed = b"\x00" + schema_id.to_bytes(4, "big") + msgspec.json.encode(content)

    assert _framed(topic, framed, registry) == _as_json(topic, content)


def test_cohort_and_scores_under_the_own_tenant_of_an_event_are_read(
    registry: FakeRegistry,
) -> None:
    declared, content = _own("experience-event.v1", "analytics-purchase", _unchanged)
    tenant = declared["fields"][-1]["type"][1]
    model = {
        "type": "record",
        "name": "Model",
        "fields": [{"name": "score", "type": "double"}, {"name": "scoreDate", "type": "string"}],
    }
    tenant["fields"].append({"name": "CustomerAI", "type": {"type": "map", "values": model}})
    content["_initech"] = {
        "loyalty": {"tier": "gold"},
        "CustomerAI": {"Churn": {"score": 7.0, "scoreDate": "2026-08-03"}},
    }
    schema_id = registry.register("e", msgspec.json.encode(declared).decode())
    framed = b"\x00" + schema_id.to_bytes(4, "big") + _message(declared, content)

    read = _framed(EVENTS, framed, registry)

    assert read == _as_json(EVENTS, content)
    assert read.event is not None
    assert read.event.fact.cohort == "gold"
    assert [(score.model, score.score) for score in read.scores] == [("Churn", 7.0)]


def _own(schema: str, example: str, change: Callable[[Json], None]) -> tuple[Json, Json]:
    """Return a shipped schema and an example as a tenant with another name has them."""
    declared = _renamed(SCHEMAS / "avro" / f"{schema}.avsc")
    change(declared)
    (file,) = SCHEMAS.glob(f"examples/*/valid/{example}.json")
    names = {field["name"] for field in declared["fields"]}
    content = {key: value for key, value in _renamed(file).items() if key in names}
    return declared, {**content, "source": "batch"} if "source" in names else content


def _renamed(file: Path) -> Json:
    return msgspec.json.decode(file.read_text().replace("_acme", "_initech"))


def _message(declared: Json, content: Json) -> bytes:
    types = {field["name"]: field["type"] for field in declared["fields"]}
    units = {"timestamp-millis": 1, "timestamp-micros": 1_000}
    dated = {
        name: Dates("UTC").instant_ms(content[name]) * units[kind["logicalType"]]
        for name, kind in types.items()
        if isinstance(kind, dict) and "logicalType" in kind
    }
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(declared), {**content, **dated})
    return buffer.getvalue()


def _framed(topic: str, framed: bytes, registry: FakeRegistry) -> DecodedRecord:
    source = schema_source(RegistrySettings(url=registry.url), SystemClock())
    reader, record = reader_with(SETTINGS, source), json_record(framed, topic)
    fetch_all(reader, [record])
    return reader.read(record)


def _as_json(topic: str, content: Json) -> DecodedRecord:
    read = reader_with(SETTINGS).read(json_record(content, topic))
    assert read.scores or read.event
    return read
