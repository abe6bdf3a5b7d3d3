"""The status of the replica in the group: membership, pauses, gauges, misplaced records."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition, Record
from processor.kafka.admin import KafkaAdmin, TopicLayout
from processor.kafka.consumer import KafkaConsumer
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.partitioner import PARTITIONERS
from processor.kafka.queries import IdleQuery, OffsetQuery
from processor.settings import KafkaSettings
from processor.source.topic_guard import TopicGuard
from processor.telemetry.catalogue import (
    ASSIGNED_PARTITIONS,
    LAG_RECORDS,
    MISPLACED_RECORDS,
    PAUSED_PARTITIONS,
    SETTLED_WATERMARK_TIMESTAMP_SECONDS,
)
from processor.telemetry.labels import ReleaseCause
from processor.telemetry.log_limiter import LogLimiter
from processor.telemetry.metrics import Metrics

_REFRESH_SECONDS: Final = 5.0
_MEMBER_QUERY_SECONDS: Final = 2.0
_PER_PARTITION: Final = (LAG_RECORDS, SETTLED_WATERMARK_TIMESTAMP_SECONDS)

log = structlog.get_logger()


class PauseCauses:
    """The causes for which partitions are paused; a partition is paused while it has any cause."""

    def __init__(self) -> None:
        self._for_all: set[str] = set()
        self._for_some: dict[str, set[Partition]] = {}

    @property
    def for_all(self) -> AbstractSet[str]:
        """Return the causes that pause every partition, also partitions assigned later."""
        return self._for_all

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Add a cause, for these partitions or for all."""
        if partitions is None:
            self._for_all.add(cause)
        else:
            self._for_some.setdefault(cause, set()).update(partitions)

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Remove a cause, for these partitions or altogether."""
        if partitions is not None:
            self._for_some.get(cause, set()).difference_update(partitions)
            return
        self._for_all.discard(cause)
        self._for_some.pop(cause, None)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Remove the causes of single partitions that are no longer assigned."""
        revoked = set(partitions)
        for paused in self._for_some.values():
            paused.difference_update(revoked)

    def paused(self, assigned: Iterable[Partition]) -> set[Partition]:
        """Return which of the assigned partitions are paused."""
        partitions = set(assigned)
        if self._for_all:
            return partitions
        return partitions.intersection(*[set().union(*self._for_some.values())])

    def paused_by_others(self, cause: str) -> set[Partition]:
        """Return the single partitions that are paused for a cause other than this one."""
        others = (paused for one, paused in self._for_some.items() if one != cause)
        return set().union(*others)

    def by_cause(self, assigned: Iterable[Partition]) -> Counter[str]:
        """Return how many assigned partitions each cause pauses."""
        partitions = set(assigned)
        counts = Counter({cause: len(partitions) for cause in self._for_all})
        for cause, paused in self._for_some.items():
            if cause not in self._for_all:
                counts[cause] = len(partitions & paused)
        return counts


class PartitionGauges:
    """Sets lag, watermark, assignment and pauses every few seconds, of assigned partitions only.

    The ends of partitions are queried from Kafka, so lag is right also while all are paused.
    """

    def __init__(self, admin: KafkaAdmin, metrics: Metrics, clock: Clock) -> None:
        self._admin = admin
        self._metrics = metrics
        self._clock = clock
        self._due = Deadline(clock, 0)
        self._ends: OffsetQuery | None = None
        self._queried_ms = 0
        self._topics: set[str] = set()
        self._causes: set[str] = set()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Set how many partitions of each topic are assigned; the other gauges follow soon."""
        self._due = Deadline(self._clock, 0)
        counts = dict.fromkeys(self._topics, 0)
        for partition in partitions:
            counts[partition.topic] = counts.get(partition.topic, 0) + 1
        self._topics = set(counts)
        for topic, count in counts.items():
            self._metrics.gauge(ASSIGNED_PARTITIONS, topic).set(count)

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Remove the series of these partitions."""
        for topic, number in partitions:
            for metric in _PER_PARTITION:
                self._metrics.forget(metric, topic, str(number))

    def refresh(self, tracker: OffsetTracker, pauses: PauseCauses) -> None:
        """Set the gauges from the last query's answer, and query again when it is time to."""
        if self._ends is not None and self._ends.done():
            ends, self._ends = self._ends.offsets(), None
            for partition in ends.keys() & tracker.partitions.keys():
                tracker.caught_up(partition, ends[partition], self._queried_ms)
                self._set_offsets(partition, tracker, ends[partition])
            counts = pauses.by_cause(tracker)
            self._causes |= counts.keys()
            for cause in self._causes:
                self._metrics.gauge(PAUSED_PARTITIONS, cause).set(counts[cause])
        if self._ends is None and self._due.over():
            self._due = Deadline(self._clock, _REFRESH_SECONDS)
            self._queried_ms = self._clock.now_ms()
            self._ends = self._admin.ends(tracker)

    def _set_offsets(self, partition: Partition, tracker: OffsetTracker, end: int) -> None:
        offsets = tracker.partitions[partition]
        labels = (partition.topic, str(partition.number))
        if offsets.committed is not None:
            lag = max(0, end - offsets.committed)
            self._metrics.gauge(LAG_RECORDS, *labels).set(lag)
        if offsets.settled_until_ms:
            watermark = self._metrics.gauge(SETTLED_WATERMARK_TIMESTAMP_SECONDS, *labels)
            watermark.set(offsets.settled_until_ms / 1000)


class PlacementCheck:
    """Counts records on another partition than their key's: such a person's records never meet.

    One record of a poll is checked. A record without a key, or of a topic whose partition count
    is not known, is not. What counts is the partition of its key by the number of partitions that
    person state was made for: where a topic has more by now, persons were spread anew.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: TopicLayout,
        metrics: Metrics,
        clock: Clock,
        *,
        guard: TopicGuard | None = None,
    ) -> None:
        self._guard = guard
        self._partitioner = PARTITIONERS.get(kafka.partitioner)
        self._layout = layout
        self._metrics = metrics
        self._limiter = LogLimiter(clock)

    def check(self, record: Record) -> None:
        """Count a record that is not on the partition of its key."""
        if self._partitioner is None or not record.key:
            return
        count = self._layout.counts().get(record.topic)
        if count is not None and self._guard is not None:
            count = self._guard.expected or count
        if count is None or self._partitioner(record.key, count) == record.partition:
            return
        self._metrics.counter(MISPLACED_RECORDS, record.topic).inc()
        suppressed = self._limiter.due(record.topic)
        if suppressed is not None:
            log.warning(
                "A record is on another partition than its key's: scores may be sent without the "
                "experience events of their person. Set kafka.partitioner to the producers' own.",
                code="record_misplaced",
                topic=record.topic,
                record=record.origin,
                suppressed=suppressed,
            )


class Membership:
    """Whether this replica is a member of the group, also while it has no partitions.

    Under the classic protocol the client reports every assignment, an empty one too. Under KIP-848
    it reports nothing to a member that never gets a partition: `refresh` queries the coordinator.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        consumer: KafkaConsumer,
        admin: KafkaAdmin,
        clock: Clock,
        *,
        eager: bool,
    ) -> None:
        self._queries = kafka.group_protocol == "consumer"
        self._consumer = consumer
        self._admin = admin
        self._clock = clock
        self._eager = eager
        self._due = Deadline(clock, _MEMBER_QUERY_SECONDS)
        self._query: IdleQuery | None = None
        self.is_member = False

    def assigned(self) -> None:
        """Note that the group has assigned partitions, or none."""
        self.is_member, self._query = True, None

    def ended(self, cause: ReleaseCause) -> None:
        """Note that an assignment has ended.

        An eager group assigns all anew, and who lost its partitions has to join again.
        """
        self.is_member = cause is ReleaseCause.REVOKED and not self._eager
        self._due = Deadline(self._clock, _MEMBER_QUERY_SECONDS)

    def refresh(self) -> None:
        """Query the coordinator now and then while this is not known to be a member."""
        if self.is_member or not self._queries:
            return
        if self._query is not None and self._query.done():
            self.is_member, self._query = self._query.is_idle(), None
        if not self.is_member and self._query is None and self._due.over():
            self._due = Deadline(self._clock, _MEMBER_QUERY_SECONDS)
            self._query = self._admin.idle_member(self._consumer.member_id)
