"""The response of the inlet, read against the events that were sent.

The 207 comes in both shapes Adobe documents:
`{"responses": [{"xactionId": "...-0"}, {"statusCode": 400, "message": "..."}]}` (Adobe's tutorial),
or with `status` and an `xactionId` on refused items too (what inlets send). An item without a
status but with an `xactionId` was accepted. AEP's message about a refused event is redacted.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause, Reason, Reject, Stage
from processor.http.transport import HttpResponse, Reply
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
        message = _decoded(reply.body) if isinstance(reply, HttpResponse) else None
        return Assessment(refused=[(0, _refusal(events[0], verdict.cause, message))])
    if verdict.action is not Action.ITEMS or not isinstance(reply, HttpResponse):
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
    """Make the reject of an event that the inlet refuses permanently."""
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


# AEP's error texts quote the values they complain about. Of a text stay words of a closed
# vocabulary, names of keys, JSON pointers made of them, and error codes; all else becomes `…`.

_MAX_LENGTH = 400
_MAX_DEPTH = 8
_MAX_TEXTS = 8
_TEXT_KEYS = ("message", "title", "keyword", "pointerToViolation", "schemaLocation", "detail")
_TOKEN = re.compile(
    r"DC[A-Z]{2,3}-\d{4}-\d{3}|#?(?:/[\w@.-]*)+|\w+(?:[-@.:]\w+)*|[^\w\s]+|\s+", re.ASCII
)
_CODE = re.compile(r"DC[A-Z]{2,3}-\d{4}-\d{3}", re.ASCII)
_MARKS = frozenset((".", ",", ":", ";", "'", '"', "[", "]", "(", ")", "#", "'.", "],", ");"))
_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    a absent additional again all allowed an and any are array as at be between boolean but by can
    cannot conform contain contains correct could date date-time datetime decimal declared default
    did does double duplicate either element elements email empty enum equal error errors event
    exactly exceeded exceeds exclusive expected extraneous fail failed failing failure field fields
    for format found from given greater has have header id identity in incorrect integer invalid is
    it items json key keys length less long longer map match matches max maximum maxlength message
    messages min minimum minlength missing more must mandatory multiple name no not null number
    object of on one only or org other parse pattern permitted pointer present properties property
    provide provided range record reference required requires schema schemas schematype shorter
    should size source string subschema subschemas than that the then there this time timestamp to
    too try type types unable unexpected union unique unknown unsupported uri uri-reference valid
    validation validated value values violation violations was were when with within without wrong
    xdm body datasetid flowid imsorgid schemaref contenttype xdmmeta xdmentity createdat
    _id _repo eventtype identitymap producedby primary authenticatedstate definitions
""",
    )
)


def redact(message: Any, body: bytes) -> tuple[str, str]:  # noqa: ANN401  any JSON
    """Return of AEP's message a sentence for people and the pointer to the field it is about.

    `body` is the refused event: the names of its keys, never its values, belong to the vocabulary.
    """
    known = _WORDS | {key.lower() for key in _keys(_decoded(body))}
    texts = [text for _, text in _texts(message, _MAX_DEPTH)][:_MAX_TEXTS]
    pointers = [text for name, text in _texts(message, _MAX_DEPTH) if name == "pointerToViolation"]
    redacted = (_redacted_text(text[: 4 * _MAX_LENGTH], known) for text in texts)
    sentence = _collapsed("; ".join(redacted))
    pointer = _redacted_text(pointers[-1][:_MAX_LENGTH], known).lstrip("#") if pointers else ""
    return sentence[:_MAX_LENGTH], pointer


def _texts(value: Any, depth: int) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Walk AEP's message and yield the names and texts that describe the violation."""
    if isinstance(value, str):
        yield "message", value
    elif isinstance(value, dict) and depth:
        yield from ((name, value[name]) for name in _TEXT_KEYS if isinstance(value.get(name), str))
        for inner in value.values():
            if not isinstance(inner, str):
                yield from _texts(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value[:_MAX_TEXTS]:
            yield from _texts(inner, depth - 1)


def _redacted_text(text: str, known: frozenset[str]) -> str:
    return "".join(_redacted(token, known) for token in _TOKEN.findall(text))


def _redacted(token: str, known: frozenset[str]) -> str:
    if token.isspace():
        return " "
    if token.lower() in known or _CODE.fullmatch(token):
        return token
    if token.lstrip("#").startswith("/"):
        return "/".join(_redacted_step(step, known) for step in token.split("/"))
    return token if token in _MARKS else "…"


def _redacted_step(step: str, known: frozenset[str]) -> str:
    index = step.isdigit() and len(step) <= 3  # noqa: PLR2004  an index, never an id
    return step if index or step in ("", "#") or step.lower() in known else "…"


def _collapsed(text: str) -> str:
    return re.sub(r"…(?:[\s….,:;'\"\[\]()-]*…)+", "…", re.sub(r"\s+", " ", text)).strip()


def _keys(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
