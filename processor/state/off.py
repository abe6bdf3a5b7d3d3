"""Memory that keeps nothing, for a house whose join is off and for dry runs."""

from collections.abc import Iterable, Mapping, Sequence

from processor.event import ScoreEvent
from processor.person import Person
from processor.state.names import Key

__all__ = ["Done", "MemoryOff"]


class Done:
    """Something that was done before it was asked."""

    done = True


class MemoryOff:
    """Recalls nobody; there is nothing to make durable."""

    holding: str | None = None
    restoring: bool = False

    def ready(self, partition: int) -> bool:
        """Return True: there is nothing to wait for."""
        del partition
        return True

    def assign(self, partitions: Iterable[int]) -> None:
        """Restore nothing."""

    def revoke(self, partitions: Iterable[int]) -> None:
        """Let go of nothing."""

    def recall(self, keys: Iterable[Key]) -> dict[Key, Person]:
        """Return nobody."""
        del keys
        return {}

    def stage(self, changes: Mapping[Key, Person]) -> int:
        """Show nothing to later recalls."""
        del changes
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take nothing back."""

    def remember(self, ticket: int) -> Done:
        """Return at once: nothing is to be written."""
        del ticket
        return Done()

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> None:
        """Flush nothing."""
