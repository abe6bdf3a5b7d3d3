"""`StartOffsets`: the one place that decides where reading of a partition begins.

A group begins at `kafka.start`, and that offset is committed at once: otherwise a restart before
the first record would begin somewhere else. What appears later begins at its start. Where an offset
is lost, `kafka.on_gap` decides. Each beginning is logged with its cause.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import structlog

from processor.domain.clock import Clock
from processor.domain.errors import Gap, StopError
from processor.domain.record import Partition
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.consumer import CommittedOffset, KafkaConsumer
from processor.kafka.offset_tracker import OffsetTracker
from processor.settings import KafkaSettings
from processor.source.beginning import Beginning, PartitionFacts, Start, beginning
from processor.source.group_records import GroupRecords
from processor.source.offset_loss import LOG_LOSS, LostOffset, needs_choice, stop_sentence
from processor.source.offsets import partition_names
from processor.source.start_query import InvalidOffset, StartQuery
from processor.source.topic_guard import TopicGuard
from processor.source.topic_watch import is_recreated, topic_id_of
from processor.telemetry.catalogue import (
    LOST_OFFSETS,
    RECORDS_RELEASED,
    REREAD_RECORDS,
    RETENTION_OVERRUN_RECORDS,
)
from processor.telemetry.labels import OffsetLoss, ReleaseCause
from processor.telemetry.log_limiter import LogLimiter
from processor.telemetry.metrics import Metrics

OFFSET_RESET: Final = RetryPolicy(first_seconds=0.2, max_seconds=5.0)
"""Between queries for the beginning or end of partitions without a valid offset."""

_FIRST_RECORD_SECONDS: Final = 5.0
"""How long a member waits for the record of a group's beginning that another one has written."""

log = structlog.get_logger()


class StartOffsets:
    """Begins the partitions that have no valid offset, as far as Kafka answers.

    `recognised` says whether scores that are read again are recognised as duplicates. A group that
    has state in the changelog has been here. Without `records` every beginning
    is that of a new group, as in a dry run.
    """

    def __init__(  # noqa: PLR0913  what is asked, and what is told
        self,
        kafka: KafkaSettings,
        consumer: KafkaConsumer,
        guard: TopicGuard,
        records: GroupRecords | None,
        *,
        recognised: bool,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._guard = guard
        self._watch = guard.watch
        self._layout = guard.layout
        self._topics = guard.topics
        self._records = records
        self._recognised = recognised
        self._metrics = metrics
        self._clock = clock
        self._retry = Retry(OFFSET_RESET, clock)
        self._limiter = LogLimiter(clock)
        self._marked_at = 0.0
        self._invalid: dict[Partition, InvalidOffset] = {}
        self._query: StartQuery | None = None
        self._without_record_since: float | None = None
        self._stopped: dict[Partition, InvalidOffset] = {}
        self._raised: dict[Partition, Start] = {}
        self._accepted: set[Partition] = set()

    @property
    def stopped(self) -> frozenset[Partition]:
        """Return the partitions that wait until the loss of their offset is accepted."""
        return frozenset(self._stopped)

    @property
    def lost(self) -> AbstractSet[Partition]:
        """Return the partitions without a valid offset, those that wait included."""
        return self._invalid.keys() | self._stopped.keys()

    def assign(
        self, partitions: Sequence[Partition], tracker: OffsetTracker
    ) -> dict[Partition, CommittedOffset]:
        """Begin at the group's committed offsets, which it returns; without one: invalid."""
        committed = self._consumer.committed(partitions)
        for partition in partitions:
            found, now = committed.get(partition), self._clock.monotonic()
            if found is None:
                tracker.assign(partition, None, now)
            else:
                tracker.assign(partition, found.offset, now, topic_id_of(found.metadata))
        self._consumer.assign(
            {each: committed[each].offset if each in committed else None for each in partitions}
        )
        self._watch.hurry()
        return committed

    def mark_invalid(
        self, partition: Partition, wanted: int | None, *, truncated: bool = False
    ) -> None:
        """Note a partition without a valid offset; `wanted` is one that Kafka does not have.

        `truncated` says that Kafka has other records below it than those that were read. A late
        error of one that waits already is the same loss.
        """
        if partition in self._stopped:
            return
        self._invalid[partition] = InvalidOffset(wanted, truncated)
        self._marked_at = self._clock.monotonic()
        self._watch.hurry()

    def check_ids(self, tracker: OffsetTracker) -> None:
        """Compare the ids of the topics with those to which the offsets belong."""
        for partition, offsets in list(tracker.partitions.items()):
            topic_id = self._watch.id_of(partition.topic)
            if not topic_id or topic_id == offsets.topic_id or partition in self._stopped:
                continue
            if not self._watch.replaced(partition.topic, offsets.topic_id, topic_id):
                tracker.stamp(partition, topic_id)
            elif partition not in self._invalid:
                self._invalid[partition] = InvalidOffset(offsets.next_read)

    def accept_gaps(self, partitions: Iterable[Partition]) -> None:
        """Read on in partitions that a StopError named, from their oldest record."""
        for partition in partitions:
            if partition in self._stopped:
                self._invalid[partition] = self._stopped.pop(partition)
                self._accepted.add(partition)

    def reset_invalid(self, tracker: OffsetTracker) -> bool:
        """Begin partitions without a valid offset, as far as Kafka answers; True where any was.

        Raises StopError where offsets are lost and the settings do not say how to go on: those
        partitions wait until that is accepted.
        """
        self._raise_stopped()
        self._accepted &= tracker.partitions.keys()
        self._stopped = {each: at for each, at in self._stopped.items() if each in tracker}
        self._invalid = {each: at for each, at in self._invalid.items() if each in tracker}
        if not self._invalid or not self._retry.due:
            return False
        if self._query is None:
            self._query = self._ask()
        if self._query is None or not self._query.done():
            return False
        query, self._query = self._query, None
        starts = self._decide(query, tracker)
        self._begin(starts, tracker)
        if self._invalid.keys() & query.partitions:
            self._retry.failed()
        else:
            self._retry.succeeded()
        return bool(starts)

    def _ask(self) -> StartQuery | None:
        """Ask Kafka, once the ids of the topics are newer than the loss of the offsets."""
        layout = self._layout.counts()
        if not layout or not self._watch.answered_since(self._marked_at):
            return None
        if self._records is None:
            return StartQuery(self._layout.admin, self._invalid, (), (), all_ends=False)
        group = self._topics.partitions(layout)
        changelog = self._guard.changelog or ""
        numbers = range(layout.get(changelog, 0))
        state = [Partition(changelog, number) for number in numbers]
        ends = self._kafka.start == "latest" and not self._records.began
        return StartQuery(self._layout.admin, self._invalid, group, state, all_ends=ends)

    def _decide(self, query: StartQuery, tracker: OffsetTracker) -> dict[Partition, Start]:
        """Return where reading begins, but for partitions of which not enough is known."""
        ranges = query.ranges()
        ends = query.group_ends()
        starts: dict[Partition, Start] = {}
        for partition in ranges.keys() & self._invalid.keys() & query.partitions:
            facts = self._facts(partition, ranges[partition], query, tracker)
            if facts is None:
                continue
            start = beginning(facts, self._kafka.start)
            if start.cause is Beginning.GROUP_BEGINS and ends is None:
                self._report_waiting()
                continue
            if self._goes_on(partition, start):
                starts[partition] = start
        begins = any(each.cause is Beginning.GROUP_BEGINS for each in starts.values())
        if begins and self._records is not None:
            layout = self._topics.counts(self._layout.counts())
            ids = {topic: self._watch.id_of(topic) for topic in layout}
            self._records.begin(layout, ends or {}, ids)
        return starts

    def _facts(
        self,
        partition: Partition,
        offsets: tuple[int, int],
        query: StartQuery,
        tracker: OffsetTracker,
    ) -> PartitionFacts | None:
        """Return what is known of a partition; None where it has to be asked again."""
        wanted, truncated = self._invalid[partition]
        if self._watch.is_missing(partition.topic):
            return None
        topic_id = self._watch.id_of(partition.topic)
        recreated = is_recreated(tracker.partitions[partition].topic_id, topic_id)
        facts = PartitionFacts(wanted, *offsets, recreated, truncated)
        if wanted is not None or self._records is None:
            return facts
        return self._without_offset(partition, facts, query, self._records)

    def _without_offset(
        self, partition: Partition, facts: PartitionFacts, query: StartQuery, records: GroupRecords
    ) -> PartitionFacts | None:
        """Return what the group knows of a partition that was assigned without an offset."""
        committed, state = query.committed(), query.has_state(partition.number)
        if committed is None:
            return None
        topic_id = self._watch.id_of(partition.topic)
        before = records.committed_id(partition)
        recreated = is_recreated(before or "", topic_id)
        if partition in committed:  # the query at the assignment had failed
            return facts._replace(wanted=committed[partition], recreated=recreated)
        if before is not None:
            return facts._replace(recreated=recreated, committed_before=True)
        here = bool(committed)
        if state is None or not self._has_first_record(records, here=here):
            return None
        if not (here or records.began) and state:
            return facts._replace(committed_before=True)
        there = records.began_with(partition)
        return facts._replace(
            recreated=there and is_recreated(records.id_at_start(partition.topic), topic_id),
            group_here=here or records.began,
            there_at_group_start=there,
            end_at_group_start=records.end_at_start(partition),
        )

    def _report_waiting(self) -> None:
        suppressed = self._limiter.due("ends")
        if suppressed is not None:
            log.warning(
                "A new group begins once Kafka says where each of its partitions ends.",
                code="group_beginning_waits",
                suppressed=suppressed,
            )

    def _has_first_record(self, records: GroupRecords, *, here: bool) -> bool:
        """Return False while the record of the group's beginning may be on its way to here.

        It matters for `latest` only: the member that began the group has committed by then.
        """
        if records.began or not here or self._kafka.start == "earliest":
            return True
        now = self._clock.monotonic()
        if self._without_record_since is None:
            self._without_record_since = now
        return now - self._without_record_since >= _FIRST_RECORD_SECONDS

    def _goes_on(self, partition: Partition, start: Start) -> bool:
        """Report a lost offset, once; False where reading must not go on yet."""
        loss = start.loss
        if loss is None or partition in self._accepted:
            self._accepted.discard(partition)
            return True
        self._report(partition, start, loss)
        choice = needs_choice(start, recognised=self._recognised)
        if self._kafka.on_gap == "continue" and not choice:
            return True
        self._stopped[partition] = self._invalid.pop(partition)
        self._raised[partition] = start
        return False

    def _report(self, partition: Partition, start: Start, loss: OffsetLoss) -> None:
        topic = partition.topic
        self._metrics.counter(LOST_OFFSETS, topic, loss).inc()
        self._metrics.counter(RETENTION_OVERRUN_RECORDS, topic).inc(start.missing)
        name = f"{topic}/{partition.number}"
        wanted = self._invalid[partition].wanted
        LOG_LOSS[loss](LostOffset(name, wanted, start, self._kafka.on_gap))

    def _begin(self, starts: Mapping[Partition, Start], tracker: OffsetTracker) -> None:
        """Read on at these offsets."""
        for partition, start in starts.items():
            replaced = start.loss is OffsetLoss.TOPIC_RECREATED
            now = self._clock.monotonic()
            released = tracker.reset(partition, start.offset, now, replaced=replaced)
            tracker.stamp(partition, self._watch.id_of(partition.topic))
            topic = partition.topic
            self._metrics.counter(RECORDS_RELEASED, topic, ReleaseCause.REWOUND).inc(released)
            self._metrics.counter(REREAD_RECORDS, topic).inc(start.again)
            del self._invalid[partition]
            log.info(
                "Reading of a partition begins.",
                code="reading_begins",
                partition=f"{topic}/{partition.number}",
                offset=start.offset,
                cause=start.cause,
                start=self._kafka.start,
            )
        if starts:
            others = {each: offsets.next_read for each, offsets in tracker.partitions.items()}
            self._consumer.reassign({each: start.offset for each, start in starts.items()}, others)

    def _wanted(self, partition: Partition, start: Start) -> int | None:
        """Return the offset that was lost; of an earlier topic it says nothing about this one."""
        replaced = start.loss is OffsetLoss.TOPIC_RECREATED
        return None if replaced else self._stopped[partition].wanted

    def _raise_stopped(self) -> None:
        """Raise StopError for the partitions that were stopped since it was raised last."""
        raised, self._raised = self._raised, {}
        gaps = {
            each: Gap(
                start.cause, self._watch.id_of(each.topic), self._wanted(each, start), start.offset
            )
            for each, start in raised.items()
            if each in self._stopped
        }
        if not gaps:
            return
        by_loss: defaultdict[OffsetLoss, list[Partition]] = defaultdict(list)
        for partition in gaps:
            if (loss := raised[partition].loss) is not None:
                by_loss[loss].append(partition)
        sentences = [
            stop_sentence(
                loss,
                ", ".join(partition_names(partitions)),
                missing=sum(raised[each].missing for each in partitions),
                again=sum(raised[each].again for each in partitions),
                recognised=self._recognised,
            )
            for loss, partitions in by_loss.items()
        ]
        sentences.append(f"(kafka.on_gap is {self._kafka.on_gap}.)")
        raise StopError(" ".join(sentences), gaps)
