"""Up to when all experience events are repartitioned, by whichever member of the group."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final, Protocol

from processor.domain.clock import Clock, Deadline
from processor.domain.record import Partition
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.queries import OffsetQuery
from processor.kafka.topics import Topics

END_OFFSETS_RETRY: Final = RetryPolicy(first_seconds=0.1, max_seconds=2.0)
"""Between queries for the ends of event partitions while Kafka does not answer."""
COMMITTED_OFFSETS_RETRY: Final = RetryPolicy(first_seconds=0.1, max_seconds=2.0)
"""Between queries for committed offsets that have no answer."""

_ENDS_AGAIN_SECONDS: Final = 5.0
"""Between queries for ends that are not reached."""
_PROGRESS_SECONDS: Final = 0.1
"""Between queries for what other members have committed, while Kafka answers."""


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

    A round that lasts queries the ends again: those of a topic that was created anew, truncated or
    deleted meanwhile are lower, and the former ones are never reached.
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
        self._ends_due = Deadline(clock, 0)

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
                self._ends_due = Deadline(self._clock, _ENDS_AGAIN_SECONDS)
                self._retry.succeeded()
            else:
                self._retry.failed()

    def _continue_round(self, tracker: OffsetTracker) -> None:
        """Remove the partitions whose ends are passed; without any left the round is complete."""
        self._lower_ends()
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
            self._committed = self._ends = None
        elif self._committed is None and self._committed_due.over() and self._committed_retry.due:
            self._committed_due = Deadline(self._clock, _PROGRESS_SECONDS)
            self._committed = self._offsets.committed(self._remaining)

    def _lower_ends(self) -> None:
        """Query the ends that remain again now and then, and take those that are lower by now."""
        remaining = self._remaining or {}
        if self._ends is None and self._ends_due.over():
            self._ends_due = Deadline(self._clock, _ENDS_AGAIN_SECONDS)
            self._ends = self._offsets.ends(remaining)
        if self._ends is None or not self._ends.done():
            return
        ends, self._ends = self._ends.offsets(), None
        lower = {each: min(end, ends.get(each, end)) for each, end in remaining.items()}
        self._remaining = {each: end for each, end in lower.items() if end > 0}

    def _remove_passed(self, offsets: Mapping[Partition, int]) -> None:
        remaining = self._remaining or {}
        self._remaining = {
            each: end for each, end in remaining.items() if offsets.get(each, 0) < end
        }
