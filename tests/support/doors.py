"""Fakes for the doors of the corridor: small, honest, all writing to one list."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from processor.event import ScoreEvent
from processor.outcome import Reason, Reject, Stage
from processor.person import Person, without_score
from processor.ports import Follows, Guards, Key
from processor.record import Partition, Record

__all__ = [
    "FakeDeadLetters",
    "FakeDelivery",
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
        self, records: Sequence[Record], overdue: frozenset[int] = frozenset(), epoch: int = 0
    ) -> None:
        self.records = records
        self.overdue = overdue
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
    """Polls what was queued; a held source polls nothing; commits what was settled.

    What was polled and not committed when all partitions were lost is polled again when they are
    back; what is settled of it later is ignored.
    """

    def __init__(self, happened: Happened, polls: Iterable[Sequence[Record]] = ()) -> None:
        self.happened = happened
        self.polls = deque(FakePolled(records) for records in polls)
        self.causes: set[str] = set()
        self.assigned: frozenset[Partition] = frozenset({Partition("customer-ai-scores", 0)})
        self.kept_back = 0
        self.overdue: str | None = None
        self.confirms = True
        self._settled: dict[tuple[str, int], int] = {}
        self.committed: dict[tuple[str, int], int] = {}
        self._given: list[Record] = []
        self._epoch = 0

    def add(self, records: Sequence[Record]) -> None:
        self.polls.append(FakePolled(records))

    def start(self, follower: Follows) -> None:
        self.happened.append(("joined",))
        follower.assigned(sorted(self.assigned))

    def poll(self, seconds: float) -> FakePolled:
        assert seconds >= 0
        if self.causes or not self.polls:
            return FakePolled([])
        polled = self.polls.popleft()
        polled.epoch = self._epoch
        self._given += polled.records
        self.happened.append(("polled", [record.offset for record in polled.records]))
        return polled

    def settle(self, polled: FakePolled) -> frozenset[Partition]:
        if polled.epoch != self._epoch:
            return frozenset(Partition(each.topic, each.partition) for each in polled.records)
        for record in polled.records:
            self._settled[record.topic, record.partition] = record.offset + 1
        return frozenset()

    def commit(self) -> None:
        if self._settled != self.committed:
            self.committed = dict(self._settled)
            self.happened.append(("committed", sorted(self.committed.values())))

    def lose(self, follower: Follows) -> None:
        """Lose all partitions, without a commit, and get them back at once."""
        lost, self.assigned = self.assigned, frozenset()
        self._epoch += 1
        self._settled = dict(self.committed)
        follower.gone(sorted(lost))
        again = [
            each
            for each in self._given
            if each.offset >= self.committed.get((each.topic, each.partition), 0)
        ]
        self._given = []
        if again:
            self.polls.appendleft(FakePolled(again))
        self.assigned = lost
        follower.assigned(sorted(lost))

    def hold(self, cause: str) -> None:
        self.causes.add(cause)
        self.happened.append(("held", cause))

    def release(self, cause: str) -> None:
        self.causes.discard(cause)
        self.happened.append(("released", cause))

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        self.commit()
        self.happened.append(("left",))
        return self.confirms


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
        if not self._answered and self._sink.holding is None and not self._sink.slow:
            self._answered = True
            self._sink.answer(self)
        return self._answered


class FakeSink:
    """Accepts all but the next few it was told to refuse; nothing while holding or slow."""

    def __init__(self, happened: Happened) -> None:
        self.happened = happened
        self.holding: str | None = None
        self.slow = False
        self.refuse_next = 0
        self.accepted: list[ScoreEvent] = []
        self.doubt_next = 0
        self._deliveries: list[FakeDelivery] = []

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
        """Close; what was under way then is in doubt."""
        assert seconds >= 0
        for delivery in self._deliveries:
            delivery.stop()


class FakeDeadLetters:
    """Buries letters at once, unless it is holding or slow."""

    def __init__(self, happened: Happened, guard: Guards) -> None:
        self.happened = happened
        self.guard = guard
        self.buried: list[int] = []
        self.holding: str | None = None
        self.slow = False

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> FakePending:
        buried: list[bool] = []

        def done() -> bool:
            if not buried and self.holding is None and not self.slow:
                buried.append(True)
                for record, reject in letters:
                    self.buried.append(record.offset)
                    self.happened.append(("buried", record.offset, reject.reason.value))
            return bool(buried)

        return FakePending(done)

    def poll(self) -> None:
        pass

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        return True


class FakeMemory:
    """Keeps persons in a dictionary; what is staged is seen at once and durable when remembered."""

    def __init__(self, happened: Happened) -> None:
        self.happened = happened
        self.holding: str | None = None
        self.persons: dict[Key, Person] = {}
        self.durable: dict[Key, Person] = {}
        self._staged: dict[int, dict[Key, Person]] = {}
        self.withdrawn: list[str] = []
        self.restoring = False
        self.owned: set[int] = set()

    def ready(self, partition: int) -> bool:
        return partition in self.owned and not self.restoring

    def assign(self, partitions: Iterable[int]) -> None:
        self.owned |= set(partitions)

    def revoke(self, partitions: Iterable[int]) -> None:
        gone = set(partitions)
        self.owned -= gone
        for persons in (*self._staged.values(), self.persons):
            for key in [key for key in persons if key[0] in gone]:
                del persons[key]
        self.persons |= {key: self.durable[key] for key in self.durable if key[0] in gone}

    def recall(self, keys: Iterable[Key]) -> dict[Key, Person]:
        return {key: self.persons[key] for key in keys if key in self.persons}

    def stage(self, changes: Mapping[Key, Person]) -> int:
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

    def remember(self, ticket: int) -> FakePending:
        changes = self._staged[ticket]
        self.durable.update(changes)
        if changes:
            self.happened.append(("remembered", len(changes)))
        return FakePending(lambda: True)

    def poll(self) -> None:
        pass

    def close(self, seconds: float) -> None:
        assert seconds >= 0


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
