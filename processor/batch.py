"""Who is told what the loop does.

One poll's records on their way: delivered, then buried, then remembered, then settled.

What is forwarded is so by the time the rest is buried. The order is the guarantee. A batch only
ever moves on; what it waits for is asked, never awaited.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from enum import Enum
from typing import NamedTuple, Protocol

from processor.components import (
    DeadLetterSink,
    Delivery,
    Pending,
    Poll,
    RepartitionSink,
    Sink,
    Source,
    StateStore,
)
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Outcome, Reject
from processor.domain.record import Partition, Record
from processor.plan import Plan, Rejected
from processor.telemetry.health import State


class Phase(Enum):
    """How far a batch has come; what it waits for is in the name."""

    DELIVERING = 1
    DEAD_LETTERING = 2
    QUEUED = 3
    STORING = 4
    SETTLED = 5


class Components(NamedTuple):
    """The doors of the house, left to right."""

    source: Source
    sink: Sink
    dead_letters: DeadLetterSink
    state_store: StateStore
    repartition: RepartitionSink


class Refusals(NamedTuple):
    """Of so many events of one route that were answered, so many were refused."""

    refused: int
    sent: int


class Batch:
    """One poll's records, its plan, and the phase it is in.

    `partitions` are those whose records it holds, but for those that have left; `refusals` is what
    the inlet said, final once it is known.
    """

    def __init__(self, polled: Poll, plan: Plan, components: Components) -> None:
        self.polled = polled
        self.plan = plan
        self.phase = Phase.DELIVERING
        self.dead_letters: list[Rejected] = list(plan.rejected)
        self.partitions = {Partition(each.topic, each.partition) for each in polled.records}
        self.unsettled = len(polled.records)
        self.size_bytes = sum(len(event.body) for event in plan.events)
        self.refusals: dict[str, Refusals] = {}
        self._components = components
        self._ticket = components.state_store.stage(plan.changes)
        self._delivery: Delivery = components.sink.deliver(plan.events)
        self._repartitioning: Pending = components.repartition.send(plan.repartition_messages)
        self._pending: Pending = self._delivery

    def advance(self, *, may_store: bool) -> None:
        """Move on as far as what is waited for allows.

        `may_remember` is False while an earlier batch has not begun to be remembered: state is
        written in the order it was planned in.
        """
        if self.phase is Phase.DELIVERING and self._delivery.done:
            self._take_refusals(self._delivery.refused)
            self._pending = self._components.dead_letters.send(self.dead_letters)
            self.phase = Phase.DEAD_LETTERING
        if self.phase is Phase.DEAD_LETTERING and self._pending.done and self._repartitioning.done:
            self.phase = Phase.QUEUED
        if self.phase is Phase.QUEUED and may_store:
            self._pending = self._components.state_store.store(self._ticket)
            self.phase = Phase.STORING
        if self.phase is Phase.STORING and self._pending.done:
            self.phase = Phase.SETTLED

    def forget(self, gone: AbstractSet[Partition]) -> None:
        """Leave to their new owner the records of partitions that are ours no more.

        What is not known to be delivered by now is taken out of memory at once: if the partition
        comes back, its scores are new. What was not buried by now is buried by the new owner.
        """
        if not gone & self.partitions:
            return
        self.partitions -= gone
        self.unsettled = sum(map(self._is_ours, self.polled.records))
        if self.phase is Phase.DELIVERING:
            theirs = [event for event in self.plan.events if not self._is_ours(event.record)]
            self._components.state_store.withdraw(self._ticket, theirs)
            self.dead_letters = [
                dead_letter
                for dead_letter in self.dead_letters
                if self._is_ours(dead_letter.record)
            ]

    @property
    def remembered(self) -> bool:
        """Return True once remembering has at least begun."""
        return self.phase in (Phase.STORING, Phase.SETTLED)

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

    def outcomes(self, gone: AbstractSet[Partition]) -> Counter[tuple[str, Outcome]]:
        """Count the records by topic and fate, but for these partitions; final once settled."""
        ends = zip(self.polled.records, self.plan.outcomes, strict=True)
        if not gone:
            return Counter((record.topic, outcome) for record, outcome in ends)
        return Counter(
            (record.topic, outcome)
            for record, outcome in ends
            if (record.topic, record.partition) not in gone
        )

    def _is_ours(self, record: Record) -> bool:
        return (record.topic, record.partition) in self.partitions

    def _take_refusals(self, refused: Sequence[tuple[ScoreEvent, Reject]]) -> None:
        """Make letters of what was refused; what is of partitions that left is another's to."""
        ours = [(event, reject) for event, reject in refused if self._is_ours(event.record)]
        self.refusals = _refusals(self.accepted, ours)
        if not ours:
            return
        self._components.state_store.withdraw(self._ticket, [event for event, _ in ours])
        self.dead_letters += [Rejected(event.record, reject) for event, reject in ours]
        dead = {event.record.origin for event, _ in ours}
        for at, record in enumerate(self.polled.records):
            if record.origin in dead:
                self.plan.outcomes[at] = Outcome.DEAD_LETTERED


def _refusals(
    accepted: Sequence[ScoreEvent], refused: Sequence[tuple[ScoreEvent, Reject]]
) -> dict[str, Refusals]:
    """Count by route: one inlet that refuses everything must not hide behind the others."""
    taken = Counter(event.route for event in accepted)
    turned = Counter(event.route for event, _ in refused)
    routes = taken.keys() | turned.keys()
    return {route: Refusals(turned[route], turned[route] + taken[route]) for route in routes}


class BatchObserver(Protocol):
    """Who is told what happens; counts it, and says where the replica stands."""

    def turned(self, unsettled: int) -> None:
        """Hear that the loop turned, with so many records under way."""
        ...

    def busy(self, stage: str, seconds: float) -> None:
        """Hear how long a stage took."""
        ...

    def planned(self, batch: Batch) -> None:
        """Hear that a batch is under way."""
        ...

    def settled(self, batch: Batch, gone: AbstractSet[Partition]) -> None:
        """Hear that a batch is settled, but for partitions that were no longer ours."""
        ...

    def abandoned(self, batch: Batch) -> None:
        """Hear that a batch will not be settled here; the sink is closed."""
        ...

    def stopping(self, phase: str) -> AbstractContextManager[None]:
        """Hear of a phase of the stop, for as long as it lasts."""
        ...

    def stands(self, causes: Mapping[str, str], *, state: State) -> None:
        """Hear where the replica stands, and what intake is held for, by part."""
        ...
