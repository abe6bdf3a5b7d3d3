"""Components in place of the usual ones: for a replay of dead letters, a dry run, and no join.

None of them writes to Kafka, to AEP or to the disk.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TextIO

import msgspec

from processor.components import RecordReader
from processor.domain.event import DecodedRecord, RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Reject
from processor.domain.record import AssignmentListener, Partition, Position, Record
from processor.state.person import Person, PersonKey, without_score


class DeadLetterPoll(msgspec.Struct, frozen=True):
    """The records of some dead letters."""

    records: Sequence[Record]
    timed_out: frozenset[int] = frozenset()

    def without(self, partitions: AbstractSet[Partition]) -> "DeadLetterPoll":
        """Return the same poll less the records of some partitions."""
        left = [one for one in self.records if (one.topic, one.partition) not in partitions]
        return DeadLetterPoll(left)


class DeadLetterSource:
    """Polls the original records of dead letters; commits nothing."""

    waiting_records = 0
    is_member = True
    commit_overdue_reason: str | None = None
    topic_fault_reason: str | None = None
    unread: frozenset[Partition] = frozenset()

    def __init__(self, records: Iterable[Record], chunk: int) -> None:
        self._waiting = deque(records)
        self._chunk = chunk
        self.assigned = frozenset(Partition(each.topic, each.partition) for each in self._waiting)
        self._causes: dict[str, set[Partition]] = {}
        self._unsettled = 0

    @property
    def over(self) -> bool:
        """Return True when every record is settled."""
        return not self._waiting and self._unsettled == 0

    def start(self, listener: AssignmentListener) -> None:
        """Assign the partitions that the records came from."""
        listener.assigned(sorted(self.assigned))

    def poll(self, seconds: float) -> DeadLetterPoll:
        """Return the next records, none while any partition is paused."""
        del seconds
        if self._causes:
            return DeadLetterPoll(())
        count = min(self._chunk, len(self._waiting))
        chunk = [self._waiting.popleft() for _ in range(count)]
        self._unsettled += len(chunk)
        return DeadLetterPoll(chunk)

    def accept_gaps(self, partitions: Iterable[Partition]) -> None:
        """Do nothing: there are no gaps."""

    def topic_id(self, topic: str) -> str:
        """Return an empty id: the topics are not read."""
        del topic
        return ""

    def committed_offset(self, partition: Partition) -> int | None:
        """Return None: nothing is committed."""
        del partition
        return None

    def settle(self, poll: DeadLetterPoll) -> frozenset[Partition]:
        """Count the records of a poll as settled."""
        self._unsettled -= len(poll.records)
        return frozenset()

    def commit(self) -> None:
        """Commit nothing."""

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Pause for a named cause."""
        paused = self.assigned if partitions is None else partitions
        self._causes.setdefault(cause, set()).update(paused)

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """End a named cause, once for all of its partitions."""
        resumed = self.assigned if partitions is None else partitions
        left = self._causes.pop(cause, set()).difference(resumed)
        if left:
            self._causes[cause] = left

    def close(self, seconds: float) -> bool:
        """Close nothing."""
        del seconds
        return True

    def leave(self, seconds: float) -> None:
        """Leave nothing."""


class RejectedOnlyReader:
    """Reads only the rejected scores of a dead letter: the others of its record were delivered."""

    def __init__(self, reader: RecordReader, rejected: dict[str, set[str]]) -> None:
        self._reader = reader
        self._rejected = rejected

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        """Start to fetch the writer schemas; return True once all are there. UnavailableError."""
        return self._reader.fetch_schemas(records)

    def read(self, record: Record) -> DecodedRecord:
        """Return the decoded record with the scores that were rejected."""
        reading = self._reader.read(record)
        models = self._rejected.get(record.origin, set())
        if "" in models or not models:  # the whole record was rejected
            return reading
        scores = tuple(score for score in reading.scores if score.model in models)
        rejects = tuple(reject for reject in reading.rejects if reject.model in models)
        return msgspec.structs.replace(reading, scores=scores, rejects=rejects)


class CollectedDeadLetters:
    """Collects rejects instead of writing dead letters: in a replay the first one is still there.

    It is its own `limit`, which nothing exceeds, and its own completed write.
    """

    unavailable_reason: str | None = None
    done = True

    def __init__(self) -> None:
        self.rejects: list[tuple[Record, Reject]] = []
        self.limit = self

    def reset(self) -> None:
        """Count nothing."""

    def check(self, count: int, rejected: Sequence[int]) -> None:
        """Accept any number of rejects."""

    def check_refusals(self, route: str, refused: int, sent: int) -> None:
        """Accept any number of refusals."""

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> "CollectedDeadLetters":
        """Collect rejects."""
        self.rejects += dead_letters
        return self

    def poll(self) -> None:
        """Do nothing."""

    def close(self, seconds: float) -> bool:
        """Flush nothing."""
        del seconds
        return True


class _Written(msgspec.Struct, frozen=True):
    accepted: Sequence[ScoreEvent]
    refused: Sequence[tuple[ScoreEvent, Reject]] = ()
    in_doubt: Sequence[tuple[ScoreEvent, str]] = ()
    done: bool = True


class JsonLinesSink:
    """Writes XDM events as JSON lines instead of sending them; accepts all of them."""

    unavailable_reason: str | None = None
    needs_others = False
    retried: Sequence[RetriedEvent] = ()

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines

    def recall(self, histories: Mapping[str, SuspectHistory]) -> None:
        """Do nothing: nothing fails here."""

    def set_window_full(self, *, full: bool) -> None:
        """Do nothing: events are written at once."""

    def start(self) -> None:
        """Start nothing."""

    def deliver(self, events: Sequence[ScoreEvent]) -> _Written:
        """Write events."""
        self._lines.writelines(event.body.decode() + "\n" for event in events)
        return _Written(events)

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Drop nothing: delivered events are written already."""

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        """Refuse nothing: delivered events are written already."""

    def close(self, seconds: float) -> None:
        """Flush what was written."""
        del seconds
        self._lines.flush()


class Done:
    """What is returned where there was nothing to wait for."""

    done = True


class NoStateStore:
    """No state: for a processor whose join is off."""

    unavailable_reason: str | None = None
    restore_unavailable_reason: str | None = None
    restoring: bool = False

    def ready(self, partition: int) -> bool:
        """Return True: there is nothing to wait for."""
        del partition
        return True

    def assign(self, partitions: Iterable[int]) -> None:
        """Restore nothing."""

    def revoke(self, partitions: Iterable[int]) -> None:
        """Drop nothing."""

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return no person."""
        del keys
        return {}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Store nothing."""
        del changes
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Withdraw nothing."""

    def store(self, ticket: int) -> Done:
        """Return at once: nothing is to be written."""
        del ticket
        return Done()

    def poll(self) -> None:
        """Return at once."""

    def close(self, seconds: float) -> None:
        """Return at once."""


class InMemoryStateStore(NoStateStore):
    """The persons that were staged in this process, for dry runs, which write nothing."""

    def __init__(self) -> None:
        self._persons: dict[PersonKey, Person] = {}

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return the persons staged so far; others are left out."""
        return {key: self._persons[key] for key in keys if key in self._persons}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Store changes in memory."""
        self._persons.update(changes)
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take refused scores out of the persons."""
        del ticket
        for event in refused:
            key = (event.record.partition, event.person)
            self._persons[key] = without_score(self._persons[key], event)
