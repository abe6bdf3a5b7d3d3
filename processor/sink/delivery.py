"""A delivery: the events of one call, and what became of each."""

import threading
from collections.abc import Sequence

from processor.event import ScoreEvent
from processor.outcome import Reject
from processor.sink.verdict import Cause

__all__ = ["Delivery"]


class Delivery:
    """What became of the events handed over in one call.

    `accepted`, `refused` and `in_doubt` are filled by the sink's own thread, so they may be read
    once the delivery is done or the sink is closed. Every event ends in one of the first two.
    `in_doubt` lists, once each, the events of which a request was not answered in a way we could
    understand: they are sent again, so the dataset may hold them twice. An outage never ends a
    delivery.
    """

    __slots__ = ("_finished", "_left", "accepted", "in_doubt", "refused")

    def __init__(self, events: Sequence[ScoreEvent]) -> None:
        self.accepted: list[ScoreEvent] = []
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.in_doubt: list[tuple[ScoreEvent, Cause]] = []
        self._left = len(events)
        self._finished = threading.Event()
        self._settle(0)

    @property
    def done(self) -> bool:
        """Whether every event was accepted or refused."""
        return self._left == 0

    def wait(self, seconds: float) -> bool:
        """Wait until the delivery is done, at most so many seconds, and return whether it is."""
        return self._finished.wait(seconds)

    def accept(self, events: list[ScoreEvent]) -> None:
        """Note that the inlet took these (the sink's own call)."""
        self.accepted += events
        self._settle(len(events))

    def refuse(self, event: ScoreEvent, reject: Reject) -> None:
        """Note that the inlet refused this one for good (the sink's own call)."""
        self.refused.append((event, reject))
        self._settle(1)

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._finished.set()
