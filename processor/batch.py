"""The life of one poll's records after the plan: delivered, dead-lettered, stored, settled.

The order of the phases is the delivery guarantee. Facts are repartitioned meanwhile, before
anything is stored. A batch only moves forward, and it never blocks: `advance` checks what it waits
for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from enum import Enum
from typing import NamedTuple, Protocol

from processor.backpressure import PauseReason
from processor.components import Components, Delivery, Pending, Poll
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Outcome, Reject
from processor.domain.record import Partition, Record
from processor.plan import Plan, Rejected
from processor.telemetry.labels import LoopStage, PauseCause, State


class Phase(Enum):
    """What a batch waits for."""

    DELIVERING = 1
    """For the inlet's responses."""
    DEAD_LETTERING = 2
    """For the dead letters and the repartitioned facts to be acknowledged."""
    QUEUED = 3
    """For the store of every earlier batch to have started."""
    STORING = 4
    """For its changes of person state to be durable."""
    SETTLED = 5


class Refusals(NamedTuple):
    """How many events of one route an inlet refused, of how many that had a response."""

    refused: int
    sent: int


class Batch:
    """One poll's records, their plan and the phase they are in.

    Constructing a batch starts it: its changes of state are staged, its events are handed to the
    sink and its messages to the repartition topic.

    `partitions` are the partitions of its records that are still assigned; `refusals` has an entry
    a route, final once delivered.
    """

    def __init__(self, poll: Poll, plan: Plan, components: Components) -> None:
        self.poll = poll
        self.plan = plan
        self.phase = Phase.DELIVERING
        self.rejected: list[Rejected] = list(plan.rejected)
        self.partitions = {Partition(each.topic, each.partition) for each in poll.records}
        self.unsettled = len(poll.records)
        self.size_bytes = sum(len(event.body) for event in plan.events)
        self.refusals: dict[str, Refusals] = {}
        self._components = components
        self._ticket = components.state_store.stage(plan.changes)
        self._repartitioning: Pending = components.repartition.send(plan.repartition_messages)
        # Last: what a fault interrupts before has sent nothing to an inlet.
        self._delivery: Delivery = components.sink.deliver(plan.events)
        self._pending: Pending = self._delivery

    def advance(self, *, may_store: bool) -> None:
        """Move on through as many phases as are done.

        `may_store` is False until the store of every earlier batch has started: changes of state
        are written in the order in which they were planned.
        """
        if self.phase is Phase.DELIVERING and self._delivery.done:
            self._dead_letter_refused(self._delivery.refused)
            self._pending = self._components.dead_letters.send(self.rejected)
            self.phase = Phase.DEAD_LETTERING
        if self.phase is Phase.DEAD_LETTERING and self._pending.done and self._repartitioning.done:
            self.phase = Phase.QUEUED
        if self.phase is Phase.QUEUED and may_store:
            self._pending = self._components.state_store.store(self._ticket)
            self.phase = Phase.STORING
        if self.phase is Phase.STORING and self._pending.done:
            self.phase = Phase.SETTLED

    def forget(self, revoked: AbstractSet[Partition]) -> None:
        """Leave the records of revoked partitions to their new owner.

        Scores that are not delivered by now are removed from the staged state at once: if the
        partition is assigned again, they are new. The new owner writes the dead letters, too.
        """
        if not revoked & self.partitions:
            return
        self.partitions -= revoked
        self.unsettled = sum(map(self._is_assigned, self.poll.records))
        if self.phase is Phase.DELIVERING:
            undelivered = [e for e in self.plan.events if not self._is_assigned(e.record)]
            self._components.state_store.withdraw(self._ticket, undelivered)
            self.rejected = [each for each in self.rejected if self._is_assigned(each.record)]

    @property
    def store_started(self) -> bool:
        """Return True once its changes of state are being stored, or are stored."""
        return self.phase in (Phase.STORING, Phase.SETTLED)

    @property
    def accepted(self) -> Sequence[ScoreEvent]:
        """Return the events the inlet accepted; final once delivered."""
        return self._delivery.accepted

    def in_doubt(self, uncommitted: AbstractSet[Partition]) -> Iterator[tuple[ScoreEvent, str]]:
        """Yield the events that may be in the dataset twice, with the cause.

        These are events whose response is unknown, and accepted events whose records are of
        `uncommitted` partitions. Final once no response can come any more.
        """
        yield from self._delivery.in_doubt
        if uncommitted:
            listed = {id(event) for event, _ in self._delivery.in_doubt}
            for event in self.accepted:
                record = event.record
                if (record.topic, record.partition) in uncommitted and id(event) not in listed:
                    yield event, "uncommitted"

    def outcomes(self, revoked: AbstractSet[Partition]) -> Counter[tuple[str, Outcome]]:
        """Count records by topic and outcome, without revoked partitions; final once settled."""
        ends = zip(self.poll.records, self.plan.outcomes, strict=True)
        if not revoked:
            return Counter((record.topic, outcome) for record, outcome in ends)
        return Counter(
            (record.topic, outcome)
            for record, outcome in ends
            if (record.topic, record.partition) not in revoked
        )

    def _is_assigned(self, record: Record) -> bool:
        return (record.topic, record.partition) in self.partitions

    def _dead_letter_refused(self, refused: Sequence[tuple[ScoreEvent, Reject]]) -> None:
        """Reject the records of refused events, but for those that a new owner reads again."""
        assigned = [(event, reject) for event, reject in refused if self._is_assigned(event.record)]
        self.refusals = _count_refusals(self.accepted, assigned)
        if not assigned:
            return
        self._components.state_store.withdraw(self._ticket, [event for event, _ in assigned])
        self.rejected += [Rejected(event.record, reject) for event, reject in assigned]
        origins = {event.record.origin for event, _ in assigned}
        for index, record in enumerate(self.poll.records):
            if record.origin in origins:
                self.plan.outcomes[index] = Outcome.DEAD_LETTERED


def _count_refusals(
    accepted: Sequence[ScoreEvent], refused: Sequence[tuple[ScoreEvent, Reject]]
) -> dict[str, Refusals]:
    """Count by route: an inlet that refuses everything must show beside others that do not."""
    accepts = Counter(event.route for event in accepted)
    refusals = Counter(event.route for event, _ in refused)
    routes = accepts.keys() | refusals.keys()
    return {route: Refusals(refusals[route], refusals[route] + accepts[route]) for route in routes}


class BatchObserver(Protocol):
    """Called by the loop with everything that happens; counts it and reports the state."""

    def loop_turned(self, unsettled: int) -> None:
        """Called at the end of every turn of the loop, with the number of unsettled records."""
        ...

    def stage_took(self, stage: LoopStage, seconds: float) -> None:
        """Called with the time a stage of the loop took."""
        ...

    def batch_planned(self, batch: Batch) -> None:
        """Called when a batch is planned and its delivery starts."""
        ...

    def batch_settled(self, batch: Batch, revoked: AbstractSet[Partition]) -> None:
        """Called when a batch is settled, except for the records of `revoked` partitions."""
        ...

    def batch_abandoned(self, batch: Batch) -> None:
        """Called with a batch that is not settled when the processor stops; the sink is closed."""
        ...

    def stop_phase(self, phase: str) -> AbstractContextManager[None]:
        """Return a context that measures a phase of the stop."""
        ...

    def status_checked(self, paused: Mapping[PauseCause, PauseReason], *, state: State) -> None:
        """Called on every turn with the reasons why intake is paused, and the state."""
        ...
