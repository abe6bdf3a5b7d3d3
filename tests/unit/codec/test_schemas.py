"""A folder of files as a source of schemas."""

import io
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from fastavro import parse_schema, schemaless_writer

from processor.codec.avro import AvroSchema, decode_avro
from processor.codec.schemas import JsonSchema, SchemaFolder
from processor.domain.errors import SettingsError

Json: TypeAlias = Any


def _score(**types: Json) -> dict[str, Any]:
    fields = [{"name": name, **kind} for name, kind in types.items()]
    return {"type": "record", "name": "s.Score", "fields": fields}


V1 = _score(score={"type": "int"})
V2 = _score(score={"type": "double"}, unit={"type": "string", "default": "percent"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "avro").mkdir()
    _put(tmp_path, "avro/score.v9.avsc", V1)
    _put(tmp_path, "avro/score.v10.avsc", V2)
    _put(tmp_path, "score.json", {})
    ids = {"1": "avro/score.v9.avsc", "2": "avro/score.v10.avsc", "3": "score.json"}
    _put(tmp_path, "avro/ids.json", ids)
    return tmp_path


def _put(folder: Path, file: str, content: object) -> None:
    (folder / file).write_bytes(msgspec.json.encode(content))


def _decoded(schemas: SchemaFolder, schema_id: int, payload: bytes) -> Json:
    schema = schemas.get(schema_id)
    assert isinstance(schema, AvroSchema)
    return decode_avro(payload, schema)


def test_old_records_are_read_as_the_highest_version(folder: Path) -> None:
    schemas = SchemaFolder(folder)
    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(V1), {"score": 7})

    assert _decoded(schemas, 1, buffer.getvalue()) == {"score": 7.0, "unit": "percent"}
    named = schemas.named("score.v9")
    assert isinstance(named, AvroSchema)
    assert decode_avro(buffer.getvalue(), named) == {"score": 7.0, "unit": "percent"}
    assert schemas.get(3) == JsonSchema()
    assert schemas.get(4) is None


def test_folder_without_ids_has_schemas_by_name_only(folder: Path) -> None:
    (folder / "avro" / "ids.json").unlink()

    schemas = SchemaFolder(folder)

    assert schemas.get(1) is None
    assert isinstance(schemas.named("score.v10"), AvroSchema)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("avro/ids.json", {"1": "avro/lost.avsc"}, "lost.avsc"),
        ("avro/ids.json", {"one": "avro/score.v9.avsc"}, "ids.json"),
        ("avro/ids.json", [], "ids.json"),
        ("avro/bad.avsc", {"type": "array", "items": "null"}, "bad.avsc"),
        ("avro/bad.avsc", {"type": "x"}, "bad.avsc"),
    ],
)
def test_wrong_file_is_named_at_start(folder: Path, file: str, content: object, named: str) -> None:
    _put(folder, file, content)

    with pytest.raises(SettingsError, match=named.replace(".", r"\.")):
        SchemaFolder(folder)


def test_name_without_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.avsc"):
        SchemaFolder(folder).named("nothing")
