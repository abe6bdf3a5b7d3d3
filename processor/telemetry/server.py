"""The telemetry server: metrics for Prometheus, probes for Kubernetes, a status page for people.

It only reads, binds to loopback by default, and drops slow clients: silent ones first, so that
probes are answered however many of them there are.
Nothing can be controlled here: control takes rights on Kafka or on the machine.
"""

import json
import threading
from collections.abc import Callable, Mapping
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from string import Template
from typing import Any, NamedTuple

from prometheus_client.exposition import choose_encoder

from processor.domain.clock import Clock, Deadline, SystemClock
from processor.domain.outcome import Outcome
from processor.telemetry.catalogue import (
    ITEMS,
    LAG_RECORDS,
    RECORDS_CONSUMED,
    RECORDS_RELEASED,
    RECORDS_SETTLED,
    RECORDS_UNSETTLED,
    REQUESTS,
    UNACCOUNTED_RECORDS,
)
from processor.telemetry.health import Health, ProbeResult
from processor.telemetry.labels import ItemResult
from processor.telemetry.metric_types import AnyMetric
from processor.telemetry.metrics import Metrics

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Customer AI events</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem;
         color: #1d2433; background: #fff }
  h1 { font-size: 1.25rem; margin: 0 }
  p { margin: .25rem 0 1.5rem; color: #57606f }
  table { border-collapse: collapse; width: 100% }
  td { padding: .4rem 0; border-bottom: 1px solid #e4e7ec }
  td:last-child { text-align: right; font-variant-numeric: tabular-nums }
  nav { margin-top: 1.5rem } a { margin-right: 1rem }
  .yes { color: #0b6b3a } .no { color: #a61b1b }
  @media (prefers-color-scheme: dark) {
    body { color: #e6e9ef; background: #14181f } p { color: #9aa4b2 }
    td { border-color: #2a313c } a { color: #8ab4ff } .yes { color: #5fd08f } .no { color: #ff8f8f }
  }
</style>
<h1 class="$class_name">$state</h1>
<p>$reason $live</p>
$paused<table>
$rows</table>
<nav>
  <a href="/metrics">Metrics</a><a href="/livez">Liveness</a><a href="/readyz">Readiness</a>
</nav>
</html>
""")

_ROWS: tuple[tuple[str, AnyMetric, Mapping[str, str]], ...] = (
    ("Records consumed", RECORDS_CONSUMED, {}),
    *(
        (outcome.replace("_", "-"), RECORDS_SETTLED, {"outcome": outcome})
        for outcome in reversed(Outcome)
    ),
    ("released", RECORDS_RELEASED, {}),
    ("in progress", RECORDS_UNSETTLED, {}),
    ("unaccounted for", UNACCOUNTED_RECORDS, {}),
    ("Requests sent", REQUESTS, {}),
    ("Events accepted", ITEMS, {"result": ItemResult.ACCEPTED}),
    ("Lag in Kafka", LAG_RECORDS, {}),
)


def page(metrics: Metrics, live: ProbeResult, ready: ProbeResult) -> str:
    """Render the status page; every text in it is escaped."""
    paused = "".join(
        f"<li><b>{escape(pause.cause)}</b> since {escape(pause.since)}, {pause.partitions} "
        f"partitions: {escape(pause.reason)}</li>\n"
        for pause in ready.paused
    )
    rows = "".join(
        f"<tr><td>{escape(title)}</td><td>{metrics.total(metric, **labels):,.0f}</td></tr>\n"
        for title, metric, labels in _ROWS
    )
    return _PAGE.substitute(
        class_name="yes" if live.ok and ready.ok and not ready.paused else "no",
        state=escape(_heading(live, ready)),
        paused=f"<p>Paused:</p>\n<ul>\n{paused}</ul>\n" if paused else "",
        reason=escape(ready.reason),
        live=escape(live.reason),
        rows=rows,
    )


def _heading(live: ProbeResult, ready: ProbeResult) -> str:
    if not live.ok:
        return "Stalled"
    paused = ready.ok and ready.paused
    return f"{ready.state.capitalize()}, intake paused" if paused else ready.state.capitalize()


_MAX_CLIENTS = 64
_REQUEST_SECONDS = 2.0
"""For sending a request, which any client does at once."""
_RESPONSE_SECONDS = 10.0


class _Response(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class TelemetryServer:
    """Serves `/`, `/metrics`, `/livez` and `/readyz` from threads of its own.

    A client has two seconds for its request and `response_seconds` for the response.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        health: Health,
        *,
        response_seconds: float = _RESPONSE_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._rendering = threading.Lock()
        self._server = _Server((host, port), self._respond, response_seconds)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="telemetry"
        )
        self._thread.daemon = True
        self._thread.start()

    @property
    def url(self) -> str:
        """Return the address, with the port that was chosen where the settings have 0."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening and wait for the thread; responses in progress are cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _respond(self, path: str, accept: str) -> _Response:
        match path:
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                with self._rendering:  # one at a time: many at once would take the CPU from probes
                    body = encode(self._metrics.registry)
                return _Response(HTTPStatus.OK, content_type, body)
            case "/livez":
                return _probe(self._health.live())
            case "/readyz":
                return _probe(self._health.ready())
            case "/":
                with self._rendering:
                    html = page(self._metrics, self._health.live(), self._health.ready())
                return _Response(HTTPStatus.OK, "text/html; charset=utf-8", html.encode())
            case _:
                return _Response(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not found.\n")


def _probe(result: ProbeResult) -> _Response:
    status = HTTPStatus.OK if result.ok else HTTPStatus.SERVICE_UNAVAILABLE
    paused = [pause._asdict() for pause in result.paused]
    body = json.dumps({**result._asdict(), "paused": paused}).encode()
    return _Response(status, "application/json", body + b"\n")


class _Connection:
    """One client: until when it may take, and whether it has sent its request."""

    __slots__ = ("deadline", "requested", "socket")

    def __init__(self, client: socket, deadline: Deadline) -> None:
        self.socket = client
        self.deadline = deadline
        self.requested = False


class _Connections:
    """The open connections, oldest first. Where there are too many, the most idle one is cut.

    So a new client, a probe above all, is always served, however many others are silent.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, _Connection] = {}
        self._lock = threading.Lock()

    def add(self, client: socket) -> None:
        """Add a connection; it has `_REQUEST_SECONDS` to send its request."""
        with self._lock:
            if len(self._open) >= _MAX_CLIENTS:
                silent = (key for key, each in self._open.items() if not each.requested)
                _cut(self._open.pop(next(silent, next(iter(self._open)))).socket)
            deadline = Deadline(self._clock, _REQUEST_SECONDS)
            self._open[id(client)] = _Connection(client, deadline)

    def requested(self, client: socket, seconds: float) -> None:
        """Note that a client has sent its request, and has so many seconds for the response."""
        with self._lock:
            if (connection := self._open.get(id(client))) is not None:
                connection.requested = True
                connection.deadline = Deadline(self._clock, seconds)

    def remove(self, client: socket) -> None:
        """Remove a connection that is closed."""
        with self._lock:
            connection = self._open.get(id(client))
            if connection is not None and connection.socket is client:
                del self._open[id(client)]

    def cut_late(self) -> None:
        """Cut the connections whose time is over; a byte now and then gains a client nothing."""
        with self._lock:
            for key in [key for key, each in self._open.items() if each.deadline.over()]:
                _cut(self._open.pop(key).socket)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], respond: Callable[[str, str], _Response], seconds: float
    ) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.respond = respond
        self.seconds = seconds
        self.connections = _Connections(SystemClock())
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by the server's loop, ten times a second at least."""
        self.connections.cut_late()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Log nothing about clients that closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "customer-ai-events"
    sys_version = ""

    def do_GET(self) -> None:
        """Send head and body."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Send the head alone."""
        self._send(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Log nothing about requests: probes come every few seconds."""

    def _send(self, *, with_body: bool) -> None:
        self.server.connections.requested(self.connection, self.server.seconds)
        path = self.path.partition("?")[0]
        response = self.server.respond(path, self.headers.get("Accept", ""))
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if with_body:
            self.wfile.write(response.body)


def _cut(connection: socket) -> None:
    try:
        connection.shutdown(SHUT_RDWR)
    except OSError:
        return  # the client closed it
