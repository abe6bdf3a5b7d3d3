"""Fakes for the doors of the corridor: small, honest, all writing to one list."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from processor.components import AssignmentListener, RejectLimit
from processor.domain.errors import InvariantError
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Record
from processor.state.person import Person, PersonKey, without_score

__all__ = [
    "FakeDeadLetters",
    "FakeDelivery",
    "FakeForward",
    "FakeMemory",
    "FakePending",
    "FakePolled",
    "FakeSink",
    "FakeSource",
    "Happened",
]

Happened = list[tuple[object, ...]]


class FakePolled:
    """One poll: its records, which of them waited too long, and the assignment it is from."""

    def __init__(
        self, records: Sequence[Record], timed_out: frozenset[int] = frozenset(), epoch: int = 0
    ) -> None:
        self.records = records
        self.timed_out = timed_out
        self.epoch = epoch

    def without(self, gone: AbstractSet[Partition]) -> "FakePolled":
        kept = [each for each in self.records if (each.topic, each.partition) not in gone]
        return FakePolled(kept, epoch=self.epoch)


class FakePending:
    """Done when told so, or when its question says so."""

    def __init__(self, done: Callable[[], bool]) -> None:
        self._done = done

    @property
    def done(self) -> bool:
        return self._done()


class FakeSource:
    """Polls what was queued, a list a poll; nothing while held; commits the settled prefix.

    It is given `group` by its first poll. What was polled and not committed when its partitions
    went is polled again: by itself when all were lost and came back, or by the `next_member`. What
    is settled of an assignment that is over is ignored.
    """

    def __init__(self, happened: Happened, polls: Iterable[Sequence[Record]] = ()) -> None:
        self.happened = happened
        self.polls = deque(FakePolled(records) for records in polls)
        self.causes: set[str] = set()
        self.group = frozenset(map(Partition, ("customer-ai-scores", "experience-events"), (0, 0)))
        self.assigned: frozenset[Partition] = frozenset()
        self.waiting_records = 0
        self.commit_overdue: str | None = None
        self.confirms = True
        self.committed: dict[tuple[str, int], int] = {}
        self._joining: AssignmentListener | None = None
        self._uncommitted: list[Record] = []
        self._settled: set[str] = set()
        self._epoch = 0

    def add(self, records: Sequence[Record]) -> None:
        self.polls.append(FakePolled(records))

    def start(self, follower: AssignmentListener) -> None:
        self.happened.append(("joined",))
        self._joining = follower

    def poll(self, seconds: float) -> FakePolled:
        assert seconds >= 0
        if self._joining is not None:
            follower, self._joining, self.assigned = self._joining, None, self.group
            follower.assigned(sorted(self.assigned))
        if self.causes or not self.polls:
            return FakePolled([])
        polled = self.polls.popleft()
        polled.epoch = self._epoch
        self._uncommitted += polled.records
        self.happened.append(("polled", [record.offset for record in polled.records]))
        return polled

    def settle(self, polled: FakePolled) -> frozenset[Partition]:
        places = frozenset(_place(record) for record in polled.records)
        gone = places if polled.epoch != self._epoch else places - self.assigned
        self._settled |= {each.origin for each in polled.records if _place(each) not in gone}
        return gone

    def commit(self) -> None:
        ends, ended = dict(self.committed), set[Partition]()
        for record in self._uncommitted:
            place = _place(record)
            if record.origin not in self._settled:
                ended.add(place)
            elif place not in ended:
                ends[place] = record.offset + 1
        if ends != self.committed:
            self.committed = ends
            self._uncommitted = [each for each in self._uncommitted if self._open(each)]
            self.happened.append(("committed", sorted(ends.values())))

    def lose(self, follower: AssignmentListener) -> None:
        """Lose all partitions, without a commit, and get them back at once."""
        lost, self.assigned = self.assigned, frozenset()
        if lost:
            self._rewind()
            follower.gone(sorted(lost))
            self.assigned = lost
            follower.assigned(sorted(lost))

    def next_member(self) -> "FakeSource":
        """Return who goes on where the group left off, once this one is closed."""
        self._rewind()
        other = FakeSource(self.happened)
        other.polls, other.group, other.committed = self.polls, self.group, self.committed
        return other

    def pause(self, cause: str) -> None:
        self.causes.add(cause)
        self.happened.append(("held", cause))

    def resume(self, cause: str) -> None:
        self.causes.discard(cause)
        self.happened.append(("released", cause))

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        if self.confirms:
            self.commit()
        self.assigned = frozenset()
        self.happened.append(("left",))
        return self.confirms

    def _open(self, record: Record) -> bool:
        return record.offset >= self.committed.get(_place(record), 0)

    def _rewind(self) -> None:
        if self._uncommitted:
            self.polls.appendleft(FakePolled(self._uncommitted))
        self._uncommitted, self._settled = [], set()
        self._epoch += 1


class FakeDelivery:
    """Done once the sink has answered, or all of it was forgotten."""

    def __init__(self, sink: "FakeSink", events: Sequence[ScoreEvent]) -> None:
        self._sink = sink
        self.events = events
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.accepted: list[ScoreEvent] = []
        self.in_doubt: list[tuple[ScoreEvent, str]] = []
        self._answered = not events

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        if not self._answered:
            kept = [e for e in self.events if _place(e.record) not in partitions]
            self._answered = not kept
            self.events = kept

    def stop(self) -> None:
        if not self._answered and self._sink.slow:
            self.in_doubt += [(event, "stopped") for event in self.events]

    @property
    def done(self) -> bool:
        if not self._answered and self._sink.answering:
            self._answered = True
            self._sink.answer(self)
        return self._answered


class FakeSink:
    """Accepts all but the next few it was told to refuse; nothing while holding or slow."""

    def __init__(self, happened: Happened) -> None:
        self.happened = happened
        self.unavailable_reason: str | None = None
        self.slow = False
        self.refuse_next = 0
        self.accepted: list[ScoreEvent] = []
        self.doubt_next = 0
        self._deliveries: list[FakeDelivery] = []
        self._closed = False

    @property
    def answering(self) -> bool:
        return self.unavailable_reason is None and not self.slow and not self._closed

    def start(self) -> None:
        pass

    def deliver(self, events: Sequence[ScoreEvent]) -> FakeDelivery:
        delivery = FakeDelivery(self, events)
        self._deliveries.append(delivery)
        return delivery

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        for delivery in self._deliveries:
            delivery.forget(partitions)

    def answer(self, delivery: FakeDelivery) -> None:
        for event in delivery.events:
            if self.doubt_next:
                self.doubt_next -= 1
                delivery.in_doubt.append((event, "reset"))
            if self.refuse_next:
                self.refuse_next -= 1
                reject = Reject(Stage.DELIVER, Reason.REFUSED, "The inlet said no.")
                delivery.refused.append((event, reject))
            else:
                delivery.accepted.append(event)
        self.accepted += delivery.accepted
        self.happened.append(("delivered", [event.record.offset for event in delivery.accepted]))

    def close(self, seconds: float) -> None:
        """Close; what was under way then is in doubt, and nothing is answered any more."""
        assert seconds >= 0
        self._closed = True
        for delivery in self._deliveries:
            delivery.stop()


class FakeDeadLetters:
    """Buries letters at once, or at a later poll where it is holding or slow."""

    def __init__(self, happened: Happened, guard: RejectLimit) -> None:
        self.happened = happened
        self.guard = guard
        self.buried: list[int] = []
        self.rejects: list[Reject] = []
        self.unavailable_reason: str | None = None
        self.slow = False
        self._unwritten: list[deque[tuple[Record, Reject]]] = []

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> FakePending:
        waiting = deque(dead_letters)
        self._unwritten.append(waiting)
        self.poll()
        return FakePending(lambda: not waiting)

    def poll(self) -> None:
        if self.unavailable_reason is not None or self.slow:
            return
        for waiting in self._unwritten:
            while waiting:
                record, reject = waiting.popleft()
                self.buried.append(record.offset)
                self.rejects.append(reject)
                self.happened.append(("buried", record.offset, reject.reason.value))
        self._unwritten.clear()

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        self.poll()
        return not any(self._unwritten)


class FakeMemory:
    """Keeps persons in a dictionary; what is staged is seen at once and durable when remembered.

    While it is holding nothing becomes durable. `durable` is what a `successor` begins with.
    """

    def __init__(self, happened: Happened, durable: dict[PersonKey, Person] | None = None) -> None:
        self.happened = happened
        self.unavailable_reason: str | None = None
        self.persons: dict[PersonKey, Person] = {}
        self.durable: dict[PersonKey, Person] = {} if durable is None else durable
        self._staged: dict[int, dict[PersonKey, Person]] = {}
        self._waiting: deque[int] = deque()
        self.withdrawn: list[str] = []
        self.restoring = False
        self.owned: set[int] = set()

    def successor(self) -> "FakeMemory":
        """Return another replica's memory on the same changelog."""
        return FakeMemory(self.happened, self.durable)

    def ready(self, partition: int) -> bool:
        return partition in self.owned and not self.restoring

    def assign(self, partitions: Iterable[int]) -> None:
        new = set(partitions) - self.owned
        self.owned |= new
        self.persons |= {key: person for key, person in self.durable.items() if key[0] in new}

    def revoke(self, partitions: Iterable[int]) -> None:
        gone = set(partitions)
        self.owned -= gone
        for persons in (*self._staged.values(), self.persons):
            for key in [key for key in persons if key[0] in gone]:
                del persons[key]

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        asked = list(keys)
        if not all(self.ready(partition) for partition, _ in asked):
            raise InvariantError("A partition is not restored.")
        return {key: self.persons[key] for key in asked if key in self.persons}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        self.persons.update(changes)
        ticket = len(self._staged)
        self._staged[ticket] = dict(changes)
        return ticket

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        assert ticket in self._staged
        self.withdrawn += [event.id for event in refused]
        since = [persons for one, persons in self._staged.items() if one >= ticket]
        for event in refused:
            key = event.record.partition, event.person
            for persons in (*since, self.persons):
                if key in persons:
                    persons[key] = _without(persons[key], event)

    def store(self, ticket: int) -> FakePending:
        self._waiting.append(ticket)
        self.poll()
        return FakePending(lambda: ticket not in self._waiting)

    def poll(self) -> None:
        while self._waiting and self.unavailable_reason is None:
            changes = self._staged[self._waiting.popleft()]
            self.durable.update(changes)
            if changes:
                self.happened.append(("stored", len(changes)))

    def close(self, seconds: float) -> None:
        assert seconds >= 0
        self.poll()


class FakeForward:
    """Takes messages at once, unless it is holding."""

    def __init__(self, happened: Happened) -> None:
        self.happened = happened
        self.unavailable_reason: str | None = None
        self.written: list[tuple[bytes, bytes]] = []

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> FakePending:
        left = list(messages)

        def done() -> bool:
            if left and self.unavailable_reason is None:
                self.written += left
                self.happened.append(("repartitioned", len(left)))
                left.clear()
            return not left

        return FakePending(done)

    def poll(self) -> None:
        pass

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        return True


def _place(record: Record) -> Partition:
    return Partition(record.topic, record.partition)


def _without(person: Person, event: ScoreEvent) -> Person:
    return without_score(
        person,
        event.model,
        scored_at_ms=event.scored_at_ms,
        event_id=event.id,
        digest=event.digest,
    )
