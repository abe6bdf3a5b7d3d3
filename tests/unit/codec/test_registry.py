"""The client of the schema registry, against a fake registry on loopback."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from processor.codec.avro import AvroSchema
from processor.codec.registry import RegistrySchemas
from processor.codec.schemas import JsonSchema, SchemaFolder, UnusableSchema
from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.outcome import Reason
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings
from tests.support.clock import ManualClock
from tests.support.registry import FakeRegistry, fetch_all
from tests.support.waiting import until

LONG = '"long"'
FOLDER = SchemaFolder(schemas_folder())


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def _schemas(url: str, clock: ManualClock | None = None, **settings: object) -> RegistrySchemas:
    declared = RegistrySettings.model_validate({"url": url, "timeout_seconds": 2, **settings})
    clock = clock or ManualClock()
    return RegistrySchemas(declared, FOLDER, clock, uniform=lambda _low, high: high)


def test_schema_is_fetched_once(registry: FakeRegistry) -> None:
    schema_id = registry.register("scores-value", LONG)
    schemas = _schemas(registry.url)

    fetch_all(schemas, {schema_id})
    fetch_all(schemas, {schema_id})

    assert isinstance(schemas.get(schema_id), AvroSchema)
    assert registry.requests == [f"/schemas/ids/{schema_id}"]


def test_schema_types_are_distinguished(registry: FakeRegistry) -> None:
    json_id = registry.register("a", "{}", "JSON")
    protobuf_id = registry.register("b", "message", "PROTOBUF")
    unsafe_id = registry.register("c", '{"type": "array", "items": "null"}')
    schemas = _schemas(registry.url)

    fetch_all(schemas, {json_id, protobuf_id, unsafe_id})

    assert schemas.get(json_id) == JsonSchema()
    for schema_id, reason in (
        (protobuf_id, Reason.UNKNOWN_SCHEMA),
        (unsafe_id, Reason.UNSAFE_SCHEMA),
    ):
        found = schemas.get(schema_id)
        assert isinstance(found, UnusableSchema)
        assert found.reason is reason


def test_references_are_fetched_in_their_order(registry: FakeRegistry) -> None:
    registry.register("in/ner", '{"type": "record", "name": "I", "fields": []}')
    middle = {"name": "I", "subject": "in/ner", "version": 1}
    text = '{"type": "record", "name": "M", "fields": [{"name": "i", "type": "I"}]}'
    registry.register("middle", text, references=[middle])
    outer = [{"name": "M", "subject": "middle", "version": 1}, middle]
    text = '{"type": "record", "name": "O", "fields": [{"name": "m", "type": "M"}]}'
    schema_id = registry.register("outer", text, references=outer)
    schemas = _schemas(registry.url)

    fetch_all(schemas, {schema_id})

    assert isinstance(schemas.get(schema_id), AvroSchema)


def test_unknown_id_is_waited_for_and_then_given_up(registry: FakeRegistry) -> None:
    clock = ManualClock()
    schemas = _schemas(registry.url, clock, unknown_id_seconds=30)

    with pytest.raises(UnavailableError, match="schema 41"):
        fetch_all(schemas, {41})
    clock.advance(29)
    with pytest.raises(UnavailableError):
        fetch_all(schemas, {41})
    clock.advance(2)
    fetch_all(schemas, {41})

    assert schemas.get(41) is None


def test_unknown_id_is_requested_again_after_its_delay(registry: FakeRegistry) -> None:
    clock = ManualClock()
    schemas = _schemas(registry.url, clock)

    for _ in range(5):
        with pytest.raises(UnavailableError):
            fetch_all(schemas, {41})
        clock.advance(0.3)

    assert len(registry.requests) == 2


def test_registry_replica_that_lags_only_delays_records(registry: FakeRegistry) -> None:
    clock = ManualClock()
    schema_id = registry.register("scores-value", LONG)
    registry.hide.add(schema_id)
    schemas = _schemas(registry.url, clock)
    with pytest.raises(UnavailableError):
        fetch_all(schemas, {schema_id})

    registry.hide.clear()
    clock.advance(1)
    fetch_all(schemas, {schema_id})

    assert schemas.get(schema_id) is not None


def test_given_up_id_is_requested_again_later(registry: FakeRegistry) -> None:
    clock = ManualClock()
    schemas = _schemas(registry.url, clock, unknown_id_seconds=0)
    fetch_all(schemas, {1})
    assert schemas.get(1) is None
    registry.register("late", LONG)

    fetch_all(schemas, {1})
    assert schemas.get(1) is None
    clock.advance(600)
    fetch_all(schemas, {1})

    assert schemas.get(1) is not None


def test_made_up_ids_do_not_block_other_records(registry: FakeRegistry) -> None:
    clock = ManualClock()
    schemas = _schemas(registry.url, clock, unknown_id_seconds=1)
    made_up = set(range(100, 116))
    with pytest.raises(UnavailableError):
        fetch_all(schemas, made_up)
    clock.advance(1)
    fetch_all(schemas, made_up)

    fetch_all(schemas, set(range(200, 300)))

    assert schemas.get(250) is None


@pytest.mark.parametrize("has_types", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_404_without_an_error_code_is_an_unknown_id_where_the_registry_answers_otherwise(
    registry: FakeRegistry, *, plain: bool, has_types: bool
) -> None:
    registry.plain, registry.has_types = plain, has_types
    registry.bare_errors = True
    schema_id = registry.register("scores-value", LONG)
    schemas = _schemas(registry.url, unknown_id_seconds=0)

    fetch_all(schemas, {schema_id, 41})

    assert schemas.get(schema_id) is not None
    assert schemas.get(41) is None


@pytest.mark.parametrize("plain", [True, False])
def test_404_of_a_wrong_url_is_an_outage(registry: FakeRegistry, *, plain: bool) -> None:
    registry.plain = plain

    with pytest.raises(UnavailableError, match="404"):
        fetch_all(_schemas(f"{registry.url}/no/registry", unknown_id_seconds=0), {1})


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("version", [1, 2])
def test_a_schema_whose_reference_is_missing_is_unknown(
    registry: FakeRegistry, version: int, *, bare: bool
) -> None:
    registry.bare_errors = bare
    if version > 1:
        registry.register("inner", LONG)
    missing = [{"name": "I", "subject": "inner", "version": version}]
    schema_id = registry.register("outer", '{"type": "array", "items": "I"}', references=missing)
    schemas = _schemas(registry.url, unknown_id_seconds=0)

    fetch_all(schemas, {schema_id})

    assert schemas.get(schema_id) is None


def test_a_schema_that_is_too_large_to_be_read_is_unsafe_and_stops_no_other(
    registry: FakeRegistry,
) -> None:
    large_id = registry.register("large", "x" * (5 << 20))
    schema_id = registry.register("scores-value", LONG)
    schemas = _schemas(registry.url)

    fetch_all(schemas, {large_id, schema_id})

    found = schemas.get(large_id)
    assert isinstance(found, UnusableSchema)
    assert found.reason is Reason.UNSAFE_SCHEMA
    assert schemas.get(schema_id) is not None


def test_ids_that_no_registry_gives_are_unknown_without_a_request(registry: FakeRegistry) -> None:
    schemas = _schemas(registry.url)

    fetch_all(schemas, {0, -1, 1 << 31, (1 << 32) - 1})

    assert schemas.get(1 << 31) is None
    assert registry.requests == []


@pytest.mark.parametrize("bare", [True, False])
def test_a_flood_of_ids_never_blocks_and_is_asked_for_once(
    registry: FakeRegistry, *, bare: bool
) -> None:
    registry.bare_errors, registry.delay_seconds = bare, 0.01
    schemas, clock = _schemas(registry.url, unknown_id_seconds=0), SystemClock()
    flood, calls = set(range(1_000, 1_200)), []

    def fetched() -> bool:
        began = clock.monotonic()
        done = schemas.fetch_schemas(flood)
        calls.append(clock.monotonic() - began)
        return done

    until(fetched, seconds=20, what="all are given up", every=0.002)
    assert schemas.fetch_schemas(flood)

    assert max(calls) < 0.5
    asked = [path for path in registry.requests if path.startswith("/schemas/ids/")]
    assert len(asked) == len(set(asked)) == len(flood)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 503])
def test_every_other_response_is_an_outage(registry: FakeRegistry, status: int) -> None:
    registry.status = status

    with pytest.raises(UnavailableError):
        fetch_all(_schemas(registry.url), {1})


def test_credentials_are_sent(registry: FakeRegistry) -> None:
    schema_id = registry.register("scores-value", LONG)
    registry.credentials = ("ada", "löve")

    fetch_all(_schemas(registry.url, username="ada", password="löve"), {schema_id})
    with pytest.raises(UnavailableError, match="401"):
        fetch_all(_schemas(registry.url, username="ada", password="wrong"), {schema_id})


def test_proxies_of_the_environment_are_not_used(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    schema_id = registry.register("scores-value", LONG)

    fetch_all(_schemas(registry.url), {schema_id})


def test_unreachable_registry_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(UnavailableError):
        fetch_all(_schemas(f"http://127.0.0.1:{port}"), {1})


@contextmanager
def _server_sending(send: Callable[[socket.socket, Event], None]) -> Iterator[str]:
    """Return the URL of a server that accepts one connection and sends what it is told to."""
    done = Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4_096)
            try:
                send(connection, done)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        done.set()
        thread.join(5)


def _drip(connection: socket.socket, done: Event) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while not done.wait(0.05):
        connection.sendall(b" ")


def _drip_headers(connection: socket.socket, done: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not done.wait(0.05):
        connection.sendall(b"x")


def _hang(_connection: socket.socket, done: Event) -> None:
    done.wait(5)


def _flood(connection: socket.socket, done: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not done.is_set():
        connection.sendall(b" " * 65_536)


def _redirect(connection: socket.socket, _done: Event) -> None:
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 2\r\n\r\n{}"
    )


def _cut_off(connection: socket.socket, _done: Event) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"schema": ')


def _send_no_http(connection: socket.socket, _done: Event) -> None:
    connection.sendall(b"\x00\xff\r\n\r\n")


def _send_no_schema(connection: socket.socket, _done: Event) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"schema":1}')


@pytest.mark.parametrize(
    "send",
    [_hang, _drip, _drip_headers, _flood, _redirect, _cut_off, _send_no_http, _send_no_schema],
)
def test_invalid_response_is_an_outage_and_ends_within_the_timeout(
    send: Callable[[socket.socket, Event], None],
) -> None:
    with _server_sending(send) as url, pytest.raises(UnavailableError):
        fetch_all(_schemas(url, timeout_seconds=0.4), {1})


@pytest.mark.parametrize(
    "url", ["registry:8081", "ftp://registry", "http://", "http://ada:secret@registry:8081"]
)
def test_invalid_registry_address_is_refused_at_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"registry\.url"):
        _schemas(url)
