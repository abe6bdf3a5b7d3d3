"""Partitions restored from the changelog into the local store.

Records are merged into what the store has and never replace it: where two owners wrote at the same
time for a while, nothing of either is lost. A tombstone deletes a person. Where the last record of
a person in the changelog lacks something that the store then has, the merged value is a *repair*,
to be written to the changelog.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.kafka.topic_reader import PartitionReader, PartitionSlice
from processor.state.format.person import merge_values
from processor.state.format.store import ChangelogPosition
from processor.state.local_store import LocalStore
from processor.state.person import PersonLimits
from processor.telemetry.catalogue import STATE_RESTORE_REMAINING_RECORDS
from processor.telemetry.metrics import Metrics

_PROGRESS_SECONDS: Final = 5.0

log = structlog.get_logger()


class RestoredPartition(msgspec.Struct):
    """One partition that is being restored, and finally has all of the changelog.

    `repairs` holds the values to be written to the changelog; None where the person was erased and
    then written again by a replica that had not read the tombstone. `erased` are the persons with a
    tombstone in what was read. While `catching_up` a tombstone wins over the records behind it,
    which come from a replica that had not read it. With `rewrite` the changelog was created anew,
    or lost records: `seen` are the persons that it has, and all others of the store are to be
    written to it. Until they are, the store's position is 0, so that a restart begins again.
    """

    partition: int
    next_offset: int
    catching_up: bool
    rewrite: bool = False
    records: int = 0
    repairs: dict[bytes, bytes | None] = {}
    erased: set[bytes] = msgspec.field(default_factory=set)
    seen: set[bytes] = msgspec.field(default_factory=set)

    def position(self, now_ms: int) -> ChangelogPosition:
        """Return the position to note beside what was restored."""
        return ChangelogPosition(0 if self.rewrite else self.next_offset, now_ms)


class Restore:
    """Restores partitions, a slice at a time."""

    def __init__(
        self,
        reader: PartitionReader,
        store: LocalStore,
        limits: PersonLimits,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._restoring: dict[int, RestoredPartition] = {}
        self._progress = Deadline(clock, 0)
        self._started = 0.0
        self._records = 0
        self._unstored: dict[int, PartitionSlice] = {}
        self._finished: list[RestoredPartition] = []
        self._empty: list[int] = []

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing is restored; None while it is, or nothing is to be restored."""
        return self._reader.unavailable_reason if self._restoring else None

    @property
    def busy(self) -> bool:
        """Return True while a partition is being restored."""
        return bool(self._restoring)

    def begin(self, partition: int, *, stale_before_ms: int) -> None:
        """Restore a partition from the store's position on, or from the changelog's beginning.

        The latter where the position was noted before `stale_before_ms` (epoch ms): the store may
        have persons that were erased since, and whose tombstones Kafka has deleted.
        """
        position = self._store.position(partition)
        if position is not None and position.at_ms < stale_before_ms:
            self._drop_stale(partition, position)
            position = None
        if position is not None and not position.next_offset:
            self._start(partition, None, rewrite=True)
        else:
            self._start(partition, None if position is None else position.next_offset)

    def catch_up(self, partition: int, offset: int) -> None:
        """Read again from an offset at which there are records of another writer."""
        self._start(partition, offset, catching_up=True)

    def rewrite(self, partition: int) -> None:
        """Read a changelog that lost records from its beginning; the store keeps its values."""
        self._store.write({}, {partition: ChangelogPosition(0, self._clock.now_ms())})
        self._start(partition, None, rewrite=True)

    def cancel(self, partition: int) -> None:
        """Leave a partition as it is."""
        if self._restoring.pop(partition, None) is not None:
            self._unstored.pop(partition, None)
            self._finished = [one for one in self._finished if one.partition != partition]
            self._reader.end(partition)
            self._metrics.forget(STATE_RESTORE_REMAINING_RECORDS, str(partition))

    def step(self, seconds: float) -> list[RestoredPartition]:
        """Store what is read within `seconds`; return the partitions that are restored.

        Raises UnavailableError where the store cannot be written; the next step continues there.
        """
        if not self._unstored:
            self._unstored = dict(self._reader.read(seconds))
        # The reader gives each slice once: it stays here until it is stored.
        while self._unstored:
            partition, piece = next(iter(self._unstored.items()))
            restoring = self._restoring.get(partition)
            if restoring is not None and self._store_slice(restoring, piece):
                self._finished.append(restoring)
            self._unstored.pop(partition, None)
        finished, self._finished = self._finished, []
        for one in finished:
            self.cancel(one.partition)
            known = one.records or one.rewrite or one.catching_up
            if not known and not self._store.entries([one.partition]):
                self._empty.append(one.partition)
        if self._progress.over() or (finished and not self._restoring):
            self._report()
        return finished

    def close(self) -> None:
        """Stop reading."""
        self._restoring.clear()
        self._reader.close()

    def _start(
        self,
        partition: int,
        offset: int | None,
        *,
        catching_up: bool = False,
        rewrite: bool = False,
    ) -> None:
        if not self._restoring:
            self._started, self._records = self._clock.monotonic(), 0
            self._progress = Deadline(self._clock, _PROGRESS_SECONDS)
        self._unstored.pop(partition, None)
        self._restoring[partition] = RestoredPartition(
            partition, offset or 0, catching_up, rewrite=rewrite
        )
        self._reader.begin(partition, offset)

    def _store_slice(self, restoring: RestoredPartition, piece: PartitionSlice) -> bool:
        """Store a slice of a partition; return whether it is the last one."""
        if piece.out_of_range:
            log.error(
                "The local store's position is not in the changelog, as if it lost records. What "
                "it lacks is written again from the local store.",
                code="local_store_position_lost",
                partition=restoring.partition,
                position=restoring.next_offset,
            )
            self.rewrite(restoring.partition)
            return False
        if piece.next_offset is not None:
            before, restoring.next_offset = restoring.next_offset, piece.next_offset
            now_ms = self._clock.now_ms()
            try:
                merge_records(self._store, restoring, piece.records, self._limits, now_ms=now_ms)
            except UnavailableError:
                restoring.next_offset = before
                raise
            self._records += len(piece.records)
            if restoring.rewrite:
                restoring.seen.update(key for key, _ in piece.records)
        return piece.ended

    def _drop_stale(self, partition: int, position: ChangelogPosition) -> None:
        """Drop a partition; where the changelog may lack it, that is a loss, and is said."""
        if not position.next_offset and self._store.entries([partition]):
            log.error(
                "The changelog was created anew, and the local store of a partition is too old to "
                "be written to it: erased persons could come back. Its state is lost.",
                code="local_store_too_old",
                partition=partition,
                persons=self._store.entries([partition]),
            )
        self._store.drop(partition)

    def _report(self) -> None:
        self._progress = Deadline(self._clock, _PROGRESS_SECONDS)
        remaining = 0
        for restoring in self._restoring.values():
            ahead = self._reader.remaining(restoring.partition, restoring.next_offset)
            remaining += ahead
            gauge = self._metrics.gauge(STATE_RESTORE_REMAINING_RECORDS, str(restoring.partition))
            gauge.set(ahead)
        seconds = self._clock.monotonic() - self._started
        if self._restoring:
            log.info(
                "State is being restored.",
                code="state_restoring",
                partition_count=len(self._restoring),
                records=self._records,
                remaining=remaining,
                eta_seconds=round(remaining * seconds / self._records) if self._records else None,
            )
        else:
            log.info(
                "State is restored.",
                code="state_restored",
                records=self._records,
                seconds=round(seconds, 1),
            )
            if self._empty:
                log.warning(
                    "Person state of these partitions begins empty: neither the changelog nor the "
                    "local store has any.",
                    code="state_begins_empty",
                    partitions=sorted(self._empty),
                )
                self._empty.clear()


def merge_records(
    store: LocalStore,
    restoring: RestoredPartition,
    records: Sequence[tuple[bytes, bytes | None]],
    limits: PersonLimits,
    *,
    now_ms: int,
) -> None:
    """Merge records of one partition into the store, and note the repairs of the changelog."""
    partition = restoring.partition
    keys = {(partition, key) for key, _ in records}
    stored = {key: value for (_, key), value in store.read(keys).items()}
    merged: dict[bytes, bytes | None] = dict(stored)
    last: dict[bytes, bytes | None] = {}
    for key, value in records:
        last[key] = value
        before = merged.get(key)
        if value is None:
            restoring.erased.add(key)
            merged[key] = None
        elif restoring.catching_up and key in restoring.erased:
            merged[key] = None
        elif before is None or before == value:
            merged[key] = value
        else:
            merged[key] = merge_values(before, value, limits)
    for key, value in last.items():
        if merged[key] == value:
            restoring.repairs.pop(key, None)
        else:
            restoring.repairs[key] = merged[key]
    changes = {key: value for key, value in merged.items() if value != stored.get(key)}
    store.write({partition: changes}, {partition: restoring.position(now_ms)})
    restoring.records += len(records)
