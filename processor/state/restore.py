"""Partitions on their way back into the local store, from the changelog.

What the log says is merged into what the store has, never put over it: where two owners wrote side
by side for a while, nothing that either of them knew is lost. A tombstone takes a person out. What
the log's last word on a person lacks is *owed* to the log, to be written to it again.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import UnavailableError
from processor.kafka.topic_reader import PartitionReader, PartitionSlice
from processor.state.format.person import merge_wires
from processor.state.format.store import ChangelogPosition
from processor.state.local_store import LocalStore
from processor.state.person import PersonLimits
from processor.telemetry.metrics import Metrics

_PROGRESS_SECONDS: Final = 5.0

log = structlog.get_logger()


class RestoredPartition(msgspec.Struct):
    """One partition on its way, and in the end with all that the changelog says.

    `owed` holds the values that the log's last record of a person falls short of; None where the
    person was forgotten, and written again by somebody who did not know. `forgotten` are the
    persons with a tombstone in what was read. While `catching_up` a tombstone outweighs the records
    behind it, which come from somebody who had not read it.
    """

    partition: int
    next_offset: int
    catching_up: bool
    records: int = 0
    owed: dict[bytes, bytes | None] = {}
    forgotten: set[bytes] = msgspec.field(default_factory=set)


class Restore:
    """Brings partitions back, a slice at a time."""

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
        self._jobs: dict[int, RestoredPartition] = {}
        self._progress = Deadline(clock, 0)
        self._begun = 0.0
        self._done = 0
        self._unstored: dict[int, PartitionSlice] = {}
        self._back: list[RestoredPartition] = []

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing comes back; None while all is well, or nothing is to be done."""
        return self._reader.unavailable_reason if self._jobs else None

    @property
    def busy(self) -> bool:
        """Return True while a partition is on its way."""
        return bool(self._jobs)

    def begin(self, partition: int, *, stale_before_ms: int) -> None:
        """Bring a partition back from where the store stands, if that is not too long ago."""
        mark = self._store.mark(partition)
        if mark is not None and mark.at_ms < stale_before_ms:
            self._store.drop(partition)
            mark = None
        self._start(partition, None if mark is None else mark.next_offset, catching_up=False)

    def catch_up(self, partition: int, offset: int) -> None:
        """Read again from an offset at which somebody else has written."""
        self._start(partition, offset, catching_up=True)

    def cancel(self, partition: int) -> None:
        """Leave a partition as it is."""
        if self._jobs.pop(partition, None) is not None:
            self._unstored.pop(partition, None)
            self._back = [job for job in self._back if job.partition != partition]
            self._reader.end(partition)
            self._metrics.forget("state_restore_remaining_records", str(partition))

    def step(self, seconds: float) -> list[RestoredPartition]:
        """LocalStore what comes within so many seconds; return the partitions that are back.

        Raises UnavailableError where the store can not be written; the next step goes on there.
        """
        if not self._unstored:
            self._unstored = dict(self._reader.read(seconds))
        # What was read is read no more: a slice stays here until it is stored.
        while self._unstored:
            partition, piece = next(iter(self._unstored.items()))
            job = self._jobs.get(partition)
            if job is not None and self._take(job, piece):
                self._back.append(job)
            self._unstored.pop(partition, None)
        back, self._back = self._back, []
        for job in back:
            self.cancel(job.partition)
        if self._progress.over() or (back and not self._jobs):
            self._tell()
        return back

    def close(self) -> None:
        """Stop reading."""
        self._jobs.clear()
        self._reader.close()

    def _start(self, partition: int, offset: int | None, *, catching_up: bool) -> None:
        if not self._jobs:
            self._begun, self._done = self._clock.monotonic(), 0
            self._progress = Deadline(self._clock, _PROGRESS_SECONDS)
        self._unstored.pop(partition, None)
        self._jobs[partition] = RestoredPartition(partition, offset or 0, catching_up)
        self._reader.begin(partition, offset)

    def _take(self, job: RestoredPartition, piece: PartitionSlice) -> bool:
        if piece.out_of_range:
            log.warning("The local store does not fit the changelog.", partition=job.partition)
            self._store.drop(job.partition)
            self._start(job.partition, None, catching_up=False)
            return False
        if piece.next_offset is not None:
            stood, job.next_offset = job.next_offset, piece.next_offset
            try:
                absorb(self._store, job, piece.records, self._limits, now_ms=self._clock.now_ms())
            except UnavailableError:
                job.next_offset = stood
                raise
            self._done += len(piece.records)
        return piece.ended

    def _tell(self) -> None:
        self._progress = Deadline(self._clock, _PROGRESS_SECONDS)
        remaining = 0
        for job in self._jobs.values():
            ahead = self._reader.remaining(job.partition, job.next_offset)
            remaining += ahead
            gauge = self._metrics.gauge("state_restore_remaining_records", str(job.partition))
            gauge.set(ahead)
        seconds = self._clock.monotonic() - self._begun
        if self._jobs:
            log.info(
                "State is being restored.",
                partitions=len(self._jobs),
                records=self._done,
                remaining=remaining,
                eta_seconds=round(remaining * seconds / self._done) if self._done else None,
            )
        else:
            log.info("State is restored.", records=self._done, seconds=round(seconds, 1))


def absorb(
    store: LocalStore,
    job: RestoredPartition,
    records: Sequence[tuple[bytes, bytes | None]],
    limits: PersonLimits,
    *,
    now_ms: int,
) -> None:
    """Merge records of one partition into the store, and note what the log is owed."""
    known = {key: value for (_, key), value in store.read(_keys(job.partition, records)).items()}
    now: dict[bytes, bytes | None] = dict(known)
    told: dict[bytes, bytes | None] = {}
    for key, value in records:
        told[key] = value
        before = now.get(key)
        if value is None:
            job.forgotten.add(key)
            now[key] = None
        elif job.catching_up and key in job.forgotten:
            now[key] = None
        else:
            same = before is None or before == value
            now[key] = value if same or before is None else merge_wires(before, value, limits)
    for key, last in told.items():
        if now[key] == last:
            job.owed.pop(key, None)
        else:
            job.owed[key] = now[key]
    changed = {key: value for key, value in now.items() if value != known.get(key)}
    store.write(
        {job.partition: changed}, {job.partition: ChangelogPosition(job.next_offset, now_ms)}
    )
    job.records += len(records)


def _keys(partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> set[tuple[int, bytes]]:
    return {(partition, key) for key, _ in records}
