"""Booking: what was polled goes into the ledger, and offsets that Kafka skipped are noticed."""

import structlog

from processor.clock import Clock
from processor.record import Partition, Record
from processor.source.gate import Share
from processor.source.ledger import Ledger
from processor.source.misplaced import Misplaced
from processor.source.topics import Topics
from processor.telemetry.metrics import Metrics
from processor.telemetry.quiet import Quiet

__all__ = ["Booking"]

log = structlog.get_logger()


class Booking:
    """Books runs of records under claims.

    Offsets skipped by Kafka are counted and warned of, never waited for: deleted, compacted and
    control records leave the same holes as lost ones, so only the operator can tell them apart,
    with `gaps_expected`.
    """

    def __init__(
        self,
        ledger: Ledger,
        topics: Topics,
        misplaced: Misplaced,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._topics = topics
        self._misplaced = misplaced
        self._metrics = metrics
        self._quiet = Quiet(clock)

    def book(self, run: list[Record]) -> Share | None:
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
        return Share(self._ledger.book(partition, offsets, len(run), last.timestamp_ms), run)

    def ended(self, partition: Partition, offset: int | None) -> None:
        """Note that a partition was read to its end, which control records may have moved on."""
        if partition in self._ledger and offset is not None:
            self._gap(partition, self._ledger.reach(partition, offset), offset)

    def _gap(self, partition: Partition, skipped: int, near: int) -> None:
        if skipped <= 0 or self._topics.gaps_expected(partition.topic):
            return
        self._metrics.counter("offset_gap_records", partition.topic).inc(skipped)
        kept_back = self._quiet.due(f"gap {partition.topic}")
        if kept_back is not None:
            log.warning(
                "Kafka skipped offsets. Unless the topic is compacted or written in transactions, "
                "records were lost.",
                partition=f"{partition.topic}/{partition.number}",
                near=near,
                skipped=skipped,
                kept_back=kept_back,
            )
