"""Upstream: up to when all experience events have been forwarded, whoever reads them."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Protocol

from processor.clock import Clock, Deadline
from processor.record import Partition
from processor.source.ledger import Ledger
from processor.source.offsets import Asked
from processor.source.topics import Topics

__all__ = ["Asks", "Upstream"]

_AGAIN_SECONDS = 0.1


class Asks(Protocol):
    """Who is asked; `Offsets` is meant."""

    def ends(self, partitions: Iterable[Partition]) -> Asked:
        """Ask where partitions end."""
        ...

    def committed(self, partitions: Iterable[Partition]) -> Asked:
        """Ask what the group has committed of partitions."""
        ...


class Upstream:
    """Goes in rounds: asks where the events end, and then until the group is past these ends.

    An offset is committed when what was before it is forwarded, so what the group has committed
    tells of other members; of our own partitions we know sooner. Nothing here waits for Kafka.
    """

    def __init__(self, topics: Topics, offsets: Asks, clock: Clock) -> None:
        self._topics = topics
        self._offsets = offsets
        self._clock = clock
        self._through = -inf
        self._began = 0.0
        self._asked_ends: Asked | None = None
        self._asked_committed: Asked | None = None
        self._left: dict[Partition, int] | None = None
        self._again = Deadline(clock, 0)

    def through(self, layout: Mapping[str, int], ledger: Ledger) -> float:
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

    def _pursue(self, ledger: Ledger) -> None:
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
