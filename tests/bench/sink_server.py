"""A lean inlet for benchmarks: reads the body, counts the events, answers 207 for each.

    python -m tests.bench.sink_server PORT DELAY_SECONDS

It is no simulator: nothing is validated, so that it costs a system as little as can be. `GET /`
returns what it has seen, as JSON; `DELETE /` resets that.
"""

import asyncio
import json
import re
import sys
from collections import deque
from datetime import datetime

from processor.domain.clock import SystemClock

_STAMP = re.compile(rb'"timestamp": ?"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MARK = b'"xdmEntity"'
_STAMPS_KEPT = 200_000


class _Seen:
    """What arrived. `delays` are seconds from an event's timestamp to its arrival."""

    def __init__(self) -> None:
        self.events = self.requests = self.octets = 0
        self.delays: deque[float] = deque(maxlen=_STAMPS_KEPT)

    def take(self, body: bytes) -> int:
        count = body.count(_MARK)
        self.events += count
        self.requests += 1
        self.octets += len(body)
        return count

    def time(self, body: bytes) -> None:
        now = SystemClock().now_ms() / 1000
        for stamp in _STAMP.findall(body):
            self.delays.append(now - datetime.fromisoformat(stamp.decode()).timestamp())

    def state(self) -> bytes:
        return json.dumps(
            {
                "events": self.events,
                "requests": self.requests,
                "bytes": self.octets,
                "delays": sorted(self.delays),
            }
        ).encode()


class _Inlet(asyncio.Protocol):
    """One connection: HTTP/1.1 with Content-Length, one request after the other."""

    def __init__(self, seen: list[_Seen], delay: float, *, timed: bool) -> None:
        self._seen = seen
        self._delay = delay
        self._timed = timed
        self._buffer = bytearray()
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._need:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _LENGTH.search(self._buffer, 0, head + 2)
            self._need = head + 4 + (int(length[1]) if length else 0)
            if b"\r\nexpect: 100" in self._buffer[:head].lower():
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(self._buffer) < self._need:
                return
            request, self._buffer = self._buffer[: self._need], self._buffer[self._need :]
            self._need = 0
            self._serve(bytes(request[:8]), bytes(request[head + 4 :]))

    def _serve(self, start: bytes, body: bytes) -> None:
        if start.startswith(b"GET"):
            self._answer(b"200 OK", self._seen[0].state())
        elif start.startswith(b"DELETE"):
            self._seen[0] = _Seen()
            self._answer(b"200 OK", b"{}")
        else:
            self._accept(body)

    def _accept(self, body: bytes) -> None:
        count = self._seen[0].take(body)
        if self._timed:
            self._seen[0].time(body)
        items = b",".join([b'{"xactionId":"bench-%d"}' % index for index in range(count)])
        answer = (
            b'{"inletId":"bench","batchId":"1:1:1","receivedTimeMs":1,"responses":[%s]}' % items
        )
        if self._delay:
            loop = asyncio.get_running_loop()
            loop.call_later(self._delay, self._answer, b"207 Multi-Status", answer)
        else:
            self._answer(b"207 Multi-Status", answer)

    def _answer(self, status: bytes, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )


async def _serve(port: int, delay: float, *, timed: bool) -> None:
    seen = [_Seen()]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Inlet(seen, delay, timed=timed), "127.0.0.1", port, backlog=256
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), timed=sys.argv[3:] == ["timed"]))
