"""The left side: records in, and what they say."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, Self

from processor.event import Reading
from processor.record import Partition, Record

__all__ = ["Follows", "Polled", "Reads", "Supplies"]


class Polled(Protocol):
    """One poll's records, and the claim under which they may be committed."""

    @property
    def records(self) -> Sequence[Record]:
        """Return the records in Kafka's order per partition."""
        ...

    @property
    def overdue(self) -> AbstractSet[int]:
        """Return places of score records whose wait for earlier events ran out."""
        ...

    def without(self, gone: AbstractSet[Partition]) -> Self:
        """Return the same poll less the records of some partitions."""
        ...


class Follows(Protocol):
    """Who follows the assignment; called inside `Supplies.poll`, on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours from now on; nothing of them was polled yet."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle what is under way for these partitions, in bounded time: they are leaving."""
        ...

    def gone(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours no more."""
        ...


class Supplies(Protocol):
    """The left door."""

    @property
    def assigned(self) -> AbstractSet[Partition]:
        """Return the partitions that are ours now."""
        ...

    @property
    def kept_back(self) -> int:
        """Return how many records were taken in and wait before they are handed out."""
        ...

    @property
    def overdue(self) -> str | None:
        """Return why sending must stop for want of commits, None while all is well."""
        ...

    def start(self, follower: Follows) -> None:
        """Join the group."""
        ...

    def poll(self, seconds: float) -> Polled:
        """Return what there is, waiting at most so long; empty while held."""
        ...

    def settle(self, polled: Any) -> AbstractSet[Partition]:  # noqa: ANN401  its own poll
        """Mark every record of a poll as settled; returns the partitions no longer ours."""
        ...

    def commit(self) -> None:
        """Commit the contiguous settled prefix of each partition, when it is time to."""
        ...

    def hold(self, cause: str) -> None:
        """Pause intake for a named cause; keeps membership alive."""
        ...

    def release(self, cause: str) -> None:
        """End a named cause; intake resumes when none is left."""
        ...

    def close(self, seconds: float) -> bool:
        """Commit what is settled and leave, within so many seconds whatever is dead.

        Returns whether Kafka confirmed it.
        """
        ...


class Reads(Protocol):
    """Bytes to values."""

    def learn(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; raises UnavailableError on an outage."""
        ...

    def read(self, record: Record) -> Reading:
        """Return what a record says; raises RejectError. Pure once `learn` has returned."""
        ...
