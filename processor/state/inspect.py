"""The local store and the changelog, read from outside, whether or not the processor runs."""

from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import lmdb
import msgspec

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.kafka.admin import KafkaAdmin
from processor.kafka.topic_reader import PartitionReader, PartitionSlice, TopicReader
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka_client import connection
from processor.state.changelog import ChangelogWriter
from processor.state.format.person import decode, encode, merge_values
from processor.state.format.store import META, ChangelogPosition, Origin, database_name, store_key
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.partitions import Layout, prepare
from processor.state.person import PersonLimits
from processor.state.restore import RestoredPartition, merge_records
from processor.telemetry.metrics import Metrics

Progress = Callable[[int, int], None]
"""Called from time to time: records read, and records in all so far as is known."""

_MAX_DBS: Final = 4_096
_NO_ANSWER_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.5


def open_reader(join: JoinSettings, kafka: KafkaSettings, clock: Clock) -> tuple[TopicReader, int]:
    """Open the changelog topic to read it from outside; return its partition count too."""
    layout = _layout(join, kafka, clock)
    reader = TopicReader(kafka, join.changelog_topic, part="changelog", clock=clock)
    return reader, layout.changelog.partitions


def open_changelog(
    join: JoinSettings, kafka: KafkaSettings, clock: Clock
) -> tuple[ChangelogWriter, int]:
    """Open the changelog topic to write to it from outside; return its partition count too."""
    layout = _layout(join, kafka, clock)
    client = connection(kafka.bootstrap_servers, f"{kafka.group_id}-state", kafka.client)
    writer = ChangelogWriter(client, join.changelog_topic, Metrics(), clock)
    return writer, layout.changelog.partitions


def open_scratch(folder: Path, join: JoinSettings, partitions: int) -> LocalStore:
    """Open an empty store that is deleted after use."""
    origin = Origin(join.changelog_topic, "scratch")
    return LocalStore(
        StoreFolder(folder), origin, partitions=partitions, max_bytes=join.max_store_bytes
    )


def _layout(join: JoinSettings, kafka: KafkaSettings, clock: Clock) -> Layout:
    """Return the layout; nothing is created."""
    existing = join.model_copy(update={"create_changelog": False})
    return prepare(KafkaAdmin(kafka, "state", clock), kafka, existing)


class StoreView:
    """One snapshot of a store, which is not changed; use it as a context.

    `positions` says which partitions it has, and up to where. Raises UnavailableError where there
    is no store to be read.
    """

    def __init__(self, directory: str) -> None:
        try:
            self._env = lmdb.open(directory, readonly=True, create=False, max_dbs=_MAX_DBS)
            self._transaction = self._env.begin()
            meta = self._env.open_db(META, self._transaction, create=False)
            self.positions = {
                int(name): msgspec.msgpack.decode(value, type=ChangelogPosition)
                for name, value in self._transaction.cursor(meta)
                if name.isdigit()
            }
            self._dbs = {
                number: self._env.open_db(database_name(number), self._transaction, create=False)
                for number in self.positions
            }
        except lmdb.Error as error:
            raise UnavailableError("local store", str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transaction.abort()
        self._env.close()

    def find(self, key: bytes) -> dict[int, bytes]:
        """Return the values of a person, by partition."""
        found = {
            number: self._transaction.get(store_key(key), None, db)
            for number, db in self._dbs.items()
        }
        return {number: value for number, value in found.items() if value is not None}

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values of a partition, by key."""
        yield from self._transaction.cursor(self._dbs[partition])


class Comparison(msgspec.Struct):
    """One partition of a store, compared to the changelog; counts are of persons.

    `behind` lack something that the changelog has, which is right while the store has not read the
    changelog to its end; `ahead` have something that the changelog lacks, which is never right.
    """

    partition: int
    read_to: int
    end: int
    same: int = 0
    behind: int = 0
    ahead: int = 0

    @property
    def consistent(self) -> bool:
        """Return True where the store has what it must have, and nothing else."""
        return self.ahead == 0 and (self.behind == 0 or self.read_to < self.end)


class ChangelogScan:
    """Reads partitions of the changelog, from the beginning to the end they have by then.

    Raises UnavailableError where that takes longer than `seconds`, or Kafka does not answer.
    """

    def __init__(
        self, reader: PartitionReader, clock: Clock, progress: Progress, *, seconds: float = inf
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._progress = progress
        self._seconds = seconds

    def find(self, partitions: Iterable[int], key: bytes) -> dict[int, bytes]:
        """Return the last value of a person in the changelog, by partition."""
        found: dict[int, bytes | None] = {}
        for partition, piece in self._slices(partitions):
            for one, value in piece.records:
                if one == key:
                    found[partition] = value
        return {partition: value for partition, value in found.items() if value is not None}

    def replay(
        self, store: LocalStore, partitions: Iterable[int], limits: PersonLimits
    ) -> dict[int, int]:
        """Restore partitions into an empty store; return the end of each one."""
        restored = {
            number: RestoredPartition(number, 0, catching_up=False) for number in partitions
        }
        for partition, piece in self._slices(restored):
            if piece.next_offset is not None:
                one, now_ms = restored[partition], self._clock.now_ms()
                one.next_offset = piece.next_offset
                merge_records(store, one, piece.records, limits, now_ms=now_ms)
        return {partition: one.next_offset for partition, one in restored.items()}

    def _slices(self, partitions: Iterable[int]) -> Iterator[tuple[int, PartitionSlice]]:
        positions = dict.fromkeys(partitions, 0)
        for partition in positions:
            self._reader.begin(partition, None)
        left, done = set(positions), 0
        answer = Deadline(self._clock, _NO_ANSWER_SECONDS)
        deadline = Deadline(self._clock, self._seconds)
        while left:
            slices = self._reader.read(_POLL_SECONDS)
            for partition, piece in slices.items():
                positions[partition] = piece.next_offset or positions[partition]
                done += len(piece.records)
                yield partition, piece
                if piece.ended:
                    left.discard(partition)
                    self._reader.end(partition)
            if left and deadline.over():
                error = f"it was not read to its end within {self._seconds:g} seconds"
                raise UnavailableError("changelog", self._reader.unavailable_reason or error)
            remaining = sum(self._reader.remaining(one, positions[one]) for one in left)
            self._progress(done, done + remaining)
            if slices:
                answer = Deadline(self._clock, _NO_ANSWER_SECONDS)
            elif answer.over():
                raise UnavailableError(
                    "changelog", self._reader.unavailable_reason or "it does not answer"
                )


def compare(
    view: StoreView, replayed: LocalStore, partition: int, end: int, limits: PersonLimits
) -> Comparison:
    """Compare one partition of a store to what was replayed from the changelog."""
    found = Comparison(partition, view.positions[partition].next_offset, end)
    expected = dict(replayed.scan(partition))
    for key, stored in view.scan(partition):
        value = expected.pop(key, None)
        if value == stored or (value and _reencoded(value) == _reencoded(stored)):
            found.same += 1
        elif value is None or merge_values(stored, value, limits) != _reencoded(value):
            found.ahead += 1
        else:
            found.behind += 1
    found.behind += len(expected)
    return found


def _reencoded(value: bytes) -> bytes:
    """Return the value in the present format, so that another format is no difference."""
    person = decode(value)
    return value if person is None else encode(person)
