"""The 207 answer, read item by item in both shapes Adobe documents.

`{"responses": [{"xactionId": "...-0"}, {"statusCode": 400, "message": "..."}]}` (Adobe's tutorial),
or with `status` and an `xactionId` on refused items too (what inlets send). An item without a
status but with an `xactionId` was accepted.
"""

import re
from typing import Any

import msgspec

from processor.sink.verdict import SHAPE, Action, Verdict, judge_item

_JSON = msgspec.json.Decoder()
_TRAILING_INDEX = re.compile(r"-(0|[1-9]\d{0,5})\Z", re.ASCII)


class ItemStatus(msgspec.Struct, frozen=True):
    """What the inlet says of one event that it did not simply accept; `words` are its own."""

    verdict: Verdict
    words: Any = None


def read_items(body: bytes, count: int) -> dict[int, ItemStatus] | None:
    """Return the remarks by position in the request; an event without one was accepted.

    None means that the answer cannot be trusted: not JSON, no `responses`, another number of items
    than were sent, or items that name other positions than they stand at.
    """
    items = _items(body)
    if items is None or len(items) != count:
        return None
    remarks: dict[int, ItemStatus] = {}
    for place, item in enumerate(items):
        if type(item) is dict and len(item) == 1 and "xactionId" in item:
            continue
        said = _said(item)
        if said.verdict.action is not Action.ACCEPT:
            remarks[place] = said
    return _at_their_places(remarks, items) if remarks else remarks


def _items(body: bytes) -> list[Any] | None:
    try:
        document = _JSON.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    items = document.get("responses") if isinstance(document, dict) else None
    return items if isinstance(items, list) else None


def _said(item: object) -> ItemStatus:
    if not isinstance(item, dict):
        return ItemStatus(SHAPE)
    spoken = {_status(item[key]) for key in ("status", "statusCode") if key in item}
    words = item.get("message", item.get("report"))
    if not spoken and words is None and "xactionId" in item:
        return ItemStatus(judge_item(200))
    status = spoken.pop() if len(spoken) == 1 else None
    return ItemStatus(SHAPE if status is None else judge_item(status), words)


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:  # noqa: PLR2004
        return int(value)
    return value if type(value) is int else None


def _at_their_places(
    remarks: dict[int, ItemStatus], items: list[Any]
) -> dict[int, ItemStatus] | None:
    """Cross-check positions by the index at the end of each `xactionId`, where there is one.

    Items in another order than the events were sent in are put back if every item has an index; a
    contradiction that cannot be solved makes the whole answer unknown.
    """
    named = {
        place: index for place, item in enumerate(items) if (index := _index(item)) is not None
    }
    if len({index - place for place, index in named.items()}) <= 1:
        return remarks
    if sorted(named.values()) != list(range(len(items))):
        return None
    return {named[place]: said for place, said in remarks.items()}


def _index(item: object) -> int | None:
    name = item.get("xactionId") if isinstance(item, dict) else None
    found = _TRAILING_INDEX.search(name) if isinstance(name, str) else None
    return int(found[1]) if found else None
