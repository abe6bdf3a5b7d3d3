"""One poll's records on their way: delivered, then buried, then remembered, then settled.

What is forwarded is so by the time the rest is buried. The order is the guarantee. A batch only
ever moves on; what it waits for is asked, never awaited.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple

from processor.event import ScoreEvent
from processor.outcome import Fate, Reject
from processor.plan import Plan, Rejected
from processor.ports import (
    Buries,
    Delivers,
    Delivery,
    Forwards,
    Pending,
    Polled,
    Remembers,
    Supplies,
)
from processor.record import Partition, Record

__all__ = ["Batch", "Doors", "Phase", "Refusals"]


class Phase(Enum):
    """How far a batch has come; what it waits for is in the name."""

    DELIVERING = 1
    BURYING = 2
    IN_LINE = 3
    REMEMBERING = 4
    SETTLED = 5


class Doors(NamedTuple):
    """The doors of the house, left to right."""

    source: Supplies
    sink: Delivers
    dead_letters: Buries
    memory: Remembers
    forward: Forwards


class Refusals(NamedTuple):
    """Of so many events of one route that were answered, so many were refused."""

    refused: int
    sent: int


class Batch:
    """One poll's records, its plan, and the phase it is in.

    `partitions` are those whose records it holds, but for those that have left; `refusals` is what
    the inlet said, final once it is known.
    """

    def __init__(self, polled: Polled, plan: Plan, doors: Doors) -> None:
        self.polled = polled
        self.plan = plan
        self.phase = Phase.DELIVERING
        self.letters: list[Rejected] = list(plan.rejected)
        self.partitions = {Partition(each.topic, each.partition) for each in polled.records}
        self.unsettled = len(polled.records)
        self.size_bytes = sum(len(event.body) for event in plan.events)
        self.refusals: dict[str, Refusals] = {}
        self._doors = doors
        self._ticket = doors.memory.stage(plan.changes)
        self._delivery: Delivery = doors.sink.deliver(plan.events)
        self._forwarding: Pending = doors.forward.send(plan.forwards)
        self._pending: Pending = self._delivery

    def advance(self, *, may_remember: bool) -> None:
        """Move on as far as what is waited for allows.

        `may_remember` is False while an earlier batch has not begun to be remembered: state is
        written in the order it was planned in.
        """
        if self.phase is Phase.DELIVERING and self._delivery.done:
            self._take_refusals(self._delivery.refused)
            self._pending = self._doors.dead_letters.send(self.letters)
            self.phase = Phase.BURYING
        if self.phase is Phase.BURYING and self._pending.done and self._forwarding.done:
            self.phase = Phase.IN_LINE
        if self.phase is Phase.IN_LINE and may_remember:
            self._pending = self._doors.memory.remember(self._ticket)
            self.phase = Phase.REMEMBERING
        if self.phase is Phase.REMEMBERING and self._pending.done:
            self.phase = Phase.SETTLED

    def forget(self, gone: AbstractSet[Partition]) -> None:
        """Leave to their new owner the records of partitions that are ours no more.

        What is not known to be delivered by now is taken out of memory at once: if the partition
        comes back, its scores are new. What was not buried by now is buried by the new owner.
        """
        if not gone & self.partitions:
            return
        self.partitions -= gone
        self.unsettled = sum(map(self._ours, self.polled.records))
        if self.phase is Phase.DELIVERING:
            theirs = [event for event in self.plan.events if not self._ours(event.record)]
            self._doors.memory.withdraw(self._ticket, theirs)
            self.letters = [letter for letter in self.letters if self._ours(letter.record)]

    @property
    def remembered(self) -> bool:
        """Return True once remembering has at least begun."""
        return self.phase in (Phase.REMEMBERING, Phase.SETTLED)

    @property
    def accepted(self) -> Sequence[ScoreEvent]:
        """Return the events the inlet took; final once delivered."""
        return self._delivery.accepted

    def doubts(self, left: AbstractSet[Partition]) -> Iterator[tuple[ScoreEvent, str]]:
        """Yield the events that the dataset may come to hold twice, and why.

        They are those in doubt, and those that were accepted of partitions that were `left`
        uncommitted. To be asked once no answer can come any more.
        """
        yield from self._delivery.in_doubt
        if left:
            listed = {id(event) for event, _ in self._delivery.in_doubt}
            for event in self.accepted:
                record = event.record
                if (record.topic, record.partition) in left and id(event) not in listed:
                    yield event, "uncommitted"

    def fates(self, gone: AbstractSet[Partition]) -> Counter[tuple[str, Fate]]:
        """Count the records by topic and fate, but for these partitions; final once settled."""
        ends = zip(self.polled.records, self.plan.fates, strict=True)
        if not gone:
            return Counter((record.topic, fate) for record, fate in ends)
        return Counter(
            (record.topic, fate)
            for record, fate in ends
            if (record.topic, record.partition) not in gone
        )

    def _ours(self, record: Record) -> bool:
        return (record.topic, record.partition) in self.partitions

    def _take_refusals(self, refused: Sequence[tuple[ScoreEvent, Reject]]) -> None:
        """Make letters of what was refused; what is of partitions that left is another's to."""
        ours = [(event, reject) for event, reject in refused if self._ours(event.record)]
        self.refusals = _refusals(self.accepted, ours)
        if not ours:
            return
        self._doors.memory.withdraw(self._ticket, [event for event, _ in ours])
        self.letters += [Rejected(event.record, reject) for event, reject in ours]
        dead = {event.record.origin for event, _ in ours}
        for at, record in enumerate(self.polled.records):
            if record.origin in dead:
                self.plan.fates[at] = Fate.DEAD


def _refusals(
    accepted: Sequence[ScoreEvent], refused: Sequence[tuple[ScoreEvent, Reject]]
) -> dict[str, Refusals]:
    """Count by route: one inlet that refuses everything must not hide behind the others."""
    taken = Counter(event.route for event in accepted)
    turned = Counter(event.route for event, _ in refused)
    routes = taken.keys() | turned.keys()
    return {route: Refusals(turned[route], turned[route] + taken[route]) for route in routes}
