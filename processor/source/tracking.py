"""Parting with partitions: what is released is counted, what was not committed is told.

Records on another partition than their key's: what belongs to one person may never meet.

PollTracker: what was polled goes into the ledger, and offsets that Kafka skipped are noticed.
"""

from collections.abc import Iterable, Mapping

import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition, Record
from processor.kafka.offset_tracker import OffsetTracker, PartitionOffsets
from processor.kafka.offsets import OffsetQueries
from processor.kafka.partitioner import PARTITIONERS
from processor.kafka.topics import Topics
from processor.settings import KafkaSettings
from processor.source.waiting import PartitionRecords
from processor.telemetry.log_limiter import LogLimiter
from processor.telemetry.metrics import Metrics

_ANSWER_SECONDS = 1.0
_ASK_SECONDS = 10.0

log = structlog.get_logger()


class PlacementCheck:
    """Looks at a record now and then; a record without a key belongs nowhere.

    How many partitions a topic has is asked of Kafka after each rebalance, and again later where
    it did not answer.
    """

    def __init__(
        self, kafka: KafkaSettings, offsets: OffsetQueries, metrics: Metrics, clock: Clock
    ) -> None:
        self._place = PARTITIONERS.get(kafka.partitioner)
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._limiter = LogLimiter(clock)
        self._layout: Mapping[str, int] = {}
        self._ask = Deadline(clock, 0)

    def look_again(self) -> None:
        """Ask for the topics' partition counts anew, as after a rebalance."""
        self._layout = {}

    def look(self, record: Record) -> None:
        """Count a record that is not where its key belongs."""
        if self._place is None or not record.key or not self._known(record.topic):
            return
        if self._place(record.key, self._layout[record.topic]) != record.partition:
            self._metrics.counter("misplaced_records", record.topic).inc()
            self._warn(record)

    def _known(self, topic: str) -> bool:
        if not self._layout and self._ask.over():
            self._ask = Deadline(self._clock, _ASK_SECONDS)
            self._layout = self._offsets.layout(_ANSWER_SECONDS)
        return topic in self._layout

    def _warn(self, record: Record) -> None:
        suppressed = self._limiter.due(record.topic)
        if suppressed is not None:
            log.warning(
                "A record is on another partition than its key's: scores may be sent without the "
                "experience events of their person. Set kafka.partitioner to the producers' own.",
                topic=record.topic,
                record=record.origin,
                suppressed=suppressed,
            )


class PollTracker:
    """Books runs of records under claims.

    Offsets skipped by Kafka are counted and warned of, never waited for: deleted, compacted and
    control records leave the same holes as lost ones, so only the operator can tell them apart,
    with `gaps_expected`.
    """

    def __init__(
        self,
        ledger: OffsetTracker,
        topics: Topics,
        misplaced: PlacementCheck,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._topics = topics
        self._misplaced = misplaced
        self._metrics = metrics
        self._limiter = LogLimiter(clock)

    def book(self, run: list[Record]) -> PartitionRecords | None:
        """Book records of one partition; None where it was taken from us meanwhile."""
        first, last = run[0], run[-1]
        partition = Partition(first.topic, first.partition)
        if partition not in self._ledger:
            return None
        skipped = self._ledger.reach(partition, first.offset)
        offsets = range(first.offset, last.offset + 1)
        self._gap(partition, skipped + len(offsets) - len(run), first.offset)
        self._metrics.counter("records_consumed", partition.topic).inc(len(run))
        if self._topics.keyed(partition.topic):
            self._misplaced.look(first)
        return PartitionRecords(
            self._ledger.book(partition, offsets, len(run), last.timestamp_ms), run
        )

    def ended(self, partition: Partition, offset: int | None) -> None:
        """Note that a partition was read to its end, which control records may have moved on."""
        if partition in self._ledger and offset is not None:
            self._gap(partition, self._ledger.reach(partition, offset), offset)

    def _gap(self, partition: Partition, skipped: int, near: int) -> None:
        if skipped <= 0 or self._topics.gaps_expected(partition.topic):
            return
        self._metrics.counter("offset_gap_records", partition.topic).inc(skipped)
        suppressed = self._limiter.due(f"gap {partition.topic}")
        if suppressed is not None:
            log.warning(
                "Kafka skipped offsets. Unless the topic is compacted or written in transactions, "
                "records were lost.",
                partition=f"{partition.topic}/{partition.number}",
                near=near,
                skipped=skipped,
                suppressed=suppressed,
            )


def partition_names(partitions: Iterable[Partition]) -> list[str]:
    """Return partitions as logs name them."""
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]


def release_partitions(
    ledger: OffsetTracker, partitions: Iterable[Partition], cause: str, *, metrics: Metrics
) -> None:
    """End the epochs of these partitions; every record of them that may come again is told of.

    Unsettled ones are counted as released. Settled ones whose commit Kafka did not confirm are
    listed: what is remembered of them merges when they come again, the rest is sent twice.
    """
    for partition in partitions:
        account = ledger.accounts.get(partition)
        if account is not None:
            _log_release(partition, account, cause)
        metrics.counter("records_released", partition.topic, cause).inc(ledger.drop(partition))


def _log_release(partition: Partition, account: PartitionOffsets, cause: str) -> None:
    first, end = account.committed or 0, account.position or 0
    if first < end and account.settled_ms:
        log.warning(
            "The commit of settled records was not confirmed; they may be read again.",
            places=f"{partition.topic}/{partition.number}/{first}-{end - 1}",
            cause=cause,
            always=True,
        )
