"""A scripted inlet and token service on loopback: real sockets, every kind of bad answer."""

import asyncio
import json
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeAlias


@dataclass
class Request:
    """One request as the inlet saw it."""

    path: str
    headers: dict[str, str]
    body: bytes
    number: int
    ids: list[str] = field(default_factory=list)


Reaction: TypeAlias = Callable[[Request, asyncio.StreamWriter, "FakeInlet"], Awaitable[None]]


def items(
    request: Request, refused: dict[int, dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return the items of a 207 for a request, with some of them as given."""
    statuses = refused or {}
    return [
        {"xactionId": f"9341f8eb-0000-{i}"} | statuses.get(i, {}) for i in range(len(request.ids))
    ]


def answers(
    status: int, body: bytes | str | dict[str, Any] = b"", *, wait: float = 0, **headers: str
) -> Reaction:
    """Answer with this status and body."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else None
    raw = json.dumps(body).encode() if raw is None else raw
    head = {"Content-Length": str(len(raw))} | {k.replace("_", "-"): v for k, v in headers.items()}

    async def react(_: Request, writer: asyncio.StreamWriter, __: "FakeInlet") -> None:
        await asyncio.sleep(wait)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"HTTP/1.1 {status} Reason\r\n{lines}\r\n".encode() + raw)
        await writer.drain()

    return react


def accepts(
    refused: dict[int, dict[str, Any]] | None = None,
    *,
    wait: float = 0,
    order: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list,
) -> Reaction:
    """Accept every event but those listed, and answer 207 with the items in this order."""

    async def react(request: Request, writer: asyncio.StreamWriter, inlet: "FakeInlet") -> None:
        inlet.accepted += [id_ for i, id_ in enumerate(request.ids) if i not in (refused or {})]
        body = {"inletId": "i", "batchId": "b", "responses": order(items(request, refused))}
        await answers(207, body, wait=wait)(request, writer, inlet)

    return react


def refuses(is_bad: Callable[[str], bool]) -> Reaction:
    """Answer 400 to a whole request with a bad event, and accept the others."""

    async def react(request: Request, writer: asyncio.StreamWriter, inlet: "FakeInlet") -> None:
        if any(is_bad(id_) for id_ in request.ids):
            body = {"title": "Invalid XDM Message Format", "status": 400}
            await answers(400, body)(request, writer, inlet)
        else:
            await accepts()(request, writer, inlet)

    return react


def writes(raw: bytes) -> Reaction:
    """Write these bytes and close."""

    async def react(_: Request, writer: asyncio.StreamWriter, __: "FakeInlet") -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return react


def resets(*, accepted: bool = False) -> Reaction:
    """Reset the connection instead of answering, with the events accepted or not."""

    async def react(request: Request, writer: asyncio.StreamWriter, inlet: "FakeInlet") -> None:
        inlet.accepted += request.ids if accepted else []
        writer.transport.abort()

    return react


def drips(raw: bytes, every: float) -> Reaction:
    """Write one byte at a time, with a pause after each."""

    async def react(_: Request, writer: asyncio.StreamWriter, __: "FakeInlet") -> None:
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)

    return react


def hangs() -> Reaction:
    """Never answer."""

    async def react(_: Request, writer: asyncio.StreamWriter, __: "FakeInlet") -> None:
        await writer.wait_closed()

    return react


class FakeInlet:
    """Plays `script`, then `default`, one reaction a request; `ims_script` for tokens.

    `accepted` are the ids of all accepted events, in order, repeats included. While `token` is set,
    a request with another token is answered 401. `early` reactions come before `script`, right
    after a request's headers; its body is not read.
    """

    def __init__(self, script: Sequence[Reaction] = (), default: Reaction | None = None) -> None:
        self.script = deque(script)
        self.default = default or accepts()
        self.ims_script: deque[Reaction] = deque()
        self.early: deque[Reaction] = deque()
        self.requests: list[Request] = []
        self.token_requests: list[Request] = []
        self.accepted: list[str] = []
        self.token: str | None = None
        self.most_at_once = 0
        self._at_once = 0
        self._tokens = count(1)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Where a route's `inlet_url` points."""
        return f"http://127.0.0.1:{self.port}/collection/inlet"

    @property
    def token_url(self) -> str:
        """Where tokens are granted."""
        return f"http://127.0.0.1:{self.port}/ims/token/v3"

    @property
    def repeats(self) -> list[str]:
        """Ids of events that were accepted more than once."""
        return [id_ for id_, times in Counter(self.accepted).items() if times > 1]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 16)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        # First no more connections are accepted, then the accepted ones are served so that they are
        # among those to be closed; a server closed before that leaves them open (`Server._attach`).
        self._loop.remove_reader(server.sockets[0].fileno())
        for _ in range(3):
            self._loop.run_until_complete(asyncio.sleep(0))
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(_cancel(asyncio.all_tasks(self._loop)))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if self.early:
                    early = Request("", {}, b"", -1)
                    await self.early.popleft()(early, writer, self)
                    await writer.wait_closed()
                request = await self._read(head, reader)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    await self._reaction(request)(request, writer, self)
                finally:
                    self._at_once -= 1
        self._writers.discard(writer)
        writer.close()

    async def _read(self, head: bytes, reader: asyncio.StreamReader) -> Request:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines)
            if colon
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(first.split(" ")[1], headers, body, len(self.requests))

    def _reaction(self, request: Request) -> Reaction:
        if request.path.startswith("/ims/"):
            self.token_requests.append(request)
            return self.ims_script.popleft() if self.ims_script else self._grants()
        self.requests.append(request)
        messages = json.loads(request.body or b"{}").get("messages", [])
        request.ids = [message["body"]["xdmEntity"]["_id"] for message in messages]
        wanted = f"Bearer {self.token}"
        if self.token is not None and request.headers.get("authorization") != wanted:
            return answers(401, {"status": "401", "title": "Authorization"})
        return self.script.popleft() if self.script else self.default

    def _grants(self) -> Reaction:
        granted = f"token-{next(self._tokens)}"
        return answers(200, {"access_token": granted, "token_type": "bearer", "expires_in": 86399})


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
