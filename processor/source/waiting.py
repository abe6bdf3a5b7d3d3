"""Scores wait for the experience events that were in Kafka before them.

`WaitingScores` decides which scores still wait. `EventWait` queries where the events end and counts
the results. Where events are repartitioned, a score first waits until all events that were there
before it are (`RepartitionProgress`).
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import NamedTuple

import msgspec
import structlog

from processor.domain.clock import Clock
from processor.domain.record import Partition, Record
from processor.domain.retry import Retry
from processor.kafka.admin import TopicLayout
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange
from processor.kafka.queries import OffsetQuery
from processor.kafka.topics import Topics
from processor.source.repartition_progress import END_OFFSETS_RETRY, RepartitionProgress
from processor.source.topic_guard import TopicGuard
from processor.telemetry.catalogue import SCORE_WAIT_SECONDS, SCORE_WAITS
from processor.telemetry.labels import WaitResult
from processor.telemetry.metrics import Metrics

log = structlog.get_logger()


class PartitionRecords(NamedTuple):
    """One partition's records of one poll, and how they are tracked."""

    tracked: TrackedRange
    records: list[Record]


class ReadyRecords(NamedTuple):
    """Records that need not wait any more, after `seconds` of waiting."""

    polled: PartitionRecords
    result: WaitResult
    seconds: float


class KafkaPoll(NamedTuple):
    """One poll: records in Kafka's order per partition, and the ranges that track them.

    `timed_out` holds the indexes of score records whose wait for earlier events timed out.
    """

    records: Sequence[Record]
    tracked: Sequence[TrackedRange]
    timed_out: frozenset[int] = frozenset()

    @classmethod
    def of(cls, ready: Sequence[ReadyRecords]) -> "KafkaPoll":
        """Return records that need not wait any more, in order, as one poll."""
        together: list[Record] = []
        timed_out: set[int] = set()
        for polled, result, _ in ready:
            if result is WaitResult.TIMEOUT:
                timed_out.update(range(len(together), len(together) + len(polled.records)))
            together += polled.records
        return cls(together, [each.polled.tracked for each in ready], frozenset(timed_out))

    def without(self, partitions: AbstractSet[Partition]) -> "KafkaPoll":
        """Return the poll without the records of these partitions."""
        remaining = [
            index
            for index, record in enumerate(self.records)
            if (record.topic, record.partition) not in partitions
        ]
        return KafkaPoll(
            [self.records[index] for index in remaining],
            [tracked for tracked in self.tracked if tracked.partition not in partitions],
            frozenset(new for new, index in enumerate(remaining) if index in self.timed_out),
        )


class _Waiting(msgspec.Struct):
    polled: PartitionRecords
    since: float
    ends: Mapping[Partition, int] | None = None
    waited: bool = False


class WaitingScores:
    """Queues of waiting scores, one per partition. `now` is monotonic seconds.

    A score of partition number p waits for the event partitions of number p, up to their end
    offsets as they were when it was polled, and `max_wait` seconds at most. About `limit` records
    wait at most, by pausing partitions that are `full`.
    """

    def __init__(self, max_wait: float, limit: int) -> None:
        self._max_wait = max_wait
        self._limit = limit
        self._queues: dict[Partition, deque[_Waiting]] = defaultdict(deque)

    @property
    def count(self) -> int:
        """Return how many records wait."""
        return sum(map(_size, self._queues.values()))

    def add(self, polled: Iterable[PartitionRecords], now: float) -> None:
        """Add polled scores."""
        for each in polled:
            self._queues[each.tracked.partition].append(_Waiting(each, now))

    def without_ends(self, until: float = inf) -> set[int]:
        """Return the partition numbers whose end offsets are needed now.

        Only for scores that were added at or before `until`: it is too early for later ones.
        """
        return {
            partition.number
            for partition, queue in self._queues.items()
            if any(waiting.ends is None and waiting.since <= until for waiting in queue)
        }

    def set_ends(self, ends: Mapping[int, Mapping[Partition, int]], until: float = inf) -> None:
        """Set up to where events must be read, by partition number, for scores without it."""
        for partition, queue in self._queues.items():
            for waiting in queue:
                if waiting.ends is None and waiting.since <= until:
                    waiting.ends = ends.get(partition.number)

    def forget_ends(self) -> None:
        """Forget up to where events must be read, so that it is found out anew."""
        for queue in self._queues.values():
            for waiting in queue:
                waiting.ends = None

    def take_ready(
        self,
        read: Mapping[Partition, int],
        now: float,
        held: AbstractSet[Partition] = frozenset(),
    ) -> list[ReadyRecords]:
        """Remove and return the scores that need not wait, given up to where events are read.

        None of partitions that are `held`.
        """
        ready = []
        for partition, queue in self._queues.items():
            if partition in held:
                continue
            while queue and (result := self._result(queue[0], read, now)) is not None:
                waiting = queue.popleft()
                ready.append(ReadyRecords(waiting.polled, result, now - waiting.since))
        return ready

    def extend(self, seconds: float, partitions: AbstractSet[Partition] | None = None) -> None:
        """Extend all waits, or those of some partitions: intake was paused for so long."""
        for partition, queue in self._queues.items():
            if partitions is None or partition in partitions:
                for waiting in queue:
                    waiting.since += seconds

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop the scores of partitions that are no longer assigned."""
        for partition in partitions:
            self._queues.pop(partition, None)

    def full(self, partitions: Sequence[Partition]) -> set[Partition]:
        """Return the score partitions to pause so that the queues stay bounded."""
        sizes = {partition: _size(self._queues[partition]) for partition in partitions}
        if sum(sizes.values()) >= self._limit:
            return set(partitions)
        limit = self._limit // max(1, len(partitions))
        return {partition for partition, size in sizes.items() if size >= max(1, limit)}

    def _result(
        self, waiting: _Waiting, read: Mapping[Partition, int], now: float
    ) -> WaitResult | None:
        if waiting.ends is not None and all(
            read.get(partition, 0) >= end for partition, end in waiting.ends.items()
        ):
            return WaitResult.OK if waiting.waited else WaitResult.NONE
        waiting.waited = True
        return WaitResult.TIMEOUT if now - waiting.since >= self._max_wait else None


def _size(queue: Iterable[_Waiting]) -> int:
    return sum(waiting.polled.tracked.count for waiting in queue)


class _EndsQuery(NamedTuple):
    """Where events end, for the scores that were added at or before `until`, by number."""

    ends: OffsetQuery
    until: float
    events: Mapping[int, Sequence[Partition]]


class EventWait:
    """Returns polled records in an order that the join can use: events before waiting scores."""

    def __init__(  # noqa: PLR0913  the queues, what is asked, and what may be missing
        self,
        scores: WaitingScores,
        topics: Topics,
        layout: TopicLayout,
        guard: TopicGuard,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._scores = scores
        self._topics = topics
        self._guard = guard
        self._progress = RepartitionProgress(topics, layout.admin, clock)
        self._layout = layout
        self._metrics = metrics
        self._clock = clock
        self._retry = Retry(END_OFFSETS_RETRY, clock)
        self._checked_layout: Mapping[str, int] = {}
        self._query: _EndsQuery | None = None
        self._last_call = clock.monotonic()

    @property
    def waiting_records(self) -> int:
        """Return how many records wait."""
        return self._scores.count

    def take_ready(
        self,
        polled: Sequence[PartitionRecords],
        tracker: OffsetTracker,
        *,
        paused: bool,
        held: AbstractSet[Partition] = frozenset(),
        lost: AbstractSet[Partition] = frozenset(),
    ) -> list[ReadyRecords]:
        """Add what was polled and return what need not wait.

        While all partitions are `paused`, or a score's own partition is `held`, no score is ready,
        and the time does not count. Partitions that are `lost` have no valid offset now.
        """
        now = self._clock.monotonic()
        since_last_call, self._last_call = now - self._last_call, now
        is_scores = self._topics.is_scores
        scores = [each for each in polled if is_scores(each.tracked.partition.topic)]
        ready = [
            ReadyRecords(each, WaitResult.NONE, 0.0)
            for each in polled
            if not is_scores(each.tracked.partition.topic)
        ]
        self._scores.add(scores, now)
        if paused:
            self._scores.extend(since_last_call)
            return ready
        self._scores.extend(since_last_call, held)
        self._query_ends(tracker)
        read = {each: at for each, at in tracker.read_offsets().items() if each not in lost}
        waited = self._scores.take_ready(read, now, held)
        if self._guard.incomplete:
            waited = [each._replace(result=WaitResult.TIMEOUT) for each in waited]
        for each in waited:
            self._metrics.counter(SCORE_WAITS, each.result).inc(len(each.polled.records))
            if each.result is not WaitResult.NONE:
                self._metrics.histogram(SCORE_WAIT_SECONDS).observe(each.seconds)
        return ready + waited

    def full(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Return the partitions to pause so that the queues stay bounded."""
        return self._scores.full(
            [each for each in partitions if self._topics.is_scores(each.topic)]
        )

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop the scores of partitions that are no longer assigned."""
        self._scores.forget(partitions)

    def restart_progress(self) -> None:
        """Find out anew what is repartitioned, as after a rebalance."""
        self._query = None
        self._progress.restart()

    def restart(self) -> None:
        """Find out anew where the events end, as after one of their topics was created anew."""
        self.restart_progress()
        self._scores.forget_ends()

    def _query_ends(self, tracker: OffsetTracker) -> None:
        """Query where the events end that scores wait for; a query lasts until it is answered."""
        if self._query is None and (query := self._next_query(tracker)) is not None:
            query.ends.wait()
            self._query = query
        if self._query is None or not self._query.ends.done():
            return
        query, self._query = self._query, None
        ends = query.ends.offsets()
        complete = {n: each for n, each in query.events.items() if ends.keys() >= set(each)}
        if len(complete) == len(query.events):
            self._retry.succeeded()
        else:
            self._retry.failed()
        self._scores.set_ends(
            {n: {partition: ends[partition] for partition in each} for n, each in complete.items()},
            query.until,
        )

    def _next_query(self, tracker: OffsetTracker) -> "_EndsQuery | None":
        if not self._scores.without_ends() or not (layout := self._known_layout()):
            return None
        until = min(self._progress.complete_until(layout, tracker), self._clock.monotonic())
        numbers = self._scores.without_ends(until)
        if not numbers or not self._retry.due:
            return None
        waiting = self._guard.incomplete or self._topics.copartitioned(layout)
        events = {n: self._topics.events_of(layout, n) if waiting else [] for n in numbers}
        wanted = {partition for partitions in events.values() for partition in partitions}
        return _EndsQuery(self._layout.admin.ends(wanted), until, events)

    def _known_layout(self) -> Mapping[str, int]:
        layout = self._layout.counts()
        if layout is not self._checked_layout:
            self._checked_layout = layout
            if not self._topics.copartitioned(layout):
                log.warning(
                    "Scores do not wait for experience events: their topics differ in partitions.",
                    code="topics_not_copartitioned",
                )
        return layout
