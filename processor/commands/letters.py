"""Letters as a source: the corridor itself replays them, and nothing is written to an input."""

from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from processor.event import Reading
from processor.outcome import Reject
from processor.ports import Follows, Reads
from processor.record import Partition, Record

__all__ = ["LetterPoll", "LetterSource", "OnlyRejected", "Unburied"]


class LetterPoll(msgspec.Struct, frozen=True):
    """Some letters' records."""

    records: Sequence[Record]
    overdue: frozenset[int] = frozenset()

    def without(self, gone: AbstractSet[Partition]) -> "LetterPoll":
        """Return the same: partitions of letters do not move."""
        del gone
        return self


class LetterSource:
    """Hands out letters' records as if they had just been polled; there is nothing to commit."""

    kept_back = 0
    overdue: str | None = None

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

    def start(self, follower: Follows) -> None:
        """Say which partitions the letters came from."""
        follower.assigned(sorted(self.assigned))

    def poll(self, seconds: float) -> LetterPoll:
        """Return the next letters."""
        del seconds
        if self._held:
            return LetterPoll(())
        chunk = [self._rest.popleft() for _ in range(min(self._chunk, len(self._rest)))]
        self._under_way += len(chunk)
        return LetterPoll(chunk)

    def settle(self, polled: LetterPoll) -> frozenset[Partition]:
        """Note that letters have their fate."""
        self._under_way -= len(polled.records)
        return frozenset()

    def commit(self) -> None:
        """Commit nothing."""

    def hold(self, cause: str) -> None:
        """Hand out nothing for a while."""
        self._held.add(cause)

    def release(self, cause: str) -> None:
        """Go on."""
        self._held.discard(cause)

    def close(self, seconds: float) -> bool:
        """Close nothing."""
        del seconds
        return True


class OnlyRejected:
    """Reads of a letter only what it was rejected for: its other scores were delivered then."""

    def __init__(self, reader: Reads, wanted: dict[str, set[str]]) -> None:
        self._reader = reader
        self._wanted = wanted

    def learn(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas; raises UnavailableError."""
        self._reader.learn(records)

    def read(self, record: Record) -> Reading:
        """Return what the record says of the scores that were rejected."""
        reading = self._reader.read(record)
        models = self._wanted.get(record.origin, set())
        if "" in models or not models:
            return reading
        scores = tuple(score for score in reading.scores if score.model in models)
        rejects = tuple(reject for reject in reading.rejects if reject.model in models)
        return Reading(scores, reading.event, rejects, reading.rule)


class Unburied:
    """Letters that were rejected again: their first letter is still there, so none is written."""

    holding: str | None = None

    def __init__(self) -> None:
        self.again: list[tuple[Record, Reject]] = []
        self.guard = self

    def note(self, count: int, rejected: Sequence[int]) -> None:
        """Let all pass: that letters are rejected again is no surprise."""

    def refused(self, route: str, refused: int, sent: int) -> None:
        """Let all pass, likewise."""

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> "Unburied":
        """Keep account of them."""
        self.again += letters
        return self

    done = True

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> bool:
        """Flush nothing."""
        del seconds
        return True
