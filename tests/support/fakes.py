"""Fakes of the components of a stream: small implementations that record to one list of steps."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from processor.components import RecordReader, RejectLimit
from processor.domain.errors import InvariantError, StopError, UnavailableError
from processor.domain.event import DecodedRecord, RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import AssignmentListener, Partition, Position, Record
from processor.state.person import Person, PersonKey, without_score

Steps = list[tuple[object, ...]]
"""What happened, in order: the name of a step, then its details."""


class FakePoll:
    """One poll: its records, the indexes of those that timed out, and its assignment's epoch."""

    def __init__(
        self, records: Sequence[Record], timed_out: frozenset[int] = frozenset(), epoch: int = 0
    ) -> None:
        self.records = records
        self.timed_out = timed_out
        self.epoch = epoch

    def without(self, gone: AbstractSet[Partition]) -> "FakePoll":
        records = [each for each in self.records if (each.topic, each.partition) not in gone]
        return FakePoll(records, epoch=self.epoch)


class FakePending:
    """Done when the function it is given returns True."""

    def __init__(self, done: Callable[[], bool]) -> None:
        self._done = done

    @property
    def done(self) -> bool:
        return self._done()


class FakeReader:
    """Reads as a real reader does; has no schemas while `unavailable_reason` is set."""

    def __init__(self, reader: RecordReader) -> None:
        self.unavailable_reason: str | None = None
        self._reader = reader

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        if self.unavailable_reason is not None and records:
            raise UnavailableError("registry", self.unavailable_reason)
        return self._reader.fetch_schemas(records)

    def read(self, record: Record) -> DecodedRecord:
        return self._reader.read(record)


class FakeSource:
    """Polls the queued lists one by one, nothing that is paused; commits the settled prefix.

    Its first poll assigns the partitions of `group`. Records that were polled and not committed
    when their partitions were revoked are polled again: by the same source where all were lost and
    assigned again, or by the `next_member`. Settling a poll of an earlier assignment is ignored.
    """

    def __init__(self, steps: Steps, polls: Iterable[Sequence[Record]] = ()) -> None:
        self.steps = steps
        self.polls = deque(FakePoll(records) for records in polls)
        self.causes: set[str] = set()
        self.paused: dict[str, set[Partition]] = {}
        self.group = frozenset(map(Partition, ("customer-ai-scores", "experience-events"), (0, 0)))
        self.assigned: frozenset[Partition] = frozenset()
        self.waiting_records = 0
        self.commit_overdue_reason: str | None = None
        self.topic_fault_reason: str | None = None
        self.unread: frozenset[Partition] = frozenset()
        self.confirms = True
        self.stop_error: StopError | None = None
        self.accepted_gaps: list[Partition] = []
        self.topic_ids: dict[str, str] = {}
        self.lost: set[Partition] = set()
        self.committed: dict[tuple[str, int], int] = {}
        self.is_member = False
        self._joining: AssignmentListener | None = None
        self._left = False
        self._uncommitted: list[Record] = []
        self._settled: set[str] = set()
        self._epoch = 0

    def add(self, records: Sequence[Record]) -> None:
        self.polls.append(FakePoll(records))

    def start(self, listener: AssignmentListener) -> None:
        self.steps.append(("joined",))
        self._joining = listener

    def poll(self, seconds: float) -> FakePoll:
        assert seconds >= 0
        if self.stop_error is not None:
            error, self.stop_error = self.stop_error, None
            self.lost.update(error.gaps)
            raise error
        if self._joining is not None:
            listener, self._joining, self.assigned = self._joining, None, self.group
            self.is_member = True
            listener.assigned(sorted(self.assigned))
        if self.causes or (polled := self._take()) is None:
            return FakePoll([])
        polled.epoch = self._epoch
        self._uncommitted += polled.records
        self.steps.append(("polled", [record.offset for record in polled.records]))
        return polled

    def accept_gaps(self, partitions: Iterable[Partition]) -> None:
        accepted = list(partitions)
        self.accepted_gaps += accepted
        self.lost.difference_update(accepted)

    def topic_id(self, topic: str) -> str:
        return self.topic_ids.get(topic, "")

    def committed_offset(self, partition: Partition) -> int | None:
        known = partition in self.assigned and partition not in self.lost
        return self.committed.get(partition) if known else None

    def settle(self, polled: FakePoll) -> frozenset[Partition]:
        partitions = frozenset(map(_partition, polled.records))
        gone = partitions if polled.epoch != self._epoch else partitions - self.assigned
        self._settled |= {each.origin for each in polled.records if _partition(each) not in gone}
        return gone

    def commit(self) -> None:
        offsets, blocked = dict(self.committed), set[Partition]()
        for record in self._uncommitted:
            partition = _partition(record)
            if record.origin not in self._settled:
                blocked.add(partition)
            elif partition not in blocked:
                offsets[partition] = record.offset + 1
        if offsets != self.committed:
            self.committed = offsets
            self._uncommitted = [each for each in self._uncommitted if self._is_uncommitted(each)]
            self.steps.append(("committed", sorted(offsets.values())))

    def lose(self, listener: AssignmentListener) -> None:
        """Lose all partitions, without a commit, and have them assigned again at once."""
        lost, self.assigned = self.assigned, frozenset()
        if lost:
            self._rewind()
            self.paused.clear()
            listener.revoked(sorted(lost))
            self.assigned = lost
            listener.assigned(sorted(lost))

    def next_member(self) -> "FakeSource":
        """Return a source that continues from the group's commits, once this one is closed."""
        self._rewind()
        other = FakeSource(self.steps)
        other.polls, other.group, other.committed = self.polls, self.group, self.committed
        return other

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        if partitions is None:
            self.causes.add(cause)
            self.steps.append(("paused", cause))
        else:
            self.paused.setdefault(cause, set()).update(partitions)

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        if partitions is None:
            self.causes.discard(cause)
            self.steps.append(("resumed", cause))
        else:
            self.paused.get(cause, set()).difference_update(partitions)

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        if self.confirms:
            self.commit()
        self.leave(seconds)
        return self.confirms

    def leave(self, seconds: float) -> None:
        assert seconds >= 0
        if not self._left:
            self._left, self.assigned = True, frozenset()
            self.steps.append(("left",))

    def _take(self) -> FakePoll | None:
        """Take the records of the first poll that has any of partitions that are not paused."""
        paused = set().union(*self.paused.values())
        for index, polled in enumerate(self.polls):
            held = {each for each in map(_partition, polled.records) if each in paused}
            taken = polled.without(held)
            if taken.records or not polled.records:
                self.polls[index] = polled.without(set(map(_partition, taken.records)))
                if not held:
                    del self.polls[index]
                return taken
        return None

    def _is_uncommitted(self, record: Record) -> bool:
        return record.offset >= self.committed.get(_partition(record), 0)

    def _rewind(self) -> None:
        if self._uncommitted:
            self.polls.appendleft(FakePoll(self._uncommitted))
        self._uncommitted, self._settled = [], set()
        self._epoch += 1


class FakeDelivery:
    """Done once the sink has answered, or all its events were forgotten."""

    def __init__(self, sink: "FakeSink", events: Sequence[ScoreEvent]) -> None:
        self._sink = sink
        self.events = events
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.accepted: list[ScoreEvent] = []
        self.in_doubt: list[tuple[ScoreEvent, str]] = []
        self._answered = not events

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        if not self._answered:
            self.events = [e for e in self.events if _partition(e.record) not in partitions]
            self._answered = not self.events

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        if not self._answered:
            found = [(event, rejects.get(Position.of(event.record))) for event in self.events]
            self.refused += [(event, reject) for event, reject in found if reject is not None]
            self.events = [event for event, reject in found if reject is None]
            self._answered = not self.events

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
    """Accepts events but for the next `refuse_next`; answers nothing while unavailable or slow."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.unavailable_reason: str | None = None
        self.needs_others = False
        self.retried: list[RetriedEvent] = []
        self.window_full = False
        self.recalled: Mapping[str, SuspectHistory] = {}
        self.slow = False
        self.refuse_next = 0
        self.accepted: list[ScoreEvent] = []
        self.handed_over: list[ScoreEvent] = []
        self.in_doubt_next = 0
        self._deliveries: list[FakeDelivery] = []
        self._closed = False

    @property
    def answering(self) -> bool:
        return self.unavailable_reason is None and not self.slow and not self._closed

    def start(self) -> None:
        pass

    def set_window_full(self, *, full: bool) -> None:
        self.window_full = full

    def recall(self, histories: Mapping[str, SuspectHistory]) -> None:
        self.recalled = histories

    def deliver(self, events: Sequence[ScoreEvent]) -> FakeDelivery:
        delivery = FakeDelivery(self, events)
        self._deliveries.append(delivery)
        self.handed_over += events
        return delivery

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        for delivery in self._deliveries:
            delivery.forget(partitions)

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        for delivery in self._deliveries:
            delivery.skip(rejects)

    def answer(self, delivery: FakeDelivery) -> None:
        for event in delivery.events:
            if self.in_doubt_next:
                self.in_doubt_next -= 1
                delivery.in_doubt.append((event, "reset"))
            if self.refuse_next:
                self.refuse_next -= 1
                reject = Reject(Stage.DELIVER, Reason.REFUSED, "The inlet said no.")
                delivery.refused.append((event, reject))
            else:
                delivery.accepted.append(event)
        self.accepted += delivery.accepted
        self.steps.append(("delivered", [event.record.offset for event in delivery.accepted]))

    def close(self, seconds: float) -> None:
        """Close: events that are in flight then are in doubt, and nothing is answered any more."""
        assert seconds >= 0
        self._closed = True
        for delivery in self._deliveries:
            delivery.stop()


class FakeDeadLetterSink:
    """Writes dead letters at once, or at a later poll while it is unavailable or slow."""

    def __init__(self, steps: Steps, limit: RejectLimit) -> None:
        self.steps = steps
        self.limit = limit
        self.written: list[int] = []
        self.records: list[Record] = []
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
                self.written.append(record.offset)
                self.records.append(record)
                self.rejects.append(reject)
                self.steps.append(("dead_lettered", record.offset, reject.reason.value))
        self._unwritten.clear()

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        self.poll()
        return not any(self._unwritten)


class FakeStateStore:
    """Keeps persons in a dictionary: staged changes are loaded at once, and durable once stored.

    While it is unavailable nothing becomes durable. `durable` is what a `successor` starts with.
    """

    def __init__(self, steps: Steps, durable: dict[PersonKey, Person] | None = None) -> None:
        self.steps = steps
        self.unavailable_reason: str | None = None
        self.restore_unavailable_reason: str | None = None
        self.persons: dict[PersonKey, Person] = {}
        self.durable: dict[PersonKey, Person] = {} if durable is None else durable
        self._staged: dict[int, dict[PersonKey, Person]] = {}
        self._waiting: deque[int] = deque()
        self.withdrawn: list[str] = []
        self.unready: set[int] = set()
        self.assigned_numbers: set[int] = set()

    def successor(self) -> "FakeStateStore":
        """Return another replica's state store on the same changelog."""
        return FakeStateStore(self.steps, self.durable)

    def ready(self, partition: int) -> bool:
        return partition in self.assigned_numbers and partition not in self.unready

    @property
    def restoring(self) -> bool:
        return bool(self.unready & self.assigned_numbers)

    def assign(self, partitions: Iterable[int]) -> None:
        new = set(partitions) - self.assigned_numbers
        self.assigned_numbers |= new
        self.persons |= {key: person for key, person in self.durable.items() if key[0] in new}

    def revoke(self, partitions: Iterable[int]) -> None:
        gone = set(partitions)
        self.assigned_numbers -= gone
        for persons in (*self._staged.values(), self.persons):
            for key in [key for key in persons if key[0] in gone]:
                del persons[key]

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        wanted = list(keys)
        if not all(self.ready(partition) for partition, _ in wanted):
            raise InvariantError("A partition is not restored.")
        return {key: self.persons[key] for key in wanted if key in self.persons}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        self.persons.update(changes)
        ticket = len(self._staged)
        self._staged[ticket] = dict(changes)
        return ticket

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        assert ticket in self._staged
        self.withdrawn += [event.id for event in refused]
        later = [persons for one, persons in self._staged.items() if one >= ticket]
        for event in refused:
            key = event.record.partition, event.person
            for persons in (*later, self.persons):
                if key in persons:
                    persons[key] = without_score(persons[key], event)

    def store(self, ticket: int) -> FakePending:
        self._waiting.append(ticket)
        self.poll()
        return FakePending(lambda: ticket not in self._waiting)

    def poll(self) -> None:
        while self._waiting and self.unavailable_reason is None:
            changes = self._staged[self._waiting.popleft()]
            self.durable.update(changes)
            if changes:
                self.steps.append(("stored", len(changes)))

    def close(self, seconds: float) -> None:
        assert seconds >= 0
        self.poll()


class FakeRepartitionSink:
    """Writes messages at once, unless it is unavailable."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.unavailable_reason: str | None = None
        self.written: list[tuple[bytes, bytes]] = []

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> FakePending:
        unwritten = list(messages)

        def done() -> bool:
            if unwritten and self.unavailable_reason is None:
                self.written += unwritten
                self.steps.append(("repartitioned", len(unwritten)))
                unwritten.clear()
            return not unwritten

        return FakePending(done)

    def poll(self) -> None:
        pass

    def close(self, seconds: float) -> bool:
        assert seconds >= 0
        return True


def _partition(record: Record) -> Partition:
    return Partition(record.topic, record.partition)
