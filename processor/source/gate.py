"""The gate: decides which scores still wait for earlier experience events, and which go on.

A score polled from partition p waits for the partitions of number p of the events topics, up to
their end offsets as they were when it was polled, and `max_wait` seconds at most.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import NamedTuple

import msgspec

from processor.record import Partition, Record
from processor.source.ledger import Claim

__all__ = ["Gate", "Outcome", "Passed", "Share"]


class Share(NamedTuple):
    """One partition's records of one poll, and the claim they are booked under."""

    claim: Claim
    records: list[Record]


class Outcome(StrEnum):
    """How a score's waiting ended."""

    NONE = "none"
    """There was nothing to wait for."""
    OK = "ok"
    """The events were read."""
    TIMEOUT = "timeout"
    """They were not, in time: the context is partial."""


class Passed(NamedTuple):
    """A share that may go on, after so many seconds."""

    share: Share
    outcome: Outcome
    seconds: float


class _Waiting(msgspec.Struct):
    share: Share
    since: float
    ends: Mapping[Partition, int] | None = None
    waited: bool = False


class Gate:
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

    def enter(self, shares: Iterable[Share], now: float) -> None:
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

    def leave(self, reached: Mapping[Partition, int], now: float) -> list[Passed]:
        """Return what may go on, given up to where the events have been read."""
        passed = []
        for queue in self._queues.values():
            while queue and (outcome := self._outcome(queue[0], reached, now)) is not None:
                waiting = queue.popleft()
                passed.append(Passed(waiting.share, outcome, now - waiting.since))
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
    ) -> Outcome | None:
        if waiting.ends is not None and _read(waiting.ends, reached):
            return Outcome.OK if waiting.waited else Outcome.NONE
        waiting.waited = True
        return Outcome.TIMEOUT if now - waiting.since >= self._max_wait else None


def _read(ends: Mapping[Partition, int], reached: Mapping[Partition, int]) -> bool:
    return all(reached.get(partition, 0) >= end for partition, end in ends.items())


def _size(queue: Iterable[_Waiting]) -> int:
    return sum(waiting.share.claim.count for waiting in queue)
