"""Memory that lasts as long as the process: for dry runs, which must leave no trace.

Memory that keeps nothing, for a house whose join is off and for dry runs.
"""

from collections.abc import Iterable, Mapping, Sequence

from processor.domain.event import ScoreEvent
from processor.state.format.store import PersonKey
from processor.state.person import Person, without_score


class Done:
    """Something that was done before it was asked."""

    done = True


class NoStateStore:
    """Recalls nobody; there is nothing to make durable."""

    unavailable_reason: str | None = None
    restoring: bool = False

    def ready(self, partition: int) -> bool:
        """Return True: there is nothing to wait for."""
        del partition
        return True

    def assign(self, partitions: Iterable[int]) -> None:
        """Restore nothing."""

    def revoke(self, partitions: Iterable[int]) -> None:
        """Let go of nothing."""

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return nobody."""
        del keys
        return {}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Show nothing to later recalls."""
        del changes
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take nothing back."""

    def store(self, ticket: int) -> Done:
        """Return at once: nothing is to be written."""
        del ticket
        return Done()

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> None:
        """Flush nothing."""


class InMemoryStateStore(NoStateStore):
    """Recalls what was staged in this process; nothing is restored and nothing written."""

    def __init__(self) -> None:
        self._persons: dict[PersonKey, Person] = {}

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return the persons seen so far."""
        return {key: self._persons[key] for key in keys if key in self._persons}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Keep changes."""
        self._persons.update(changes)
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take refused scores back."""
        del ticket
        for event in refused:
            key = (event.record.partition, event.person)
            self._persons[key] = without_score(
                self._persons[key],
                event.model,
                scored_at_ms=event.scored_at_ms,
                event_id=event.id,
                digest=event.digest,
            )

    def store(self, ticket: int) -> Done:
        """Return at once: what is staged is all there is."""
        del ticket
        return Done()
