"""What a reply means for each event of a request: accepted, refused, or to be sent again."""

from collections import defaultdict
from typing import Any

import msgspec

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason, Reject, Stage
from processor.sink.answer import ItemStatus, read_items
from processor.sink.redactor import redact
from processor.sink.reply import InletResponse, Reply
from processor.sink.verdict import SHAPE, Action, Cause, Verdict, judge


class Assessment(msgspec.Struct, frozen=True):
    """The events of a request by position; `again` tells for each verdict which it concerns."""

    accepted: list[int] = []
    refused: list[tuple[int, Reject]] = []
    again: dict[Verdict, list[int]] = {}

    @property
    def moved(self) -> bool:
        """Whether any event reached its end."""
        return bool(self.accepted or self.refused)


def assess(reply: Reply, events: list[ScoreEvent]) -> Assessment:
    """Read a reply against the events that were sent."""
    verdict, everything = judge(reply), list(range(len(events)))
    if verdict.action is Action.SPLIT and len(events) == 1:
        words = _words(reply.body) if isinstance(reply, InletResponse) else None
        return Assessment(refused=[(0, refusal(events[0], verdict.cause, words))])
    if verdict.action is not Action.ITEMS or not isinstance(reply, InletResponse):
        return Assessment(again={verdict: everything})
    remarks = read_items(reply.body, len(events))
    if remarks is None:
        return Assessment(again={SHAPE: everything})
    if not remarks:
        return Assessment(accepted=everything)
    return _by_item(remarks, events)


def refusal(event: ScoreEvent, cause: Cause, words: Any) -> Reject:  # noqa: ANN401  AEP's words
    """Make the reject of an event that the inlet refuses for good."""
    if cause is Cause.TOO_LARGE:
        detail = f"The event of {len(event.body)} bytes does not fit into a request."
        return Reject(Stage.DELIVER, Reason.EVENT_TOO_LARGE, detail, model=event.model)
    said, pointer = redact(words, event.body)
    detail = f"The inlet refused the event: {said}" if said else "The inlet refused the event."
    return Reject(Stage.DELIVER, Reason.REFUSED, detail, pointer, event.model)


def _by_item(remarks: dict[int, ItemStatus], events: list[ScoreEvent]) -> Assessment:
    refused: list[tuple[int, Reject]] = []
    again: defaultdict[Verdict, list[int]] = defaultdict(list)
    for place, said in sorted(remarks.items()):
        verdict = said.verdict
        if verdict.action is Action.REFUSE:
            refused.append((place, refusal(events[place], verdict.cause, said.words)))
        else:
            again[verdict].append(place)
    accepted = [place for place in range(len(events)) if place not in remarks]
    return Assessment(accepted, refused, dict(again))


def _words(body: bytes) -> Any:  # noqa: ANN401  AEP's words
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
