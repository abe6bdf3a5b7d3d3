"""A source that never commits: for dry runs."""

from collections.abc import Set as AbstractSet

from processor.record import Partition
from processor.source.polled import Follows, Polled
from processor.source.source import Source

__all__ = ["Uncommitted"]


class Uncommitted:
    """Reads like the source it wraps; nothing it hands out is ever settled in Kafka."""

    overdue: str | None = None

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def assigned(self) -> AbstractSet[Partition]:
        """Return the partitions that are ours now."""
        return self._source.assigned

    @property
    def kept_back(self) -> int:
        """Return how many records wait before they are handed out."""
        return self._source.kept_back

    def start(self, follower: Follows) -> None:
        """Join the group."""
        self._source.start(follower)

    def poll(self, seconds: float) -> Polled:
        """Return what there is."""
        return self._source.poll(seconds)

    def settle(self, polled: Polled) -> frozenset[Partition]:
        """Settle nothing."""
        del polled
        return frozenset()

    def commit(self) -> None:
        """Commit nothing."""

    def hold(self, cause: str) -> None:
        """Pause intake."""
        self._source.hold(cause)

    def release(self, cause: str) -> None:
        """Go on."""
        self._source.release(cause)

    def close(self, seconds: float) -> bool:
        """Leave the group."""
        return self._source.close(seconds)
