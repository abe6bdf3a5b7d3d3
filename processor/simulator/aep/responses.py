"""HTTP responses of the simulator: bodies in Adobe's documented shapes, sent whole or damaged."""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.faults import FaultAction, ScriptedFault

_INLET = "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet"
_AUTHORIZATION = "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization"


class SimulatedResponse(msgspec.Struct, frozen=True):
    """Status, body and headers of a response; the body is JSON unless a header says otherwise."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


def json_response(status: int, content: object) -> SimulatedResponse:
    """Return a response with this content as JSON."""
    return SimulatedResponse(status, msgspec.json.encode(content))


def single_response(
    inlet_id: str, request_id: str, at_ms: int, sync: Mapping[str, Any] | None = None
) -> SimulatedResponse:
    """Return the 200 of a single message."""
    response = {"inletId": inlet_id, "xactionId": f"{request_id}-0", "receivedTimeMs": at_ms}
    return json_response(200, {**response, "syncValidation": sync} if sync else response)


def batch_response(
    inlet_id: str, request_id: str, at_ms: int, items: Mapping[int, bytes], count: int
) -> SimulatedResponse:
    """Return the 207 of a batch of `count` messages: `items` as given, all others accepted."""
    start = b'{"xactionId":"' + request_id.encode() + b"-"
    responses = [b'%s%d"}' % (start, index) for index in range(count)]
    for index, refusal in items.items():
        responses[index] = refusal
    body = b'{"inletId":%s,"batchId":%s,"receivedTimeMs":%d,"responses":[%s]}' % (
        msgspec.json.encode(inlet_id),
        msgspec.json.encode(f"{at_ms}:{request_id[:4]}:{count}"),
        at_ms,
        b",".join(responses),
    )
    return SimulatedResponse(207, body)


def refused_item(shape: str, status: int, message: str, xaction_id: str) -> bytes:
    """Return one refused response of a 207.

    `status` is the shape that Adobe's connector was seen to receive, `statusCode` the documented
    one, which has no `xactionId`.
    """
    if shape == "statusCode":
        return msgspec.json.encode({"statusCode": status, "message": message})
    return msgspec.json.encode({"xactionId": xaction_id, "status": status, "message": message})


def inlet_error(
    status: int, title: str, message: str, report: Sequence[dict[str, Any]] = ()
) -> SimulatedResponse:
    """Return an error of an inlet; `report` is a `_streamingValidation` list."""
    details: dict[str, Any] = {"message": message}
    if report:
        details["cause"] = {"_streamingValidation": list(report)}
    body = {"type": _INLET, "status": status, "title": title, "report": details}
    return json_response(status, body)


def unauthorized(status: int, message: str) -> SimulatedResponse:
    """Return a 401 or 403 of an inlet; `status` in its body is a string."""
    return json_response(
        status,
        {
            "type": _AUTHORIZATION,
            "status": str(status),
            "title": "Authorization",
            "report": {"message": f"[id] {message}"},
        },
    )


def gateway_error(status: int, code: str, message: str) -> SimulatedResponse:
    """Return an error of the API gateway in front of catalog and flow service."""
    return json_response(status, {"error_code": code, "message": message})


_DRIPS = 20
_HOUR = 3_600.0


async def send(
    request: web.Request, response: SimulatedResponse, fault: ScriptedFault | None
) -> tuple[web.StreamResponse, bool]:
    """Send a response as the fault says; return it for aiohttp, and whether it was sent whole."""
    match fault.action if fault else None:
        case FaultAction.HANG if fault:
            await asyncio.sleep(fault.delay or _HOUR)
            _cut(request)
        case FaultAction.RESET:
            _cut(request)
        case FaultAction.HALF:
            await _trickle(request, response, response.body[: len(response.body) // 2], 0.0)
            _cut(request)
        case FaultAction.DRIP if fault:
            return await _trickle(request, response, response.body, fault.delay), True
        case FaultAction.SHORT:
            return _response(SimulatedResponse(response.status, _without_last(response.body))), True
        case FaultAction.HUGE if fault:
            padding = b',"padding":"' + b"x" * fault.size + b'"}'
            return _response(SimulatedResponse(response.status, response.body[:-1] + padding)), True
        case _:
            return _response(response), True
    return _response(response), False


def scripted_response(fault: ScriptedFault, clock: Clock) -> SimulatedResponse:
    """Return the response that a fault puts in place of the real one."""
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = _retry_after(fault.retry_after, clock.now_ms())
    if fault.action is FaultAction.RESPONSE:
        return SimulatedResponse(fault.status, fault.body.encode(), headers)
    if fault.status in (401, 403):
        return unauthorized(fault.status, "Ims service token is not allowed")
    error = inlet_error(
        fault.status, "Scripted fault", f"A fault script sets status {fault.status}"
    )
    return SimulatedResponse(fault.status, error.body, headers)


def _retry_after(text: str, now_ms: int) -> str:
    """Return a `Retry-After` value: `date:N` becomes the HTTP date N seconds from now."""
    if text.startswith("date:"):
        return formatdate(now_ms / 1000 + float(text.removeprefix("date:")), usegmt=True)
    return text


def _response(response: SimulatedResponse) -> web.Response:
    headers = {"Content-Type": "application/json", **response.headers}
    return web.Response(status=response.status, body=response.body, headers=headers)


async def _trickle(
    request: web.Request, response: SimulatedResponse, sent: bytes, seconds: float
) -> web.StreamResponse:
    stream = web.StreamResponse(
        status=response.status, headers={"Content-Type": "application/json"}
    )
    stream.content_length = len(response.body)
    await stream.prepare(request)
    step = max(1, len(sent) // _DRIPS) if seconds else max(1, len(sent))
    for start in range(0, len(sent), step):
        await stream.write(sent[start : start + step])
        await asyncio.sleep(seconds / _DRIPS)
    return stream


def _without_last(body: bytes) -> bytes:
    response = msgspec.json.decode(body)
    if isinstance(response, dict) and response.get("responses"):
        response["responses"].pop()
    return msgspec.json.encode(response)


def _cut(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:  # a linger time of 0 turns the close into a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
