"""The simulator's answers as bytes, in the shapes Adobe documents and users have seen. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_INLET = "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet"
_AUTHORIZATION = "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization"


class SimulatedResponse(msgspec.Struct, frozen=True):
    """Status, body and headers of an answer; the body is JSON unless a header says otherwise."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


def json_answer(status: int, content: object) -> SimulatedResponse:
    """Return an answer with this content."""
    return SimulatedResponse(status, msgspec.json.encode(content))


def single_answer(
    inlet_id: str, request_id: str, at_ms: int, sync: Mapping[str, Any] | None = None
) -> SimulatedResponse:
    """Return the 200 of a single message."""
    answer = {"inletId": inlet_id, "xactionId": f"{request_id}-0", "receivedTimeMs": at_ms}
    return json_answer(200, {**answer, "syncValidation": sync} if sync else answer)


def batch_answer(
    inlet_id: str, request_id: str, at_ms: int, items: Mapping[int, bytes], count: int
) -> SimulatedResponse:
    """Return the 207 of a batch of `count`: `items` where given, else the message is accepted."""
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


def item(shape: str, status: int, message: str, xaction_id: str) -> bytes:
    """Return one refused response of a 207.

    `status` is the shape Adobe's connector was seen to get, `statusCode` the documented one, which
    has no `xactionId`.
    """
    if shape == "statusCode":
        return msgspec.json.encode({"statusCode": status, "message": message})
    return msgspec.json.encode({"xactionId": xaction_id, "status": status, "message": message})


def problem(
    status: int, title: str, message: str, report: Sequence[dict[str, Any]] = ()
) -> SimulatedResponse:
    """Return an inlet's problem; `report` is a `_streamingValidation` list."""
    words: dict[str, Any] = {"message": message}
    if report:
        words["cause"] = {"_streamingValidation": list(report)}
    return json_answer(status, {"type": _INLET, "status": status, "title": title, "report": words})


def unauthorized(status: int, message: str) -> SimulatedResponse:
    """Return an inlet's 401 or 403; the body's `status` is a string there."""
    return json_answer(
        status,
        {
            "type": _AUTHORIZATION,
            "status": str(status),
            "title": "Authorization",
            "report": {"message": f"[id] {message}"},
        },
    )


def gateway_problem(status: int, code: str, message: str) -> SimulatedResponse:
    """Return the API gateway's problem, as in front of catalog and flow service."""
    return json_answer(status, {"error_code": code, "message": message})
