"""A delivery: the events of one call, and what became of each."""

import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reject
from processor.domain.record import Partition
from processor.sink.verdict import Cause


class InletDelivery:
    """What became of the events handed over in one call.

    `accepted`, `refused`, `released` and `in_doubt` are filled by the sink's own thread, so they
    may be read once the delivery is done or the sink is closed. Every event ends in one of the
    first three; what was released is another's to send. `in_doubt` lists, once each, the events of
    which a request was not answered in a way we could understand: they are sent again, by us or by
    another, so the dataset may hold them twice. An outage never ends a delivery.
    """

    __slots__ = (
        "_finished",
        "_forgotten",
        "_left",
        "accepted",
        "in_doubt",
        "refused",
        "released",
    )

    def __init__(self, events: Sequence[ScoreEvent]) -> None:
        self.accepted: list[ScoreEvent] = []
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.released: list[ScoreEvent] = []
        self.in_doubt: list[tuple[ScoreEvent, Cause]] = []
        self._forgotten: AbstractSet[Partition] = frozenset()
        self._left = len(events)
        self._finished = threading.Event()
        self._settle(0)

    @property
    def done(self) -> bool:
        """Whether every event was accepted, refused or released."""
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

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Note that nothing of these partitions is to be sent any more (the sink's own call)."""
        self._forgotten |= partitions

    def forgets(self, event: ScoreEvent) -> bool:
        """Return whether this event is not to be sent any more (the sink's own call)."""
        record = event.record
        return bool(self._forgotten) and (record.topic, record.partition) in self._forgotten

    def release(self, event: ScoreEvent) -> None:
        """Note that this event will not be sent any more (the sink's own call)."""
        self.released.append(event)
        self._settle(1)

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._finished.set()
