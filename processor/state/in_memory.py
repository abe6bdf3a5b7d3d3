"""State stores that write nothing: one without any state, and one for the life of the process."""

from collections.abc import Iterable, Mapping, Sequence

from processor.domain.event import ScoreEvent
from processor.state.person import Person, PersonKey, without_score


class Done:
    """What is returned where there was nothing to wait for."""

    done = True


class NoStateStore:
    """No state: for a processor whose join is off."""

    unavailable_reason: str | None = None
    restore_unavailable_reason: str | None = None
    restoring: bool = False

    def ready(self, partition: int) -> bool:
        """Return True: there is nothing to wait for."""
        del partition
        return True

    def assign(self, partitions: Iterable[int]) -> None:
        """Restore nothing."""

    def revoke(self, partitions: Iterable[int]) -> None:
        """Drop nothing."""

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return no person."""
        del keys
        return {}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Store nothing."""
        del changes
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Withdraw nothing."""

    def store(self, ticket: int) -> Done:
        """Return at once: nothing is to be written."""
        del ticket
        return Done()

    def poll(self) -> None:
        """Return at once."""

    def close(self, seconds: float) -> None:
        """Return at once."""


class InMemoryStateStore(NoStateStore):
    """The persons that were staged in this process, for dry runs, which write nothing."""

    def __init__(self) -> None:
        self._persons: dict[PersonKey, Person] = {}

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return the persons staged so far; others are left out."""
        return {key: self._persons[key] for key in keys if key in self._persons}

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Store changes in memory."""
        self._persons.update(changes)
        return 0

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take refused scores out of the persons."""
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
