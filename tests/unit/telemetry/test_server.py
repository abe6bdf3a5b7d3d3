"""The little server, asked over loopback."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from processor.domain.clock import SystemClock
from processor.domain.outcome import Outcome
from processor.telemetry.catalogue import DELIVERY_DELAY_SECONDS, RECORDS_CONSUMED
from processor.telemetry.health import Health, Pause
from processor.telemetry.labels import PauseCause, State
from processor.telemetry.metrics import Metrics
from processor.telemetry.server import TelemetryServer
from tests.support.clock import ManualClock
from tests.support.settings import settings_with


class Served:
    """A server over fresh metrics and health."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.health = Health(self.metrics, self.clock, live_seconds=60)
        self.server = TelemetryServer("127.0.0.1", 0, self.metrics, self.health)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.server.url)
        return str(parts.hostname), int(parts.port or 0)

    def ask(self, path: str, method: str = "GET", accept: str = "") -> tuple[HTTPResponse, bytes]:
        with closing(HTTPConnection(*self.address, timeout=5)) as connection:
            connection.request(method, path, headers={"Accept": accept})
            response = connection.getresponse()
            return response, response.read()


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.server.close()


def test_metrics_are_negotiated(served: Served) -> None:
    served.metrics.counter(RECORDS_CONSUMED, "scores").inc(3)
    served.metrics.observe_all([0.2, 3], DELIVERY_DELAY_SECONDS, "upgrade")

    plain, text = served.ask("/metrics")
    rich, open_text = served.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")

    assert "text/plain" in str(plain.getheader("Content-Type"))
    assert "openmetrics-text" in str(rich.getheader("Content-Type"))
    read = (classic(text.decode()), open_metrics(open_text.decode()))  # type: ignore[no-untyped-call]
    for families in read:
        samples = {s.name: s.value for family in families for s in family.samples}
        assert samples["cai_records_consumed_total"] == 3
        assert samples["cai_delivery_delay_seconds_count"] == 2


def test_probes_answer_with_the_reason(served: Served) -> None:
    live, live_body = served.ask("/livez")
    starting, starting_body = served.ask("/readyz")
    served.health.set_state(State.READY, "Ready.")
    ready, _ = served.ask("/readyz")
    served.clock.advance(61)
    stalled, _ = served.ask("/livez")

    assert (live.status, starting.status, ready.status, stalled.status) == (200, 503, 200, 503)
    assert json.loads(live_body)["ok"] is True
    assert json.loads(starting_body) == {
        "ok": False,
        "state": "starting",
        "reason": "The processor is starting.",
        "since": "2026-11-18T11:06:40Z",
        "paused": [],
    }


def test_probe_and_page_name_what_is_paused_and_since_when(served: Served) -> None:
    served.health.set_state(State.READY, "Ready.")
    pause = Pause(PauseCause.DESTINATION, "the <inlet> is away", "2026-11-18T11:00:00Z", 4)
    served.health.set_paused([pause])

    response, body = served.ask("/readyz")
    _, html = served.ask("/")

    assert response.status == 200
    assert json.loads(body)["paused"] == [
        {
            "cause": "destination",
            "reason": "the <inlet> is away",
            "since": "2026-11-18T11:00:00Z",
            "partitions": 4,
        }
    ]
    assert b">Ready, intake paused</h1>" in html
    assert b"destination</b> since 2026-11-18T11:00:00Z, 4 partitions: the &lt;inlet&gt;" in html


def test_the_page_shows_key_numbers_and_links(served: Served) -> None:
    served.metrics.counter(RECORDS_CONSUMED, "scores").inc(1234)
    served.health.set_state(State.PAUSED, "<script>alert(1)</script>")

    response, body = served.ask("/")

    assert response.status == 200
    assert b"<td>1,234</td>" in body
    assert b'href="/metrics"' in body
    assert b"<script>" not in body
    assert [o for o in Outcome if f"<td>{o.replace('_', '-')}</td>" not in body.decode()] == []


def test_nothing_can_be_changed(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert served.ask("/readyz", method)[0].status == 501
    assert served.ask("/nowhere")[0].status == 404
    assert served.ask("/../../etc/passwd")[0].status == 404


def test_a_head_has_no_body(served: Served) -> None:
    response, body = served.ask("/metrics", "HEAD")

    assert response.status == 200
    assert int(response.getheader("Content-Length") or 0) > 0
    assert body == b""


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HTTP/1.1\r\nHost: x", b"GET /"])
@pytest.mark.parametrize("count", [16, 50, 200])
def test_probes_answer_within_a_second_while_silent_connections_are_held(
    served: Served, count: int, begun: bytes
) -> None:
    with ExitStack() as held:
        for _ in range(count):
            silent = held.enter_context(socket.create_connection(served.address, timeout=5))
            with suppress(ConnectionError):
                silent.sendall(begun)

        for path in ("/livez", "/readyz", "/livez"):
            began = SystemClock().monotonic()
            response, _ = served.ask(path)
            assert response.status in {200, 503}
            assert SystemClock().monotonic() - began < 1


def test_probes_answer_while_clients_do_not_read_their_responses(served: Served) -> None:
    for number in range(40_000):
        served.metrics.counter(RECORDS_CONSUMED, f"topic-{number}")
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as held:
        for _ in range(5):
            deaf = held.enter_context(socket.create_connection(served.address, timeout=5))
            deaf.sendall(request)
        for _ in range(80):
            held.enter_context(socket.create_connection(served.address, timeout=5))

        assert served.ask("/livez")[0].status == 200


def _live_seconds(served: Served) -> float:
    """Return how long the liveness probe takes at worst in a few attempts."""
    worst = 0.0
    for _ in range(5):
        began = SystemClock().monotonic()
        assert served.ask("/livez")[0].status == 200
        worst = max(worst, SystemClock().monotonic() - began)
    return worst


@pytest.mark.parametrize("path", ["/metrics", "/"])
def test_probes_answer_within_a_second_in_a_flood_of_scrapes(served: Served, path: str) -> None:
    for number in range(10_000):
        served.metrics.counter(RECORDS_CONSUMED, f"topic-{number}")
    over = Event()

    def scrape() -> None:
        while not over.is_set():
            with suppress(OSError, HTTPException):
                served.ask(path)

    with ThreadPoolExecutor(48) as pool:
        try:
            for _ in range(48):
                pool.submit(scrape)
            assert over.wait(1.0) is False
            assert _live_seconds(served) < 1
        finally:
            over.set()


def test_probes_answer_within_a_second_beside_clients_that_send_a_byte_now_and_then(
    served: Served,
) -> None:
    over = Event()

    def drip(connection: socket.socket) -> None:
        request = b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 10_000
        with suppress(OSError):
            for number in range(len(request)):
                if over.wait(0.05):
                    return
                connection.sendall(request[number : number + 1])

    with ExitStack() as held, ThreadPoolExecutor(32) as pool:
        held.callback(over.set)
        for _ in range(32):
            pool.submit(drip, held.enter_context(socket.create_connection(served.address)))
        assert over.wait(0.5) is False
        worst = _live_seconds(served)
        over.set()

    assert worst < 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 5_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
    ids=["many headers", "a big header", "a body that does not come", "half a chunk"],
)
def test_probes_answer_within_a_second_beside_requests_that_are_too_big_or_half(
    served: Served, head: bytes
) -> None:
    with ExitStack() as held:
        for _ in range(32):
            client = held.enter_context(socket.create_connection(served.address, timeout=5))
            with suppress(OSError):
                client.sendall(head)

        assert _live_seconds(served) < 1


def test_noise_does_not_disturb_it(served: Served) -> None:
    for noise in (b"\x16\x03\x01\x02\x00", b"GET " + b"a" * 70_000, b"GET /\x00 HTTP/9.9\r\n\r\n"):
        with socket.create_connection(served.address, timeout=5) as connection:
            connection.sendall(noise)

    assert served.ask("/livez")[0].status == 200


def test_a_closed_server_gives_its_port_back() -> None:
    served = Served()
    served.server.close()

    with pytest.raises(ConnectionRefusedError):
        served.ask("/livez")


def test_the_address_may_be_the_newer_kind() -> None:
    metrics = Metrics()
    server = TelemetryServer("::1", 0, metrics, Health(metrics, ManualClock(), 60))
    server.close()

    assert server.url.startswith("http://[::1]:")


def test_the_process_itself_is_measured(served: Served) -> None:
    served.metrics.prepare(settings_with().routes, ["scores"])
    served.metrics.describe_process("1.2.3", "2.16.0")

    text = served.ask("/metrics")[1].decode()

    assert 'cai_build_info{librdkafka="2.16.0",python="3.' in text
    assert "process_cpu_seconds_total" in text
    assert "python_gc_collections_total" in text


def test_a_client_that_dawdles_is_dropped(served: Served) -> None:
    with socket.create_connection(served.address, timeout=5) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x")
        assert connection.recv(1) == b""
