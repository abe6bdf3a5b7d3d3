"""Records on another partition than their key's: what belongs to one person may never meet."""

from collections.abc import Mapping

import structlog

from processor.clock import Clock, Deadline
from processor.record import Record
from processor.settings import KafkaSettings
from processor.source.offsets import Offsets
from processor.source.partitioner import PARTITIONERS
from processor.telemetry.metrics import Metrics
from processor.telemetry.quiet import Quiet

__all__ = ["Misplaced"]

_ANSWER_SECONDS = 1.0
_ASK_SECONDS = 10.0

log = structlog.get_logger()


class Misplaced:
    """Looks at a record now and then; a record without a key belongs nowhere.

    How many partitions a topic has is asked of Kafka after each rebalance, and again later where
    it did not answer.
    """

    def __init__(
        self, kafka: KafkaSettings, offsets: Offsets, metrics: Metrics, clock: Clock
    ) -> None:
        self._place = PARTITIONERS.get(kafka.partitioner)
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._quiet = Quiet(clock)
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
        kept_back = self._quiet.due(record.topic)
        if kept_back is not None:
            log.warning(
                "A record is on another partition than its key's: scores may be sent without the "
                "experience events of their person. Set kafka.partitioner to the producers' own.",
                topic=record.topic,
                record=record.origin,
                kept_back=kept_back,
            )
