"""A schema registry on loopback: Confluent's REST interface, with faults on request.

It has what a reader and a test's writer need: register, look up by id, by subject and version
(references), with Basic authentication. Errors carry Confluent's `error_code`s. The same checks run
against it and against a real registry (`tests/kafka/test_registry.py`).
"""

import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar
from urllib.parse import unquote, urlsplit

from tests.support.waiting import until

_N_contra = TypeVar("_N_contra", contravariant=True)

_Response = tuple[int, dict[str, Any] | list[Any]]
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class _StoredSchemas:
    """The schemas, by id and by subject; equal schemas share an id."""

    by_id: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Return the schema's id, new where its text and references are."""
        with self.lock:
            known = (number for number, old in self.by_id.items() if old == schema)
            number = next(known, len(self.by_id) + 1)
            self.by_id[number] = schema
            versions = self.subjects.setdefault(subject, [])
            if number not in versions:
                versions.append(number)
            return number


class SchemaFetcher(Protocol[_N_contra]):
    """Anything that fetches schemas: those of ids, or those that records need."""

    def fetch_schemas(self, needed: _N_contra, /) -> bool: ...


def fetch_all(source: SchemaFetcher[_N_contra], needed: _N_contra) -> None:
    """Fetch schemas and wait until they are there, or the source raises that they are not."""
    until(lambda: source.fetch_schemas(needed), seconds=30, what="schemas", every=0.002)


class FakeRegistry:
    """The registry and its faults.

    `status` makes every answer an error of that status, `delay_seconds` makes it slow, `hide` holds
    ids it answers as unknown (a replica that lags), `credentials` are required once set. Its 404s
    are without JSON where it is `plain`, and without an error code with `bare_errors`, as gateways
    answer; without `has_types` it is older than the list of schema types.
    `requests` lists every path that was asked for.
    """

    def __init__(self) -> None:
        self.stored = _StoredSchemas()
        self.status: int | None = None
        self.delay_seconds = 0.0
        self.hide: set[int] = set()
        self.has_types = True
        self.bare_errors = False
        self.plain = False
        self.credentials: tuple[str, str] | None = None
        self.requests: list[str] = []
        self.closing = Event()
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Address for a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def register(self, subject: str, schema: str, kind: str = "AVRO", **more: object) -> int:
        """Store a schema without HTTP; `more` may hold `references`."""
        return self.stored.register(
            subject, _stored({"schema": schema, "schemaType": kind, **more})
        )

    def answer(self, method: str, path: str, body: dict[str, Any]) -> _Response:
        """Return status and JSON for an authorised request."""
        match (method, [unquote(part) for part in path.strip("/").split("/")]):
            case ("GET", ["schemas", "ids", number]):
                return self._by_id(number)
            case ("GET", ["schemas", "types"]) if self.has_types:
                return 200, ["JSON", "PROTOBUF", "AVRO"]
            case ("GET", ["subjects"]):
                return 200, sorted(self.stored.subjects)
            case ("POST", ["subjects", subject, "versions"]):
                return 200, {"id": self.stored.register(subject, _stored(body))}
            case ("GET", ["subjects", subject, "versions", version]):
                return self._by_version(subject, version)
            case _:
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _by_id(self, number: str) -> _Response:
        schema = self.stored.by_id.get(int(number)) if number.isdecimal() else None
        if schema is None or int(number) in self.hide:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {key: value for key, value in schema.items() if (key, value) != _AVRO}

    def _by_version(self, subject: str, version: str) -> _Response:
        versions = self.stored.subjects.get(subject)
        if versions is None:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        index = len(versions) if version == "latest" else int(version)
        if not 1 <= index <= len(versions):
            return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        number = versions[index - 1]
        return 200, {
            "subject": subject,
            "version": index,
            "id": number,
            **self.stored.by_id[number],
        }


_AVRO = ("schemaType", "AVRO")  # Confluent leaves the default out of answers


def _stored(body: dict[str, Any]) -> dict[str, Any]:
    stored = ("schema", "schemaType", "references")
    return {"schemaType": "AVRO"} | {key: body[key] for key in stored if body.get(key)}


class _Handler(BaseHTTPRequestHandler):
    registry: ClassVar[FakeRegistry]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._serve(json.loads(self.rfile.read(length)))

    def _serve(self, body: dict[str, Any]) -> None:
        path = urlsplit(self.path).path
        self.registry.requests.append(path)
        if self.registry.delay_seconds:
            self.registry.closing.wait(self.registry.delay_seconds)
        self._send(*self._decide(path, body))

    def _decide(self, path: str, body: dict[str, Any]) -> _Response:
        if self.registry.status is not None:
            return self.registry.status, {"error_code": 50001, "message": "Error in the backend"}
        if self.registry.credentials and not self._is_authorised(*self.registry.credentials):
            return 401, {"error_code": 401, "message": "Unauthorized"}
        status, answer = self.registry.answer(self.command, path, body)
        is_bare = self.registry.bare_errors and status == HTTPStatus.NOT_FOUND
        return (status, {"message": "Not Found"}) if is_bare else (status, answer)

    def _is_authorised(self, user: str, password: str) -> bool:
        expected = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _send(self, status: int, answer: dict[str, Any] | list[Any]) -> None:
        is_plain = self.registry.plain and status == HTTPStatus.NOT_FOUND
        payload = b"<html>Not Found</html>" if is_plain else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Log nothing: `requests` has the paths."""
