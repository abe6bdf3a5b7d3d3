"""Fakes for the doors of the corridor: small, honest, all writing to one list."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from processor.event import ScoreEvent
from processor.outcome import Reason, Reject, Stage
from processor.person import Person
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
    """One poll: its records, and which of them waited too long."""

    def __init__(self, records: Sequence[Record], overdue: frozenset[int] = frozenset()) -> None:
        self.records = records
        self.overdue = overdue

    def without(self, gone: AbstractSet[Partition]) -> "FakePolled":
        kept = [each for each in self.records if (each.topic, each.partition) not in gone]
        return FakePolled(kept)


class FakePending:
    """Done when told so, or when its question says so."""

    def __init__(self, done: Callable[[], bool]) -> None:
        self._done = done

    @property
    def done(self) -> bool:
        return self._done()


class FakeSource:
    """Polls what was queued; a held source polls nothing; commits what was settled."""

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
        self.happened.append(("polled", [record.offset for record in polled.records]))
        return polled

    def settle(self, polled: FakePolled) -> frozenset[Partition]:
        for record in polled.records:
            self._settled[record.topic, record.partition] = record.offset + 1
        return frozenset()

    def commit(self) -> None:
        if self._settled != self.committed:
            self.committed = dict(self._settled)
            self.happened.append(("committed", sorted(self.committed.values())))

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
    """Done once the sink has answered."""

    def __init__(self, sink: "FakeSink", events: Sequence[ScoreEvent]) -> None:
        self._sink = sink
        self.events = events
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.accepted: list[ScoreEvent] = []
        self._answered = not events

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

    def start(self) -> None:
        pass

    def deliver(self, events: Sequence[ScoreEvent]) -> FakeDelivery:
        return FakeDelivery(self, events)

    def answer(self, delivery: FakeDelivery) -> None:
        for event in delivery.events:
            if self.refuse_next:
                self.refuse_next -= 1
                reject = Reject(Stage.DELIVER, Reason.REFUSED, "The inlet said no.")
                delivery.refused.append((event, reject))
            else:
                delivery.accepted.append(event)
        self.accepted += delivery.accepted
        self.happened.append(("delivered", [event.record.offset for event in delivery.accepted]))

    def close(self, seconds: float) -> None:
        assert seconds >= 0


class FakeDeadLetters:
    """Buries letters at once, unless it is holding."""

    def __init__(self, happened: Happened, guard: Guards) -> None:
        self.happened = happened
        self.guard = guard
        self.buried: list[int] = []
        self.holding: str | None = None

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> FakePending:
        buried: list[bool] = []

        def done() -> bool:
            if not buried and self.holding is None:
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
        self._staged: dict[int, Mapping[Key, Person]] = {}
        self.withdrawn: list[str] = []
        self.restoring = False
        self.owned: set[int] = set()

    def ready(self, partition: int) -> bool:
        return partition in self.owned and not self.restoring

    def assign(self, partitions: Iterable[int]) -> None:
        self.owned |= set(partitions)

    def revoke(self, partitions: Iterable[int]) -> None:
        self.owned -= set(partitions)

    def recall(self, keys: Iterable[Key]) -> dict[Key, Person]:
        return {key: self.persons[key] for key in keys if key in self.persons}

    def stage(self, changes: Mapping[Key, Person]) -> int:
        self.persons.update(changes)
        ticket = len(self._staged)
        self._staged[ticket] = changes
        return ticket

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        assert ticket in self._staged
        self.withdrawn += [event.id for event in refused]

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
