"""The little server: metrics for Prometheus, probes for Kubernetes, one page for people.

It only reads, binds to loopback unless told otherwise, serves few clients at a time, and drops
those that dawdle. There is nothing to control here: control takes rights on Kafka or the machine.
"""

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from typing import Any, NamedTuple

from prometheus_client.exposition import choose_encoder

from processor.telemetry.health import Health, Verdict
from processor.telemetry.metrics import Metrics
from processor.telemetry.page import page

__all__ = ["TelemetryServer"]

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


def _probe(verdict: Verdict) -> _Answer:
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
