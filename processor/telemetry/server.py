"""The little server: metrics for Prometheus, probes for Kubernetes, one page for people.

It only reads, binds to loopback unless told otherwise, serves few clients at a time, and drops
those that dawdle. There is nothing to control here: control takes rights on Kafka or the machine.

The page for people: is it well, what has become of the records, where are the numbers.
"""

import json
import threading
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from string import Template
from typing import Any, NamedTuple

from prometheus_client.exposition import choose_encoder

from processor.telemetry.health import Health, ProbeResult
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
<h1 class="$mood">$state</h1>
<p>$reason $live</p>
<table>
$rows</table>
<nav>
  <a href="/metrics">Metrics</a><a href="/livez">Liveness</a><a href="/readyz">Readiness</a>
</nav>
</html>
""")

_ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Records consumed", "records_consumed", {}),
    ("delivered", "records_settled", {"outcome": "delivered"}),
    ("stored", "records_settled", {"outcome": "stored"}),
    ("duplicate", "records_settled", {"outcome": "duplicate"}),
    ("filtered", "records_settled", {"outcome": "filtered"}),
    ("dead-lettered", "records_settled", {"outcome": "dead_lettered"}),
    ("given back", "records_released", {}),
    ("under way", "records_unsettled", {}),
    ("unaccounted for", "unaccounted_records", {}),
    ("Requests sent", "requests", {}),
    ("Events accepted", "items", {"result": "accepted"}),
    ("Lag in Kafka", "lag_records", {}),
)


def page(metrics: Metrics, live: ProbeResult, ready: ProbeResult) -> str:
    """Render the page; everything in it is ours, and escaped all the same."""
    rows = "".join(
        f"<tr><td>{escape(words)}</td><td>{metrics.total(name, **labels):,.0f}</td></tr>\n"
        for words, name, labels in _ROWS
    )
    return _PAGE.substitute(
        mood="yes" if live.ok and ready.ok else "no",
        state=escape(ready.state.capitalize() if live.ok else "Stalled"),
        reason=escape(ready.reason),
        live=escape(live.reason),
        rows=rows,
    )


_MAX_CLIENTS = 16
_CLIENT_SECONDS = 10.0


class _Answer(NamedTuple):
    status: HTTPStatus
    kind: str
    body: bytes


class TelemetryServer:
    """Serves `/`, `/metrics`, `/livez` and `/readyz` from threads of its own.

    A client has `client_seconds` for all of its request and answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        health: Health,
        *,
        client_seconds: float = _CLIENT_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._server = _Server((host, port), self._answer, client_seconds)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="telemetry"
        )
        self._thread.daemon = True
        self._thread.start()

    @property
    def url(self) -> str:
        """Return where it listens, with the port that was picked where 0 was asked for."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening and wait for the thread; answers under way are cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, accept: str) -> _Answer:
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return _Answer(HTTPStatus.OK, kind, encode(self._metrics.registry))
            case "/livez":
                return _probe(self._health.live())
            case "/readyz":
                return _probe(self._health.ready())
            case "/":
                shown = page(self._metrics, self._health.live(), self._health.ready())
                return _Answer(HTTPStatus.OK, "text/html; charset=utf-8", shown.encode())
            case _:
                return _Answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not found.\n")


def _probe(verdict: ProbeResult) -> _Answer:
    status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
    body = json.dumps(verdict._asdict()).encode()
    return _Answer(status, "application/json", body + b"\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], answer: Callable[[str, str], _Answer], seconds: float
    ) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.answer = answer
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(_MAX_CLIENTS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        # A client that sends a byte now and then never runs into a socket's own timeout.
        dawdles = threading.Timer(self._seconds, _cut, (request,))
        dawdles.daemon = True
        dawdles.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            dawdles.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "customer-ai-events"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with head and body."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self._send(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Say nothing of requests: probes come every few seconds."""

    def _send(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        answer = self.server.answer(path, self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)


def _cut(connection: socket) -> None:
    try:
        connection.shutdown(SHUT_RDWR)
    except OSError:
        return  # it went away by itself
