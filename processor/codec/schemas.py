"""Writer schemas by id, and the folder `schemas/` as a source of them.

The folder has schemas by id, by file name, and the newest of each full name.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from processor.codec.avro import AvroSchema, prepare_schema, read_as_newest
from processor.codec.avro_limits import UnsafeSchemaError
from processor.domain.errors import SettingsError
from processor.domain.outcome import Reason

_AVRO = "avro"
_SUFFIX = ".avsc"
_VERSION = re.compile(r"\.v([0-9]+)$")


class JsonSchema(msgspec.Struct, frozen=True):
    """A JSON Schema: the message is JSON text, which is decoded without it."""


class UnusableSchema(msgspec.Struct, frozen=True):
    """A schema that no record is decoded with; all its records are rejected for this reason."""

    reason: Reason
    detail: str


Schema: TypeAlias = AvroSchema | JsonSchema | UnusableSchema


class SchemaSource(Protocol):
    """A source of schemas by id: a registry, or a folder of files."""

    def fetch_schemas(self, ids: AbstractSet[int]) -> bool:
        """Start to fetch the schemas of these ids; return True once `get` returns them.

        Never waits: call it again while it returns False. UnavailableError on an outage, and for an
        id that may become known later.
        """
        ...

    def get(self, schema_id: int) -> Schema | None:
        """Return the fetched schema of an id, None where it is unknown; without a request."""
        ...

    def named(self, name: str) -> Schema:
        """Return the schema of a file, for messages without a frame; SettingsError if missing."""
        ...


class NewestSchemas(Protocol):
    """A source of reader schemas."""

    def newest(self, name: str) -> AvroSchema | None:
        """Return the newest schema of a full name, None where no file has it."""
        ...


def prepare(
    kind: str, text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> Schema:
    """Return the schema that records are decoded with, from its text as a registry stores it."""
    match kind:
        case "JSON":
            return JsonSchema()
        case "AVRO":
            return _avro(text, references, newest)
        case _:
            detail = f"The schema is {kind}; Avro and JSON Schema are read."
            return UnusableSchema(Reason.UNKNOWN_SCHEMA, detail)


def _avro(
    text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> AvroSchema | UnusableSchema:
    try:
        schema = prepare_schema(text, references)
    except UnsafeSchemaError as error:
        return UnusableSchema(Reason.UNSAFE_SCHEMA, str(error))
    return read_as_newest(schema, newest.newest(schema.name))


class SchemaFolder:
    """Reads every schema once, at start; SettingsError names the file that is wrong.

    `avro/<name>.v<N>.avsc` are the schemas, the largest N of a full name the newest.
    `avro/ids.json` maps the ids that frames carry to files, as paths within the folder; a file that
    does not end in `.avsc` is a JSON Schema.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named = {path.stem: _read(path) for path in sorted((folder / _AVRO).glob("*.avsc"))}
        self._newest: dict[str, AvroSchema] = {}
        for name in sorted(self._named, key=_version):
            self._newest[self._named[name].name] = self._named[name]
        self._by_id = self._read_ids()

    def newest(self, name: str) -> AvroSchema | None:
        """Return the newest schema of a full name, None where no file has it."""
        return self._newest.get(name)

    def named(self, name: str) -> Schema:
        """Return the schema of a file under `avro/`, named without its suffix."""
        path = self._folder / _AVRO / f"{name}{_SUFFIX}"
        if name not in self._named:
            raise SettingsError([f"There is no schema file {path}."])
        return prepare("AVRO", path.read_bytes(), (), self)

    def fetch_schemas(self, ids: AbstractSet[int]) -> bool:
        """Return True: all files were read at start."""
        del ids
        return True

    def get(self, schema_id: int) -> Schema | None:
        """Return the schema of an id in `ids.json`, None where it is not there."""
        return self._by_id.get(schema_id)

    def _read_ids(self) -> dict[int, Schema]:
        path = self._folder / _AVRO / "ids.json"
        try:
            files = msgspec.json.decode(path.read_bytes(), type=dict[int, str], strict=False)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise SettingsError([f"{path} cannot be read: {error}."]) from error
        return {schema_id: self._schema(file) for schema_id, file in files.items()}

    def _schema(self, file: str) -> Schema:
        path = self._folder / file
        if not path.is_file():
            raise SettingsError(
                [f"{self._folder / _AVRO / 'ids.json'} names {file}: no such file."]
            )
        return self.named(path.stem) if path.suffix == _SUFFIX else JsonSchema()


def _version(stem: str) -> int:
    found = _VERSION.search(stem)
    return int(found[1]) if found else 0


def _read(path: Path) -> AvroSchema:
    try:
        return prepare_schema(path.read_bytes())
    except (OSError, UnsafeSchemaError) as error:
        raise SettingsError([f"{path}: {error}"]) from error
