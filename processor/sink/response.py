"""The response of the inlet, read against the events that were sent.

The 207 comes in both shapes Adobe documents:
`{"responses": [{"xactionId": "...-0"}, {"statusCode": 400, "message": "..."}]}` (Adobe's tutorial),
or with `status` and an `xactionId` on refused items too (what inlets send). An item without a
status but with an `xactionId` was accepted.
"""

import re
from collections import defaultdict
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause, Reason, Reject, Stage
from processor.sink.redaction import redact
from processor.sink.transport import InletResponse, Reply
from processor.sink.verdict import SHAPE, Action, Verdict, judge, judge_item

_JSON = msgspec.json.Decoder()
_NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_TRAILING_INDEX = re.compile(r"-(0|[1-9]\d{0,5})\Z", re.ASCII)
_SECONDS = re.compile(r"\d{1,18}(?:\.\d{1,9})?", re.ASCII)


class Assessment(msgspec.Struct, frozen=True):
    """The events of a request by index; `retry` has for each verdict those to be sent again."""

    accepted: list[int] = []
    refused: list[tuple[int, Reject]] = []
    retry: dict[Verdict, list[int]] = {}

    @property
    def any_decided(self) -> bool:
        """Whether any event was accepted or refused."""
        return bool(self.accepted or self.refused)


class ItemStatus(msgspec.Struct, frozen=True):
    """The inlet's status of one event that it did not simply accept; `message` is its own text."""

    verdict: Verdict
    message: Any = None


def assess(reply: Reply, events: list[ScoreEvent]) -> Assessment:
    """Read a reply against the events that were sent."""
    verdict, everything = judge(reply), list(range(len(events)))
    if verdict.action is Action.SPLIT and len(events) == 1:
        message = _decoded(reply.body) if isinstance(reply, InletResponse) else None
        return Assessment(refused=[(0, _refusal(events[0], verdict.cause, message))])
    if verdict.action is not Action.ITEMS or not isinstance(reply, InletResponse):
        return Assessment(retry={verdict: everything})
    items = read_items(reply.body, len(events))
    if items is None:
        return Assessment(retry={SHAPE: everything})
    if not items:
        return Assessment(accepted=everything)
    return _by_item(items, events)


def read_items(body: bytes, count: int) -> dict[int, ItemStatus] | None:
    """Return the statuses by index in the request; an event without one was accepted.

    None means that the answer cannot be trusted: not JSON, no `responses`, another number of items
    than were sent, or items that name another index than their own.
    """
    document = _decoded(body)
    items = document.get("responses") if isinstance(document, dict) else None
    if not isinstance(items, list) or len(items) != count:
        return None
    statuses: dict[int, ItemStatus] = {}
    for index, item in enumerate(items):
        if type(item) is dict and len(item) == 1 and "xactionId" in item:
            continue
        status = _item_status(item)
        if status.verdict.action is not Action.ACCEPT:
            statuses[index] = status
    return _in_request_order(statuses, items) if statuses else statuses


def retry_after_seconds(header: str | None, now_ms: int, cap: float) -> float | None:
    """Return what a `Retry-After` header asks for, in seconds, at most `cap`.

    Source: RFC 9110 section 10.2.3, seconds or an HTTP date. None where there is none, where it
    makes no sense, and where it asks for no wait at all: then the sender's own back-off applies.
    """
    text = (header or "").strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now_ms)
    return min(seconds, cap) if seconds > 0 else None


def _by_item(items: dict[int, ItemStatus], events: list[ScoreEvent]) -> Assessment:
    refused: list[tuple[int, Reject]] = []
    retry: defaultdict[Verdict, list[int]] = defaultdict(list)
    for index, item in sorted(items.items()):
        verdict = item.verdict
        if verdict.action is Action.REFUSE:
            refused.append((index, _refusal(events[index], verdict.cause, item.message)))
        else:
            retry[verdict].append(index)
    accepted = [index for index in range(len(events)) if index not in items]
    return Assessment(accepted, refused, dict(retry))


def _refusal(event: ScoreEvent, cause: Cause, message: Any) -> Reject:  # noqa: ANN401  AEP's text
    """Make the reject of an event that the inlet refuses for good."""
    if cause is Cause.TOO_LARGE:
        detail = f"The event of {len(event.body)} bytes does not fit into a request."
        return Reject(Stage.DELIVER, Reason.EVENT_TOO_LARGE, detail, model=event.model)
    text, pointer = redact(message, event.body)
    detail = f"The inlet refused the event: {text}" if text else "The inlet refused the event."
    return Reject(Stage.DELIVER, Reason.REFUSED, detail, pointer, event.model)


def _item_status(item: object) -> ItemStatus:
    if not isinstance(item, dict):
        return ItemStatus(SHAPE)
    statuses = {_status(item[key]) for key in ("status", "statusCode") if key in item}
    message = item.get("message", item.get("report"))
    if not statuses and message is None and "xactionId" in item:
        return ItemStatus(judge_item(200))
    status = statuses.pop() if len(statuses) == 1 else None
    return ItemStatus(SHAPE if status is None else judge_item(status), message)


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:  # noqa: PLR2004
        return int(value)
    return value if type(value) is int else None


def _in_request_order(
    statuses: dict[int, ItemStatus], items: list[Any]
) -> dict[int, ItemStatus] | None:
    """Cross-check indexes by the number at the end of each `xactionId`, where there is one.

    Items in another order than the events were sent in are put back if every item has a number; a
    contradiction that cannot be solved makes the whole answer unknown.
    """
    named = {
        index: number for index, item in enumerate(items) if (number := _number(item)) is not None
    }
    # Numbers that all differ from the index by the same (0, or 1 where they count from one) agree.
    if len({number - index for index, number in named.items()}) <= 1:
        return statuses
    if sorted(named.values()) != list(range(len(items))):
        return None
    return {named[index]: status for index, status in statuses.items()}


def _number(item: object) -> int | None:
    name = item.get("xactionId") if isinstance(item, dict) else None
    found = _TRAILING_INDEX.search(name) if isinstance(name, str) else None
    return int(found[1]) if found else None


def _decoded(body: bytes) -> Any:  # noqa: ANN401  any JSON
    try:
        return _JSON.decode(body)
    except _NOT_JSON:
        return None


def _seconds_until(text: str, now_ms: int) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp() - now_ms / 1000
