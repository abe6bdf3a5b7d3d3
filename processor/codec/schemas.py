"""The folder `schemas/` as a registry: schemas by id, by file name, and the newest of each name.

Writer schemas: what a schema id can turn out to be, and who is asked for it.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from processor.codec.avro import AvroSchema, ready_schema, resolved_by
from processor.codec.avro_limits import UnsafeSchemaError
from processor.domain.errors import SettingsError
from processor.domain.outcome import Reason


class JsonText(msgspec.Struct, frozen=True):
    """The schema is a JSON Schema: the message is JSON text and says itself what it holds."""


class Unreadable(msgspec.Struct, frozen=True):
    """A schema that records are not decoded with; all of them are rejected for this reason."""

    reason: Reason
    detail: str


Schema: TypeAlias = AvroSchema | JsonText | Unreadable


class SchemaSource(Protocol):
    """Who knows schemas by id: a registry, or a folder of files."""

    def fetch_schemas(self, ids: AbstractSet[int]) -> None:
        """Make `get` able to answer for these ids.

        UnavailableError while that can not be done: an outage, or an id that may yet become known.
        """
        ...

    def get(self, schema_id: int) -> Schema | None:
        """Return what was learned of an id, None where nobody knows it. Asks nobody."""
        ...

    def named(self, name: str) -> Schema:
        """Return the schema of a file, for messages without a frame; SettingsError."""
        ...


class NewestSchemas(Protocol):
    """Who knows the schema our side reads a type of record with."""

    def newest(self, name: str) -> AvroSchema | None:
        """Return the newest schema of a full name, None where the name is not one of ours."""
        ...


def made_ready(
    kind: str, text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> Schema:
    """Turn a schema as a registry stores it into what its records are decoded with."""
    match kind:
        case "JSON":
            return JsonText()
        case "AVRO":
            return _avro(text, references, newest)
        case _:
            detail = f"The schema is {kind}; Avro and JSON Schema are read."
            return Unreadable(Reason.UNKNOWN_SCHEMA, detail)


def _avro(
    text: str | bytes, references: Sequence[str | bytes], newest: NewestSchemas
) -> AvroSchema | Unreadable:
    try:
        schema = ready_schema(text, references)
    except UnsafeSchemaError as error:
        return Unreadable(Reason.UNSAFE_SCHEMA, str(error))
    return resolved_by(schema, newest.newest(schema.name))


_AVRO = "avro"
_SUFFIX = ".avsc"
_VERSION = re.compile(r"\.v([0-9]+)$")


class SchemaFolder:
    """Reads every schema once, at start; SettingsError names the file that is not right.

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
        """Return the newest schema of a full name, None where the name is not one of ours."""
        return self._newest.get(name)

    def named(self, name: str) -> Schema:
        """Return the schema of a file under `avro/`, named without its suffix."""
        path = self._folder / _AVRO / f"{name}{_SUFFIX}"
        if name not in self._named:
            raise SettingsError([f"There is no schema file {path}."])
        return made_ready("AVRO", path.read_bytes(), (), self)

    def fetch_schemas(self, ids: AbstractSet[int]) -> None:
        """Do nothing: a folder knows at once all it will ever know."""

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
            raise SettingsError([f"{path} can not be read: {error}."]) from error
        return {schema_id: self._schema(file) for schema_id, file in files.items()}

    def _schema(self, file: str) -> Schema:
        path = self._folder / file
        if not path.is_file():
            raise SettingsError(
                [f"{self._folder / _AVRO / 'ids.json'} names {file}: no such file."]
            )
        return self.named(path.stem) if path.suffix == _SUFFIX else JsonText()


def _version(stem: str) -> int:
    found = _VERSION.search(stem)
    return int(found[1]) if found else 0


def _read(path: Path) -> AvroSchema:
    try:
        return ready_schema(path.read_bytes())
    except (OSError, UnsafeSchemaError) as error:
        raise SettingsError([f"{path}: {error}"]) from error
