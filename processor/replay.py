"""The components in which a replay of dead letters, and a dry run, differ from the processor."""

from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TextIO

import msgspec

from processor.components import RecordReader
from processor.domain.event import DecodedRecord, RetriedEvent, ScoreEvent
from processor.domain.outcome import Reject
from processor.domain.record import AssignmentListener, Partition, Record


class DeadLetterPoll(msgspec.Struct, frozen=True):
    """The records of some dead letters."""

    records: Sequence[Record]
    timed_out: frozenset[int] = frozenset()

    def without(self, gone: AbstractSet[Partition]) -> "DeadLetterPoll":
        """Return the same poll: nothing is revoked from a replay."""
        del gone
        return self


class DeadLetterSource:
    """Polls the original records of dead letters; commits nothing."""

    waiting_records = 0
    commit_overdue: str | None = None

    def __init__(self, records: Iterable[Record], chunk: int) -> None:
        self._waiting = deque(records)
        self._chunk = chunk
        self.assigned = frozenset(Partition(each.topic, each.partition) for each in self._waiting)
        self._causes: set[str] = set()
        self._unsettled = 0

    @property
    def over(self) -> bool:
        """Return True when every record is settled."""
        return not self._waiting and self._unsettled == 0

    def start(self, listener: AssignmentListener) -> None:
        """Assign the partitions that the records came from."""
        listener.assigned(sorted(self.assigned))

    def poll(self, seconds: float) -> DeadLetterPoll:
        """Return the next records, none while paused."""
        del seconds
        if self._causes:
            return DeadLetterPoll(())
        count = min(self._chunk, len(self._waiting))
        chunk = [self._waiting.popleft() for _ in range(count)]
        self._unsettled += len(chunk)
        return DeadLetterPoll(chunk)

    def settle(self, poll: DeadLetterPoll) -> frozenset[Partition]:
        """Count the records of a poll as settled."""
        self._unsettled -= len(poll.records)
        return frozenset()

    def commit(self) -> None:
        """Commit nothing."""

    def pause(self, cause: str) -> None:
        """Pause for a named cause."""
        self._causes.add(cause)

    def resume(self, cause: str) -> None:
        """End a named cause."""
        self._causes.discard(cause)

    def close(self, seconds: float) -> bool:
        """Close nothing."""
        del seconds
        return True


class RejectedOnlyReader:
    """Reads only the rejected scores of a dead letter: the others of its record were delivered."""

    def __init__(self, reader: RecordReader, rejected: dict[str, set[str]]) -> None:
        self._reader = reader
        self._rejected = rejected

    def fetch_schemas(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas; raises UnavailableError."""
        self._reader.fetch_schemas(records)

    def read(self, record: Record) -> DecodedRecord:
        """Return the decoded record with the scores that were rejected."""
        reading = self._reader.read(record)
        models = self._rejected.get(record.origin, set())
        if "" in models or not models:  # the whole record was rejected
            return reading
        scores = tuple(score for score in reading.scores if score.model in models)
        rejects = tuple(reject for reject in reading.rejects if reject.model in models)
        return DecodedRecord(scores, reading.event, rejects, reading.rule)


class CollectedDeadLetters:
    """Collects rejects instead of writing dead letters: in a replay the first one is still there.

    It is its own `limit`, which nothing exceeds, and its own completed write.
    """

    unavailable_reason: str | None = None
    done = True

    def __init__(self) -> None:
        self.rejects: list[tuple[Record, Reject]] = []
        self.limit = self

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

    def close(self, seconds: float) -> None:
        """Flush what was written."""
        del seconds
        self._lines.flush()
