"""Where writer schemas come from, by the settings.

One GET to a schema registry: bounded in time and size, no redirects, no proxy from outside.

A Confluent-compatible schema registry: asked once for each id, patient with ids it lacks.
"""

import base64
import ssl
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, socket
from threading import Timer
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from processor.codec.schemas import Schema, SchemaFolder, SchemaSource, made_ready
from processor.domain.clock import Clock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings

PART = "registry"
_MAX_ANSWER_BYTES = 4 << 20
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class RegistryResponse(NamedTuple):
    """What the registry said: an HTTP status and the JSON that came with it."""

    status: int
    body: Any


class RegistryClient:
    """Asks a registry over HTTP/1.1; a connection serves one question, since few are asked."""

    def __init__(self, settings: RegistrySettings) -> None:
        address = urlsplit(settings.url or "")
        if address.scheme not in ("http", "https") or not address.hostname or "@" in address.netloc:
            raise SettingsError(
                ["registry.url: write http(s)://host[:port], credentials in their own settings."]
            )
        self._address = address
        self._seconds = settings.timeout_seconds
        self._headers = {"Accept": _ACCEPT, **_authorization(settings)}
        self._tls = _tls(settings) if address.scheme == "https" else None

    def get(self, path: str) -> RegistryResponse:
        """Ask for a path under the registry's URL; UnavailableError where no JSON comes back."""
        connection = self._connection()
        try:
            connection.connect()
            with _cut_after(self._seconds, connection.sock):
                connection.request(
                    "GET", self._address.path.rstrip("/") + path, None, self._headers
                )
                response = connection.getresponse()
                text = response.read(_MAX_ANSWER_BYTES + 1)
        except (OSError, HTTPException) as error:
            detail = f"No answer from the schema registry ({type(error).__name__})."
            raise UnavailableError(PART, detail) from error
        finally:
            connection.close()
        return RegistryResponse(response.status, _json(text, response.status))

    def _connection(self) -> HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._tls is None:
            return HTTPConnection(host, port, timeout=self._seconds)
        return HTTPSConnection(host, port, timeout=self._seconds, context=self._tls)


@contextmanager
def _cut_after(seconds: float, wire: socket) -> Iterator[None]:
    """Cut a connection that drips: a socket's own timeout begins again with every byte."""

    def cut() -> None:
        with suppress(OSError):
            wire.shutdown(SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _json(text: bytes, status: int) -> Any:  # noqa: ANN401  any JSON
    if len(text) > _MAX_ANSWER_BYTES:
        raise UnavailableError(PART, "The schema registry's answer is too large.")
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnavailableError(PART, f"The schema registry answered {status}, not JSON.") from error


def _authorization(settings: RegistrySettings) -> dict[str, str]:
    if settings.username is None:
        return {}
    password = settings.password.get_secret_value() if settings.password else ""
    basic = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {basic}"}


def _tls(settings: RegistrySettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsError([f"registry.ca_file: {error}."]) from error


_KEPT = 512
_MAX_REFERENCES = 64
_ASK_AGAIN_SECONDS = 1.0
_FORGET_SECONDS = 600.0
_GIVEN_UP_TOO_OFTEN = 16
_OK, _NOT_FOUND, _UNKNOWN_ID = 200, 404, 40403


class _Missing(msgspec.Struct):
    """An id the registry does not know: when it was first and last asked for."""

    first: float
    last: float
    given_up: bool


class RegistrySchemas:
    """Schemas of a registry, kept for as long as there is room.

    An id the registry does not know is asked for again, once a second, for `unknown_id_seconds`:
    until then `learn` raises, so that its records wait; afterwards `get` returns None, so that they
    are rejected. It is asked for anew ten minutes later. While many ids have been given up on, new
    ones are not waited for: a producer that makes up ids must not hold everybody else's records.
    """

    def __init__(self, settings: RegistrySettings, folder: SchemaFolder, clock: Clock) -> None:
        self._client = RegistryClient(settings)
        self._patience = settings.unknown_id_seconds
        self._folder = folder
        self._clock = clock
        self._known: dict[int, Schema] = {}
        self._missing: dict[int, _Missing] = {}

    def fetch_schemas(self, ids: AbstractSet[int]) -> None:
        """Ask for the ids that are not known; UnavailableError on an outage or while waiting."""
        unknown = [schema_id for schema_id in ids if schema_id not in self._known]
        if not unknown:
            return
        self._make_room(ids)
        for schema_id in unknown:
            if self._is_due(schema_id):
                self._ask(schema_id)
        waiting = [str(schema_id) for schema_id in unknown if self._is_awaited(schema_id)]
        if waiting:
            detail = f"Not known to the schema registry yet: schema {', '.join(waiting[:10])}."
            raise UnavailableError(PART, detail)

    def get(self, schema_id: int) -> Schema | None:
        """Return what was learned of an id, None where the registry does not know it."""
        return self._known.get(schema_id)

    def named(self, name: str) -> Schema:
        """Return the schema of a file: what has no frame has no id to ask a registry for."""
        return self._folder.named(name)

    def _make_room(self, wanted: AbstractSet[int]) -> None:
        """Forget the oldest answers beyond the bound, and ids whose time is over."""
        surplus = len(self._known) - _KEPT
        for schema_id in [one for one in self._known if one not in wanted][: max(0, surplus)]:
            del self._known[schema_id]
        now = self._clock.monotonic()
        for schema_id, missing in list(self._missing.items()):
            if missing.given_up and now - missing.first >= _FORGET_SECONDS:
                del self._missing[schema_id]

    def _is_due(self, schema_id: int) -> bool:
        missing = self._missing.get(schema_id)
        if missing is None:
            return True
        waited = self._clock.monotonic() - missing.last
        return not missing.given_up and waited >= _ASK_AGAIN_SECONDS

    def _is_awaited(self, schema_id: int) -> bool:
        missing = self._missing.get(schema_id)
        return missing is not None and not missing.given_up

    def _ask(self, schema_id: int) -> None:
        schema = self._fetch(schema_id)
        if schema is not None:
            self._known[schema_id] = schema
            self._missing.pop(schema_id, None)
            return
        now = self._clock.monotonic()
        missing = self._missing.setdefault(schema_id, _Missing(now, now, given_up=False))
        missing.last = now
        missing.given_up = now - missing.first >= self._patience or self._is_flooded()

    def _is_flooded(self) -> bool:
        given_up = sum(missing.given_up for missing in self._missing.values())
        return given_up >= _GIVEN_UP_TOO_OFTEN

    def _fetch(self, schema_id: int) -> Schema | None:
        answer = self._client.get(f"/schemas/ids/{schema_id}")
        if answer.status == _NOT_FOUND and _error_code(answer) == _UNKNOWN_ID:
            return None
        stored = _stored(answer)
        references: list[str] = []
        self._collect(stored, references, set())
        return made_ready(stored.schema_type, stored.schema, references, self._folder)

    def _collect(self, stored: "_Stored", texts: list[str], asked: set[tuple[str, int]]) -> None:
        """Add what a schema refers to, each after what it refers to itself, each once."""
        for reference in stored.references or ():
            place = (reference.subject, reference.version)
            if place in asked or len(asked) == _MAX_REFERENCES:
                continue
            asked.add(place)
            path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            inner = _stored(self._client.get(path))
            self._collect(inner, texts, asked)
            texts.append(inner.schema)


class _Reference(msgspec.Struct, frozen=True, rename="camel"):
    subject: str
    version: int


class _Stored(msgspec.Struct, frozen=True, rename="camel"):
    """A schema as the registry answers it (Confluent, Schema Registry API)."""

    schema: str
    schema_type: str = "AVRO"
    references: tuple[_Reference, ...] | None = None


def _stored(answer: RegistryResponse) -> _Stored:
    if answer.status != _OK:
        raise UnavailableError(PART, f"The schema registry answered {answer.status}.")
    try:
        return msgspec.convert(answer.body, _Stored)
    except msgspec.ValidationError as error:
        raise UnavailableError(PART, "The schema registry's answer has no schema in it.") from error


def _error_code(answer: RegistryResponse) -> Any:  # noqa: ANN401  whatever the registry has there
    return answer.body.get("error_code") if isinstance(answer.body, dict) else None


def schema_source(settings: RegistrySettings, clock: Clock) -> SchemaSource:
    """Return the registry the settings name, or the folder where they name none; SettingsError."""
    folder = SchemaFolder(settings.folder or schemas_folder())
    return folder if settings.url is None else RegistrySchemas(settings, folder, clock)
