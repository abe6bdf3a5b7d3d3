"""The client of a Confluent-compatible schema registry.

Each request is one GET, bounded in time and size, without redirects and without a proxy from the
environment. It may be used by several threads at once.
"""

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, socket
from threading import Timer
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import RegistrySettings

PART = "registry"
_MAX_RESPONSE_BYTES = 4 << 20
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_OK, _NOT_FOUND, _UNKNOWN_ID = 200, 404, 40403
_MAX_REFERENCES = 64


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
                with connection.getresponse() as response:
                    text = response.read(_MAX_RESPONSE_BYTES + 1)
        except (OSError, HTTPException) as error:
            detail = f"No answer from the schema registry ({type(error).__name__})."
            raise UnavailableError(PART, detail) from error
        finally:
            connection.close()
        return RegistryResponse(response.status, _json(text, response.status))

    def schema(self, schema_id: int) -> "tuple[StoredSchema, list[str]] | None":
        """Return a schema and the texts of those it refers to, None where the id is unknown.

        A text comes after those it refers to itself. Raises UnavailableError.
        """
        response = self.get(f"/schemas/ids/{schema_id}")
        if response.status == _NOT_FOUND and _error_code(response) == _UNKNOWN_ID:
            return None
        stored = _stored(response)
        references: list[str] = []
        self._collect(stored, references, set())
        return stored, references

    def _collect(
        self, stored: "StoredSchema", texts: list[str], fetched: set[tuple[str, int]]
    ) -> None:
        for reference in stored.references or ():
            version = (reference.subject, reference.version)
            if version in fetched or len(fetched) == _MAX_REFERENCES:
                continue
            fetched.add(version)
            path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            inner = _stored(self.get(path))
            self._collect(inner, texts, fetched)
            texts.append(inner.schema)

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


class _Reference(msgspec.Struct, frozen=True, rename="camel"):
    subject: str
    version: int


class StoredSchema(msgspec.Struct, frozen=True, rename="camel"):
    """A schema as the registry returns it (Confluent, Schema Registry API)."""

    schema: str
    schema_type: str = "AVRO"
    references: tuple[_Reference, ...] | None = None


def _stored(response: RegistryResponse) -> StoredSchema:
    if response.status != _OK:
        raise UnavailableError(PART, f"The schema registry answered {response.status}.")
    try:
        return msgspec.convert(response.body, StoredSchema)
    except msgspec.ValidationError as error:
        raise UnavailableError(PART, "The schema registry's answer has no schema in it.") from error


def _error_code(response: RegistryResponse) -> Any:  # noqa: ANN401  whatever the registry has there
    return response.body.get("error_code") if isinstance(response.body, dict) else None
