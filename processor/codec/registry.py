"""Schemas by id from a Confluent-compatible schema registry, or from `schemas/`.

Each request is one GET, bounded in time and size, without redirects and without a proxy from the
environment. Each id is fetched once; an unknown one is asked for again for a while.
"""

import base64
import random
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

from processor.codec.schemas import Schema, SchemaFolder, SchemaSource, prepare
from processor.domain.clock import Clock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.retry import Retry, RetryPolicy, Uniform
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings

PART = "registry"
_MAX_RESPONSE_BYTES = 4 << 20
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_OK, _NOT_FOUND, _UNKNOWN_ID = 200, 404, 40403

_MAX_SCHEMAS = 512
_MAX_REFERENCES = 64
_UNKNOWN_ID_RETRY_SECONDS = 1.0
_UNKNOWN_ID_FORGET_SECONDS = 600.0
_MAX_GIVEN_UP = 16
"""Unknown ids given up on, from which on further ones are not waited for."""


class RegistryResponse(NamedTuple):
    """A response of the registry: an HTTP status and the JSON of its body."""

    status: int
    body: Any


class RegistryClient:
    """Sends requests over HTTP/1.1, each on its own connection: there are few."""

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
        """Return the response for a path under the URL; UnavailableError where it is not JSON."""
        connection = self._connection()
        try:
            connection.connect()
            with _shut_down_after(self._seconds, connection.sock):
                connection.request(
                    "GET", self._address.path.rstrip("/") + path, None, self._headers
                )
                response = connection.getresponse()
                text = response.read(_MAX_RESPONSE_BYTES + 1)
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
def _shut_down_after(seconds: float, connection: socket) -> Iterator[None]:
    """Bound the whole request: a socket's own timeout starts again with every byte received."""

    def shut_down() -> None:
        with suppress(OSError):
            connection.shutdown(SHUT_RDWR)

    timer = Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _json(text: bytes, status: int) -> Any:  # noqa: ANN401  any JSON
    if len(text) > _MAX_RESPONSE_BYTES:
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


class _UnknownId(msgspec.Struct):
    """An id the registry does not have: since when, and whether it is still waited for."""

    since: float
    retry: Retry
    is_given_up: bool = False


class RegistrySchemas:
    """Fetches the schemas of a registry and caches a bounded number of them.

    An id the registry does not know is asked for again, within a second each time, for
    `unknown_id_seconds`: until then `fetch_schemas` raises, so that its records wait; afterwards
    `get` returns None, so that they are rejected. Ten minutes after the first request it is asked
    for anew. While many ids are given up on, new ones are not waited for: a producer that makes up
    ids must not block the records of others.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        folder: SchemaFolder,
        clock: Clock,
        *,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._client = RegistryClient(settings)
        self._unknown_id_retry = RetryPolicy(
            first_seconds=_UNKNOWN_ID_RETRY_SECONDS,
            max_seconds=_UNKNOWN_ID_RETRY_SECONDS,
            budget_seconds=settings.unknown_id_seconds,
        )
        self._folder = folder
        self._clock = clock
        self._uniform = uniform
        self._schemas: dict[int, Schema] = {}
        self._unknown: dict[int, _UnknownId] = {}

    def fetch_schemas(self, ids: AbstractSet[int]) -> None:
        """Fetch the ids that are not cached; UnavailableError on an outage or while waiting."""
        missing = [schema_id for schema_id in ids if schema_id not in self._schemas]
        if not missing:
            return
        self._evict(ids)
        for schema_id in missing:
            unknown = self._unknown.get(schema_id)
            if unknown is None or (not unknown.is_given_up and unknown.retry.due):
                self._request(schema_id)
        waiting = [str(schema_id) for schema_id in missing if self._is_awaited(schema_id)]
        if waiting:
            detail = f"Not known to the schema registry yet: schema {', '.join(waiting[:10])}."
            raise UnavailableError(PART, detail)

    def get(self, schema_id: int) -> Schema | None:
        """Return the fetched schema of an id, None where the registry does not know it."""
        return self._schemas.get(schema_id)

    def named(self, name: str) -> Schema:
        """Return the schema of a file: a message without a frame has no id."""
        return self._folder.named(name)

    def _evict(self, needed: AbstractSet[int]) -> None:
        """Remove the oldest schemas beyond the bound, and unknown ids that are to be asked anew."""
        surplus = len(self._schemas) - _MAX_SCHEMAS
        for schema_id in [one for one in self._schemas if one not in needed][: max(0, surplus)]:
            del self._schemas[schema_id]
        now = self._clock.monotonic()
        for schema_id, unknown in list(self._unknown.items()):
            if unknown.is_given_up and now - unknown.since >= _UNKNOWN_ID_FORGET_SECONDS:
                del self._unknown[schema_id]

    def _is_awaited(self, schema_id: int) -> bool:
        unknown = self._unknown.get(schema_id)
        return unknown is not None and not unknown.is_given_up

    def _request(self, schema_id: int) -> None:
        schema = self._fetch(schema_id)
        if schema is not None:
            self._schemas[schema_id] = schema
            self._unknown.pop(schema_id, None)
            return
        unknown = self._unknown.get(schema_id)
        if unknown is None:
            retry = Retry(self._unknown_id_retry, self._clock, uniform=self._uniform)
            unknown = self._unknown[schema_id] = _UnknownId(self._clock.monotonic(), retry)
        unknown.retry.failed()
        given_up = sum(one.is_given_up for one in self._unknown.values())
        unknown.is_given_up = unknown.retry.exhausted or given_up >= _MAX_GIVEN_UP

    def _fetch(self, schema_id: int) -> Schema | None:
        response = self._client.get(f"/schemas/ids/{schema_id}")
        if response.status == _NOT_FOUND and _error_code(response) == _UNKNOWN_ID:
            return None
        stored = _stored(response)
        references: list[str] = []
        self._collect(stored, references, set())
        return prepare(stored.schema_type, stored.schema, references, self._folder)

    def _collect(
        self, stored: "_StoredSchema", texts: list[str], fetched: set[tuple[str, int]]
    ) -> None:
        """Add the referenced schemas once each, a schema after those it refers to itself."""
        for reference in stored.references or ():
            version = (reference.subject, reference.version)
            if version in fetched or len(fetched) == _MAX_REFERENCES:
                continue
            fetched.add(version)
            path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            inner = _stored(self._client.get(path))
            self._collect(inner, texts, fetched)
            texts.append(inner.schema)


class _Reference(msgspec.Struct, frozen=True, rename="camel"):
    subject: str
    version: int


class _StoredSchema(msgspec.Struct, frozen=True, rename="camel"):
    """A schema as the registry returns it (Confluent, Schema Registry API)."""

    schema: str
    schema_type: str = "AVRO"
    references: tuple[_Reference, ...] | None = None


def _stored(response: RegistryResponse) -> _StoredSchema:
    if response.status != _OK:
        raise UnavailableError(PART, f"The schema registry answered {response.status}.")
    try:
        return msgspec.convert(response.body, _StoredSchema)
    except msgspec.ValidationError as error:
        raise UnavailableError(PART, "The schema registry's answer has no schema in it.") from error


def _error_code(response: RegistryResponse) -> Any:  # noqa: ANN401  whatever the registry has there
    return response.body.get("error_code") if isinstance(response.body, dict) else None


def schema_source(settings: RegistrySettings, clock: Clock) -> SchemaSource:
    """Return the registry of the settings, or the folder where there is no URL; SettingsError."""
    folder = SchemaFolder(settings.folder or schemas_folder())
    return folder if settings.url is None else RegistrySchemas(settings, folder, clock)
