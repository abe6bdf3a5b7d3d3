"""Letters as a source: the corridor itself replays them, and nothing is written to an input."""

from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from processor.components import RecordReader
from processor.domain.event import DecodedRecord
from processor.domain.outcome import Reject
from processor.domain.record import AssignmentListener, Partition, Record


class DeadLetterPoll(msgspec.Struct, frozen=True):
    """Some letters' records."""

    records: Sequence[Record]
    timed_out: frozenset[int] = frozenset()

    def without(self, gone: AbstractSet[Partition]) -> "DeadLetterPoll":
        """Return the same: partitions of letters do not move."""
        del gone
        return self


class DeadLetterSource:
    """Hands out letters' records as if they had just been polled; there is nothing to commit."""

    waiting_records = 0
    commit_overdue: str | None = None

    def __init__(self, records: Iterable[Record], chunk: int) -> None:
        self._rest = deque(records)
        self._chunk = chunk
        self.assigned = frozenset(Partition(each.topic, each.partition) for each in self._rest)
        self._held: set[str] = set()
        self._under_way = 0

    @property
    def over(self) -> bool:
        """Return True when every letter has been settled."""
        return not self._rest and self._under_way == 0

    def start(self, listener: AssignmentListener) -> None:
        """Say which partitions the letters came from."""
        listener.assigned(sorted(self.assigned))

    def poll(self, seconds: float) -> DeadLetterPoll:
        """Return the next letters."""
        del seconds
        if self._held:
            return DeadLetterPoll(())
        chunk = [self._rest.popleft() for _ in range(min(self._chunk, len(self._rest)))]
        self._under_way += len(chunk)
        return DeadLetterPoll(chunk)

    def settle(self, poll: DeadLetterPoll) -> frozenset[Partition]:
        """Note that letters have their fate."""
        self._under_way -= len(poll.records)
        return frozenset()

    def commit(self) -> None:
        """Commit nothing."""

    def pause(self, cause: str) -> None:
        """Hand out nothing for a while."""
        self._held.add(cause)

    def resume(self, cause: str) -> None:
        """Go on."""
        self._held.discard(cause)

    def close(self, seconds: float) -> bool:
        """Close nothing."""
        del seconds
        return True


class RejectedOnlyReader:
    """Reads of a dead letter only what was rejected: its other scores were delivered before."""

    def __init__(self, reader: RecordReader, wanted: dict[str, set[str]]) -> None:
        self._reader = reader
        self._wanted = wanted

    def fetch_schemas(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas; raises UnavailableError."""
        self._reader.fetch_schemas(records)

    def read(self, record: Record) -> DecodedRecord:
        """Return what the record says of the scores that were rejected."""
        reading = self._reader.read(record)
        models = self._wanted.get(record.origin, set())
        if "" in models or not models:
            return reading
        scores = tuple(score for score in reading.scores if score.model in models)
        rejects = tuple(reject for reject in reading.rejects if reject.model in models)
        return DecodedRecord(scores, reading.event, rejects, reading.rule)


class CollectedDeadLetters:
    """Letters that were rejected again: their first letter is still there, so none is written."""

    unavailable_reason: str | None = None

    def __init__(self) -> None:
        self.again: list[tuple[Record, Reject]] = []
        self.guard = self

    def note(self, count: int, rejected: Sequence[int]) -> None:
        """Let all pass: that letters are rejected again is no surprise."""

    def refused(self, route: str, refused: int, sent: int) -> None:
        """Let all pass, likewise."""

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> "CollectedDeadLetters":
        """Keep account of them."""
        self.again += dead_letters
        return self

    done = True

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> bool:
        """Flush nothing."""
        del seconds
        return True
