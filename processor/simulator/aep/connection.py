"""Answers on the wire, well or badly: whole, halved, dripping, padded, never."""

import asyncio
import socket
import struct
from email.utils import formatdate

import msgspec
from aiohttp import web

from processor.simulator.aep.answers import SimulatedResponse
from processor.simulator.aep.faults import FaultAction, ScriptedFault

_DRIPS = 20
_HOUR = 3_600.0


async def deliver(
    request: web.Request, answer: SimulatedResponse, fault: ScriptedFault | None
) -> tuple[web.StreamResponse, bool]:
    """Send an answer as the fault says; return it for aiohttp, and whether it went out whole."""
    match fault.act if fault else None:
        case FaultAction.HANG if fault:
            await asyncio.sleep(fault.delay or _HOUR)
            _cut(request)
        case FaultAction.RESET:
            _cut(request)
        case FaultAction.HALF:
            await _trickle(request, answer, answer.body[: len(answer.body) // 2], 0.0)
            _cut(request)
        case FaultAction.DRIP if fault:
            return await _trickle(request, answer, answer.body, fault.delay), True
        case FaultAction.SHORT:
            return _response(SimulatedResponse(answer.status, _without_last(answer.body))), True
        case FaultAction.HUGE if fault:
            padding = b',"padding":"' + b"x" * fault.size + b'"}'
            return _response(SimulatedResponse(answer.status, answer.body[:-1] + padding)), True
        case _:
            return _response(answer), True
    return _response(answer), False


def retry_after(text: str, now_ms: int) -> str:
    """Return a `Retry-After` value: `date:N` becomes the HTTP date N seconds ahead."""
    if text.startswith("date:"):
        return formatdate(now_ms / 1000 + float(text.removeprefix("date:")), usegmt=True)
    return text


def _response(answer: SimulatedResponse) -> web.Response:
    headers = {"Content-Type": "application/json", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _trickle(
    request: web.Request, answer: SimulatedResponse, sent: bytes, seconds: float
) -> web.StreamResponse:
    response = web.StreamResponse(
        status=answer.status, headers={"Content-Type": "application/json"}
    )
    response.content_length = len(answer.body)
    await response.prepare(request)
    step = max(1, len(sent) // _DRIPS) if seconds else max(1, len(sent))
    for start in range(0, len(sent), step):
        await response.write(sent[start : start + step])
        await asyncio.sleep(seconds / _DRIPS)
    return response


def _without_last(body: bytes) -> bytes:
    answer = msgspec.json.decode(body)
    if isinstance(answer, dict) and answer.get("responses"):
        answer["responses"].pop()
    return msgspec.json.encode(answer)


def _cut(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    wire = transport.get_extra_info("socket")
    if wire is not None:  # lingering zero seconds turns the close into a reset
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
