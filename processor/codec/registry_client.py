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

from processor.codec.avro_limits import UnsafeSchemaError
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import RegistrySettings

PART = "registry"
_MAX_RESPONSE_BYTES = 4 << 20
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_OK, _NOT_FOUND = 200, 404
_UNKNOWN = (40401, 40402, 40403)
"""No such subject, version, or schema (Confluent, Schema Registry API)."""
_OVERVIEWS = ("/schemas/types", "/subjects")
"""What each registry answers with a list, an older one the second only."""
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
        """Return a schema and the texts of those it refers to, None where any of them is unknown.

        A text comes after those it refers to itself. Raises UnavailableError, and UnsafeSchemaError
        where the registry answers with more than it may.
        """
        references: list[str] = []
        try:
            stored = self._stored(f"/schemas/ids/{schema_id}")
            self._collect(stored, references, set())
        except _UnknownError:
            return None
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
            inner = self._stored(path)
            self._collect(inner, texts, fetched)
            texts.append(inner.schema)

    def _stored(self, path: str) -> "StoredSchema":
        """Return the schema at a path.

        What is said of one path holds only where the registry answers otherwise: a wrong URL or a
        proxy says 404 to everything.
        """
        try:
            response = self.get(path)
        except _TooLargeError as error:
            if error.status == _OK and self._answers():
                raise UnsafeSchemaError(f"{error.detail} {path} is not read.") from error
            raise
        except _NotJsonError as error:
            if error.status == _NOT_FOUND and self._answers():
                raise _UnknownError from error
            raise
        if response.status == _NOT_FOUND and (_is_unknown(response) or self._answers()):
            raise _UnknownError
        return _stored(response)

    def _answers(self) -> bool:
        """Return whether this is a registry that answers; UnavailableError on an outage."""
        for path in _OVERVIEWS:
            with suppress(_NotJsonError):
                response = self.get(path)
                if response.status == _OK and isinstance(response.body, list):
                    return True
        return False

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


class _UnknownError(Exception):
    """The registry does not know a schema, or one that it refers to."""


class _UnreadableError(UnavailableError):
    """A response without JSON, of this status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(PART, detail)
        self.status = status


class _TooLargeError(_UnreadableError):
    """A response that was not read to its end."""


class _NotJsonError(_UnreadableError):
    """A response of something else, such as a page for people."""


def _json(text: bytes, status: int) -> Any:  # noqa: ANN401  any JSON
    if len(text) > _MAX_RESPONSE_BYTES:
        raise _TooLargeError(status, "The schema registry's answer is too large.")
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _NotJsonError(status, f"The schema registry answered {status}, not JSON.") from error


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


def _is_unknown(response: RegistryResponse) -> bool:
    return isinstance(response.body, dict) and response.body.get("error_code") in _UNKNOWN
