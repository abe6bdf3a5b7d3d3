"""In step: a score waits until the experience events that were in Kafka before it have been read.

The gate decides; this asks Kafka where the events end, and counts how the waiting went. Where
events are forwarded, a score first waits until all that were there before it have been.

The gate: decides which scores still wait for earlier experience events, and which go on.

A score polled from partition p waits for the partitions of number p of the events topics, up to
their end offsets as they were when it was polled, and `max_wait` seconds at most.

RepartitionProgress: up to when all experience events have been forwarded, whoever reads them.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import NamedTuple, Protocol

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition, Record
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange
from processor.kafka.offsets import OffsetQueries, OffsetQuery
from processor.kafka.topics import Topics
from processor.telemetry.metrics import Metrics


class PartitionRecords(NamedTuple):
    """One partition's records of one poll, and the claim they are booked under."""

    claim: TrackedRange
    records: list[Record]


class WaitResult(StrEnum):
    """How a score's waiting ended."""

    NONE = "none"
    """There was nothing to wait for."""
    OK = "ok"
    """The events were read."""
    TIMEOUT = "timeout"
    """They were not, in time: the context is partial."""


class ReadyRecords(NamedTuple):
    """A share that may go on, after so many seconds."""

    share: PartitionRecords
    result: WaitResult
    seconds: float


class _Waiting(msgspec.Struct):
    share: PartitionRecords
    since: float
    ends: Mapping[Partition, int] | None = None
    waited: bool = False


class WaitingScores:
    """Keeps the shares of score partitions back, in order. `now` is monotonic seconds.

    Holds about `limit` records: it says which partitions must rest so that no more are polled.
    """

    def __init__(self, max_wait: float, limit: int) -> None:
        self._max_wait = max_wait
        self._limit = limit
        self._queues: dict[Partition, deque[_Waiting]] = defaultdict(deque)

    @property
    def kept(self) -> int:
        """Records that are kept back now."""
        return sum(map(_size, self._queues.values()))

    def enter(self, shares: Iterable[PartitionRecords], now: float) -> None:
        """Take in what was polled from score partitions."""
        for share in shares:
            self._queues[share.claim.partition].append(_Waiting(share, now))

    def unasked(self, until: float = inf) -> set[int]:
        """Return the partition numbers whose end offsets are wanted now.

        Only by shares that entered at or before `until`: it is too early to ask for later ones.
        """
        return {
            partition.number
            for partition, queue in self._queues.items()
            if any(waiting.ends is None and waiting.since <= until for waiting in queue)
        }

    def answer(self, ends: Mapping[int, Mapping[Partition, int]], until: float = inf) -> None:
        """Set what the shares that asked have to wait for, by partition number."""
        for partition, queue in self._queues.items():
            for waiting in queue:
                if waiting.ends is None and waiting.since <= until:
                    waiting.ends = ends.get(partition.number)

    def leave(self, reached: Mapping[Partition, int], now: float) -> list[ReadyRecords]:
        """Return what may go on, given up to where the events have been read."""
        passed = []
        for queue in self._queues.values():
            while queue and (result := self._outcome(queue[0], reached, now)) is not None:
                waiting = queue.popleft()
                passed.append(ReadyRecords(waiting.share, result, now - waiting.since))
        return passed

    def postpone(self, seconds: float) -> None:
        """Do not count this time: events could not be read because we ourselves were holding."""
        for queue in self._queues.values():
            for waiting in queue:
                waiting.since += seconds

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what was kept back of partitions that are no longer ours."""
        for partition in partitions:
            self._queues.pop(partition, None)

    def full(self, partitions: Sequence[Partition]) -> set[Partition]:
        """Return the score partitions that must rest so that what is kept back stays bounded."""
        sizes = {partition: _size(self._queues[partition]) for partition in partitions}
        if sum(sizes.values()) >= self._limit:
            return set(partitions)
        share = self._limit // max(1, len(partitions))
        return {partition for partition, size in sizes.items() if size >= max(1, share)}

    def _outcome(
        self, waiting: _Waiting, reached: Mapping[Partition, int], now: float
    ) -> WaitResult | None:
        if waiting.ends is not None and _read(waiting.ends, reached):
            return WaitResult.OK if waiting.waited else WaitResult.NONE
        waiting.waited = True
        return WaitResult.TIMEOUT if now - waiting.since >= self._max_wait else None


def _read(ends: Mapping[Partition, int], reached: Mapping[Partition, int]) -> bool:
    return all(reached.get(partition, 0) >= end for partition, end in ends.items())


def _size(queue: Iterable[_Waiting]) -> int:
    return sum(waiting.share.claim.count for waiting in queue)


_AGAIN_SECONDS = 0.1


class OffsetSource(Protocol):
    """Who is asked; `Offsets` is meant."""

    def ends(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Ask where partitions end."""
        ...

    def committed(self, partitions: Iterable[Partition]) -> OffsetQuery:
        """Ask what the group has committed of partitions."""
        ...


class RepartitionProgress:
    """Goes in rounds: asks where the events end, and then until the group is past these ends.

    An offset is committed when what was before it is forwarded, so what the group has committed
    tells of other members; of our own partitions we know sooner. Nothing here waits for Kafka.
    """

    def __init__(self, topics: Topics, offsets: OffsetSource, clock: Clock) -> None:
        self._topics = topics
        self._offsets = offsets
        self._clock = clock
        self._through = -inf
        self._began = 0.0
        self._asked_ends: OffsetQuery | None = None
        self._asked_committed: OffsetQuery | None = None
        self._left: dict[Partition, int] | None = None
        self._again = Deadline(clock, 0)

    def through(self, layout: Mapping[str, int], ledger: OffsetTracker) -> float:
        """Return a time, in monotonic seconds: what was in Kafka by then has been forwarded.

        To be called again and again while anybody waits; each call takes a round further.
        """
        if not self._topics.repartitioned:
            return inf
        if self._left is None:
            self._begin(layout)
        if self._left is not None:
            self._pursue(ledger)
        return self._through

    def look_again(self) -> None:
        """Begin anew, as after a rebalance."""
        self._asked_ends = self._asked_committed = self._left = None

    def _begin(self, layout: Mapping[str, int]) -> None:
        """Ask where the events end; a partition of which that is not told is asked for anew."""
        partitions = self._topics.upstream(layout)
        if self._asked_ends is None:
            self._began = self._clock.monotonic()
            self._asked_ends = self._offsets.ends(partitions)
        if self._asked_ends.done():
            ends, self._asked_ends = self._asked_ends.offsets(), None
            if ends.keys() >= set(partitions):
                self._left = {each: end for each, end in ends.items() if end > 0}

    def _pursue(self, ledger: OffsetTracker) -> None:
        """Strike off the partitions whose ends are passed; without any left the round is over."""
        self._pass(ledger.settled())
        if self._asked_committed is not None and self._asked_committed.done():
            self._pass(self._asked_committed.offsets())
            self._asked_committed = None
        if not self._left:
            self._through, self._left, self._asked_committed = self._began, None, None
        elif self._asked_committed is None and self._again.over():
            self._again = Deadline(self._clock, _AGAIN_SECONDS)
            self._asked_committed = self._offsets.committed(self._left)

    def _pass(self, offsets: Mapping[Partition, int]) -> None:
        left = self._left or {}
        self._left = {each: end for each, end in left.items() if offsets.get(each, 0) < end}


_ASK_SECONDS = 0.2
_LAYOUT_SECONDS = 1.0

log = structlog.get_logger()


class EventWait:
    """Lets everything but early scores through, events before the scores that waited for them."""

    def __init__(
        self,
        gate: WaitingScores,
        topics: Topics,
        offsets: OffsetQueries,
        *,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._topics = topics
        self._upstream = RepartitionProgress(topics, offsets, clock)
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._layout: dict[str, int] = {}
        self._turned = clock.monotonic()

    @property
    def kept(self) -> int:
        """Records that are kept back now."""
        return self._gate.kept

    def let_through(
        self, shares: Sequence[PartitionRecords], ledger: OffsetTracker, *, held: bool
    ) -> list[ReadyRecords]:
        """Return what may go on. While `held` no score passes, and the waiting does not count."""
        now = self._clock.monotonic()
        turn, self._turned = now - self._turned, now
        scores = [share for share in shares if self._topics.scores(share.claim.partition.topic)]
        passed = [
            ReadyRecords(share, WaitResult.NONE, 0.0)
            for share in shares
            if not self._topics.scores(share.claim.partition.topic)
        ]
        self._gate.enter(scores, now)
        if held:
            self._gate.postpone(turn)
            return passed
        self._ask(ledger)
        late = self._gate.leave(ledger.reached(), now)
        self._count(late)
        return passed + late

    def full(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Return the partitions that must rest so that what is kept back stays bounded."""
        return self._gate.full([each for each in partitions if self._topics.scores(each.topic)])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what was kept back of partitions that are ours no more."""
        self._gate.forget(partitions)

    def look_again(self) -> None:
        """Ask for the topics' partition counts anew, as after a rebalance."""
        self._layout = {}
        self._upstream.look_again()

    def _ask(self, ledger: OffsetTracker) -> None:
        if not self._gate.unasked() or not self._known():
            return
        until = self._upstream.through(self._layout, ledger)
        numbers = self._gate.unasked(until)
        if not numbers:
            return
        aligned = self._topics.aligned(self._layout)
        beside = {
            number: self._topics.beside(self._layout, number) if aligned else []
            for number in numbers
        }
        wanted = [partition for partitions in beside.values() for partition in partitions]
        ends = self._offsets.ends_within(wanted, _ASK_SECONDS)
        self._gate.answer(
            {
                number: {partition: ends[partition] for partition in partitions}
                for number, partitions in beside.items()
                if ends.keys() >= set(partitions)
            },
            until,
        )

    def _known(self) -> bool:
        if not self._layout:
            self._layout = self._offsets.layout(_LAYOUT_SECONDS)
            if not self._topics.aligned(self._layout):
                log.warning(
                    "Scores do not wait for experience events: their topics differ in partitions."
                )
        return bool(self._layout)

    def _count(self, passed: Sequence[ReadyRecords]) -> None:
        for share, result, seconds in passed:
            self._metrics.counter("score_waits", result).inc(len(share.records))
            if result is not WaitResult.NONE:
                self._metrics.histogram("score_wait_seconds").observe(seconds)
