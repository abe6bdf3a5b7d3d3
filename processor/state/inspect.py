"""What the changelog says from its beginning: of one person, or to hold a store against it.

The local store, looked at from outside, while the processor runs or is dead.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from types import TracebackType
from typing import Final, Self

import lmdb
import msgspec

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.kafka.topic_reader import PartitionReader, PartitionSlice
from processor.state.format.person import decode, encode, merge_wires
from processor.state.format.store import META, ChangelogPosition, name_of, shortened
from processor.state.local_store import LocalStore
from processor.state.person import PersonLimits
from processor.state.restore import RestoredPartition, absorb

_MAX_DBS = 4_096


class StoreView:
    """One snapshot of a store, which it changes in no way; to be used as a context.

    `marks` tells which partitions it has, and up to where. Raises UnavailableError where there is
    no store to be read.
    """

    def __init__(self, directory: str) -> None:
        try:
            self._env = lmdb.open(directory, readonly=True, create=False, max_dbs=_MAX_DBS)
            self._transaction = self._env.begin()
            meta = self._env.open_db(META, self._transaction, create=False)
            self.marks = {
                int(name): msgspec.msgpack.decode(value, type=ChangelogPosition)
                for name, value in self._transaction.cursor(meta)
                if name.isdigit()
            }
            self._dbs = {
                number: self._env.open_db(name_of(number), self._transaction, create=False)
                for number in self.marks
            }
        except lmdb.Error as error:
            raise UnavailableError("local store", str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._transaction.abort()
        self._env.close()

    def find(self, key: bytes) -> dict[int, bytes]:
        """Return what is stored of a person, by partition."""
        found = {
            number: self._transaction.get(shortened(key), None, db)
            for number, db in self._dbs.items()
        }
        return {number: wire for number, wire in found.items() if wire is not None}

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is stored of a partition, by key."""
        yield from self._transaction.cursor(self._dbs[partition])


Progress = Callable[[int, int], None]
"""Told from time to time: records read, and records in all so far as is known."""

_SILENCE_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 0.5


class Comparison(msgspec.Struct):
    """One partition of a store, held against the changelog; counts are of persons.

    `behind` lack something that the changelog has, which is as it should be while the store has
    not read it to its end; `ahead` have something that the changelog lacks, which never is.
    """

    partition: int
    read_to: int
    end: int
    same: int = 0
    behind: int = 0
    ahead: int = 0

    @property
    def sound(self) -> bool:
        """Return True where nothing is there that must not be."""
        return self.ahead == 0 and (self.behind == 0 or self.read_to < self.end)


class Audit:
    """A look at partitions of the changelog, from the beginning to the end they have by then.

    Raises UnavailableError where a look takes longer than `seconds`, or nothing is heard for long.
    """

    def __init__(
        self, reader: PartitionReader, clock: Clock, tell: Progress, *, seconds: float = inf
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._tell = tell
        self._seconds = seconds

    def find(self, partitions: Iterable[int], key: bytes) -> dict[int, bytes]:
        """Return the changelog's last word on a person, by partition."""
        found: dict[int, bytes | None] = {}
        for partition, piece in self._walk(partitions):
            for one, wire in piece.records:
                if one == key:
                    found[partition] = wire
        return {partition: wire for partition, wire in found.items() if wire is not None}

    def replay(
        self, store: LocalStore, partitions: Iterable[int], limits: PersonLimits
    ) -> dict[int, int]:
        """Restore partitions into a store of their own; return where each one ends."""
        jobs = {number: RestoredPartition(number, 0, catching_up=False) for number in partitions}
        for partition, piece in self._walk(jobs):
            if piece.next_offset is not None:
                jobs[partition].next_offset = piece.next_offset
                now_ms = self._clock.now_ms()
                absorb(store, jobs[partition], piece.records, limits, now_ms=now_ms)
        return {partition: job.next_offset for partition, job in jobs.items()}

    def _walk(self, partitions: Iterable[int]) -> Iterator[tuple[int, PartitionSlice]]:
        places = dict.fromkeys(partitions, 0)
        for partition in places:
            self._reader.begin(partition, None)
        left, done = set(places), 0
        silence = Deadline(self._clock, _SILENCE_SECONDS)
        patience = Deadline(self._clock, self._seconds)
        while left:
            slices = self._reader.read(_WAIT_SECONDS)
            for partition, piece in slices.items():
                places[partition] = piece.next_offset or places[partition]
                done += len(piece.records)
                yield partition, piece
                if piece.ended:
                    left.discard(partition)
                    self._reader.end(partition)
            if left and patience.over():
                sentence = f"it was not read to its end within {self._seconds:g} seconds"
                raise UnavailableError("changelog", self._reader.unavailable_reason or sentence)
            self._tell(done, done + sum(self._reader.remaining(n, places[n]) for n in left))
            if slices:
                silence = Deadline(self._clock, _SILENCE_SECONDS)
            elif silence.over():
                raise UnavailableError(
                    "changelog", self._reader.unavailable_reason or "it does not answer"
                )


def compare(
    view: StoreView, truth: LocalStore, partition: int, end: int, limits: PersonLimits
) -> Comparison:
    """Hold one partition of a store against what was replayed from the changelog."""
    found = Comparison(partition, view.marks[partition].next_offset, end)
    said = dict(truth.scan(partition))
    for key, mine in view.scan(partition):
        theirs = said.pop(key, None)
        if theirs == mine or (theirs and _renewed(theirs) == _renewed(mine)):
            found.same += 1
        elif theirs is None or merge_wires(mine, theirs, limits) != _renewed(theirs):
            found.ahead += 1
        else:
            found.behind += 1
    found.behind += len(said)
    return found


def _renewed(wire: bytes) -> bytes:
    """Return a person in today's format, so that a format is no difference."""
    person = decode(wire)
    return wire if person is None else encode(person)
