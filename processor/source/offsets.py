"""The offsets of the group: polled records are tracked, settled ones committed."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import structlog

from processor.domain.clock import Clock
from processor.domain.record import Partition, Record
from processor.kafka.consumer import CommittedOffset, KafkaConsumer
from processor.kafka.messages import KafkaFault
from processor.kafka.offset_tracker import OffsetTracker, PartitionOffsets, Stamp
from processor.kafka.topics import Topics
from processor.settings import KafkaSettings
from processor.source.group_records import GroupRecords
from processor.source.partition_status import PlacementCheck
from processor.source.topic_watch import commit_metadata
from processor.source.waiting import PartitionRecords
from processor.telemetry.catalogue import (
    COMMITS,
    LAST_COMMIT_TIMESTAMP_SECONDS,
    OFFSET_GAP_RECORDS,
    RECORDS_CONSUMED,
    RECORDS_RELEASED,
)
from processor.telemetry.labels import AttemptResult, ReleaseCause
from processor.telemetry.log_limiter import LogLimiter
from processor.telemetry.metrics import Metrics

_IDLE_SECONDS: Final = 86_400.0
"""Kafka deletes offsets that were not committed for `offsets.retention.minutes` (7 days)."""
_COMMIT_RESULT_SECONDS: Final = 60.0
"""A commit without a result after this time no longer blocks the next one."""
_REMEMBERED_COMMITS: Final = 8
"""One is in progress at most, besides those that must be confirmed before a revocation."""

log = structlog.get_logger()


class PollTracker:
    """Tracks polled records, and counts and logs offsets that Kafka skipped.

    Gaps are never waited for: deleted, compacted and control records leave the same gaps as lost
    records, so only the operator can tell them apart, with `gaps_expected`.
    """

    def __init__(
        self,
        tracker: OffsetTracker,
        topics: Topics,
        placement: PlacementCheck,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._tracker = tracker
        self._topics = topics
        self._placement = placement
        self._metrics = metrics
        self._limiter = LogLimiter(clock)

    def track(self, records: list[Record]) -> PartitionRecords | None:
        """Track records of one partition; None where it is no longer assigned."""
        first, last = records[0], records[-1]
        partition = Partition(first.topic, first.partition)
        if partition not in self._tracker:
            return None
        skipped = self._tracker.advance(partition, first.offset)
        offsets = range(first.offset, last.offset + 1)
        self._report_gap(partition, skipped + len(offsets) - len(records), first.offset)
        self._metrics.counter(RECORDS_CONSUMED, partition.topic).inc(len(records))
        if self._topics.keyed_by_person(partition.topic):
            self._placement.check(first)
        tracked = self._tracker.track(partition, offsets, len(records), last.timestamp_ms)
        return PartitionRecords(tracked, records)

    def reached_end(self, partition: Partition, offset: int | None) -> None:
        """Note that a partition was read to its end, which control records may have moved."""
        if partition in self._tracker and offset is not None:
            self._report_gap(partition, self._tracker.advance(partition, offset), offset)

    def _report_gap(self, partition: Partition, skipped: int, near: int) -> None:
        if skipped <= 0 or self._topics.gaps_expected(partition.topic):
            return
        self._metrics.counter(OFFSET_GAP_RECORDS, partition.topic).inc(skipped)
        suppressed = self._limiter.due(f"gap {partition.topic}")
        if suppressed is not None:
            log.warning(
                "Kafka skipped offsets. Unless the topic is compacted or written in transactions, "
                "records were lost.",
                code="offset_gap",
                topic=partition.topic,
                partition=partition.number,
                near=near,
                skipped=skipped,
                suppressed=suppressed,
            )


class _SentCommit(NamedTuple):
    """A commit that was sent, and what it belongs to."""

    offsets: Mapping[Partition, CommittedOffset]
    stamps: Mapping[Partition, Stamp]
    at: float


class OffsetCommitter:
    """Commits settled prefixes from time to time, without waiting for the result.

    Beside each offset stands the id of its topic: offsets of a topic that was deleted and created
    anew mean other records.
    """

    def __init__(  # noqa: PLR0913  the offsets, and where they are stored and noted
        self,
        kafka: KafkaSettings,
        tracker: OffsetTracker,
        consumer: KafkaConsumer,
        records: GroupRecords,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._kafka = kafka
        self._tracker = tracker
        self._consumer = consumer
        self._records = records
        self._sent: deque[_SentCommit] = deque(maxlen=_REMEMBERED_COMMITS)
        self._metrics = metrics
        self._clock = clock
        self._in_progress_since: float | None = None
        self._last_sent = clock.monotonic() - kafka.commit_seconds

    @property
    def overdue_reason(self) -> str | None:
        """Return why sending must stop: settled records were not committed for too long."""
        limit = self._kafka.commit_age_limit_seconds
        if not self._tracker.commit_due_before(self._clock.monotonic() - limit):
            return None
        return f"settled records could not be committed for {limit:g} seconds"

    def send(self, *, force: bool) -> None:
        """Commit what is settled when it is time to, or now; at most one commit is in progress."""
        now, since = self._clock.monotonic(), self._in_progress_since
        if since is not None and now - since < _COMMIT_RESULT_SECONDS:
            return
        if now - self._last_sent < self._kafka.commit_seconds and not force:
            return
        idle = self._tracker.idle_commits(now - _IDLE_SECONDS)
        offsets = idle | self._tracker.pending_commits()
        if not offsets:
            return
        self._last_sent = now
        if self._consumer.commit(self._remember(offsets, now).offsets):
            self._in_progress_since = now
        else:
            self._metrics.counter(COMMITS, AttemptResult.FAILED).inc()

    def commit_confirmed(self, partitions: Iterable[Partition], seconds: float) -> bool:
        """Commit the prefixes of these partitions; return whether Kafka confirms all in time."""
        pending = self._tracker.pending_commits()
        offsets = {partition: pending[partition] for partition in pending.keys() & set(partitions)}
        if not offsets:
            return True
        commit = self._remember(offsets, self._clock.monotonic())
        confirmed = self._consumer.commit_confirmed(commit.offsets, seconds)
        self._metrics.counter(
            COMMITS, AttemptResult.OK if confirmed else AttemptResult.FAILED
        ).inc()
        if confirmed:
            self._note_stored(commit.offsets)
        return confirmed

    def completed(
        self, stored: Mapping[Partition, CommittedOffset], fault: KafkaFault | None
    ) -> None:
        """Note the result of a commit; what failed is sent with the next."""
        self._in_progress_since = None
        if fault is not None:
            self._consumer.report(fault, "commit")
        self._metrics.counter(COMMITS, AttemptResult.FAILED if fault else AttemptResult.OK).inc()
        self._note_stored(stored)

    def _remember(self, offsets: Mapping[Partition, int], now: float) -> _SentCommit:
        """Return what to send. Results may come in any order, so that each is kept by itself."""
        stamps = self._tracker.stamps(offsets)
        commits = {
            partition: CommittedOffset(offset, commit_metadata(stamps[partition].topic_id))
            for partition, offset in offsets.items()
        }
        self._sent.append(_SentCommit(commits, stamps, now))
        return self._sent[-1]

    def _note_stored(self, stored: Mapping[Partition, CommittedOffset]) -> None:
        current = self._tracker.stamps(stored)
        for partition, commit in stored.items():
            sent = self._find(partition, commit)
            if sent is None:
                continue  # it is committed again
            stamp = sent.stamps[partition]
            self._tracker.acknowledge(partition, commit.offset, sent.at, stamp)
            if stamp == current.get(partition):
                self._records.committed(partition, stamp.topic_id)
        if stored:
            now_seconds = self._clock.now_ms() / 1000
            self._metrics.gauge(LAST_COMMIT_TIMESTAMP_SECONDS).set(now_seconds)

    def _find(self, partition: Partition, commit: CommittedOffset) -> _SentCommit | None:
        """Return the newest commit that stored this; None where it is too old."""
        same = (sent for sent in reversed(self._sent) if sent.offsets.get(partition) == commit)
        return next(same, None)


class NoOffsetCommitter:
    """Commits nothing, not even where reading began: for dry runs."""

    overdue_reason: str | None = None

    def send(self, *, force: bool) -> None:
        """Send nothing."""

    def commit_confirmed(self, partitions: Iterable[Partition], seconds: float) -> bool:
        """Return True: there is nothing to commit."""
        del partitions, seconds
        return True

    def completed(
        self, stored: Mapping[Partition, CommittedOffset], fault: KafkaFault | None
    ) -> None:
        """Do nothing: nothing was sent."""


def partition_names(partitions: Iterable[Partition]) -> list[str]:
    """Return partitions as logs name them."""
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]


def release_partitions(
    tracker: OffsetTracker,
    partitions: Iterable[Partition],
    cause: ReleaseCause,
    *,
    metrics: Metrics,
) -> None:
    """End the epochs of these partitions, and report every record that may be read again.

    Unsettled ones are counted as released. Settled ones whose commit Kafka did not confirm are
    logged: when they are read again, those with stored state are recognised as duplicates, the
    others are sent twice.
    """
    for partition in partitions:
        offsets = tracker.partitions.get(partition)
        if offsets is not None:
            _log_unconfirmed(partition, offsets, cause)
        metrics.counter(RECORDS_RELEASED, partition.topic, cause).inc(tracker.release(partition))


def _log_unconfirmed(partition: Partition, offsets: PartitionOffsets, cause: str) -> None:
    first, end = offsets.committed or 0, offsets.next_commit or 0
    if first < end and offsets.settled_until_ms:
        log.warning(
            "The commit of settled records was not confirmed; they may be read again.",
            code="commit_unconfirmed",
            ranges=f"{partition.topic}/{partition.number}/{first}-{end - 1}",
            cause=cause,
            always=True,
        )
