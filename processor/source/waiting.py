"""Scores wait for the experience events that were in Kafka before them.

`WaitingScores` decides which scores still wait. `EventWait` queries where the events end and counts
the results. Where events are repartitioned, a score first waits until all events that were there
before it are (`RepartitionProgress`).
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import inf
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition, Record
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.admin import TopicLayout
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange
from processor.kafka.queries import OffsetQuery
from processor.kafka.topics import Topics
from processor.source.topic_guard import TopicGuard
from processor.telemetry.catalogue import SCORE_WAIT_SECONDS, SCORE_WAITS
from processor.telemetry.labels import WaitResult
from processor.telemetry.metrics import Metrics

END_OFFSETS_RETRY: Final = RetryPolicy(first_seconds=0.1, max_seconds=2.0)
"""Between queries for the ends of event partitions while Kafka does not answer."""
COMMITTED_OFFSETS_RETRY: Final = RetryPolicy(first_seconds=0.1, max_seconds=2.0)
"""Between queries for committed offsets that have no answer."""

_PROGRESS_SECONDS: Final = 0.1
"""Between queries for what other members have committed, while Kafka answers."""

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


class OffsetSource(Protocol):
    """Answers queries for offsets; `KafkaAdmin` is one."""

    def ends(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query where partitions end."""
        ...

    def committed(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Query the group's committed offsets."""
        ...


class RepartitionProgress:
    """Finds out up to when all experience events are repartitioned, by whichever member.

    It works in rounds: a round queries where the events end, and then what the group has committed
    until it is past these ends. An offset is committed once the events before it are repartitioned;
    of this member's own partitions the tracker knows sooner. Nothing here waits for Kafka.
    """

    def __init__(self, topics: Topics, offsets: OffsetSource, clock: Clock) -> None:
        self._topics = topics
        self._offsets = offsets
        self._clock = clock
        self._complete_until = -inf
        self._round_began = 0.0
        self._retry = Retry(END_OFFSETS_RETRY, clock)
        self._ends: OffsetQuery | None = None
        self._committed: OffsetQuery | None = None
        self._remaining: dict[Partition, int] | None = None
        self._committed_retry = Retry(COMMITTED_OFFSETS_RETRY, clock)
        self._committed_due = Deadline(clock, 0)

    def complete_until(self, layout: Mapping[str, int], tracker: OffsetTracker) -> float:
        """Return a monotonic time: all events in Kafka by then are repartitioned.

        To be called again while any score waits; each call continues the round.
        """
        if not self._topics.repartitioning:
            return inf
        if self._remaining is None:
            self._begin_round(layout)
        if self._remaining is not None:
            self._continue_round(tracker)
        return self._complete_until

    def restart(self) -> None:
        """Begin a new round, as after a rebalance."""
        self._ends = self._committed = self._remaining = None
        self._retry.succeeded()
        self._committed_retry.succeeded()

    def _begin_round(self, layout: Mapping[str, int]) -> None:
        """Query where the events end; a round needs the ends of all partitions."""
        partitions = self._topics.repartitioned(layout)
        if self._ends is None and self._retry.due:
            self._round_began = self._clock.monotonic()
            self._ends = self._offsets.ends(partitions)
        if self._ends is not None and self._ends.done():
            ends, self._ends = self._ends.offsets(), None
            if ends.keys() >= set(partitions):
                self._remaining = {each: end for each, end in ends.items() if end > 0}
                self._retry.succeeded()
            else:
                self._retry.failed()

    def _continue_round(self, tracker: OffsetTracker) -> None:
        """Remove the partitions whose ends are passed; without any left the round is complete."""
        self._remove_passed(tracker.settled_offsets())
        if self._committed is not None and self._committed.done():
            self._remove_passed(self._committed.offsets())
            if self._committed.failed():
                self._committed_retry.failed()
            else:
                self._committed_retry.succeeded()
            self._committed = None
        if not self._remaining:
            self._complete_until, self._remaining = self._round_began, None
            self._committed = None
        elif self._committed is None and self._committed_due.over() and self._committed_retry.due:
            self._committed_due = Deadline(self._clock, _PROGRESS_SECONDS)
            self._committed = self._offsets.committed(self._remaining)

    def _remove_passed(self, offsets: Mapping[Partition, int]) -> None:
        remaining = self._remaining or {}
        self._remaining = {
            each: end for each, end in remaining.items() if offsets.get(each, 0) < end
        }


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
    ) -> list[ReadyRecords]:
        """Add what was polled and return what need not wait.

        While all partitions are `paused`, or a score's own partition is `held`, no score is ready,
        and the time does not count.
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
        waited = self._scores.take_ready(tracker.read_offsets(), now, held)
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
