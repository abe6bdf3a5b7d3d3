"""One GET to a schema registry: bounded in time and size, no redirects, no proxy from outside."""

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, socket
from threading import Timer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from processor.errors import SettingsError, UnavailableError
from processor.settings import RegistrySettings

__all__ = ["PART", "Answer", "RegistryClient"]

PART = "registry"
_MAX_ANSWER_BYTES = 4 << 20
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class Answer(NamedTuple):
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

    def get(self, path: str) -> Answer:
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
        return Answer(response.status, _json(text, response.status))

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
