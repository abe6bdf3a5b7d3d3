"""Memory that lasts as long as the process: for dry runs, which must leave no trace."""

from collections.abc import Iterable, Mapping, Sequence

from processor.event import ScoreEvent
from processor.person import Person, without_score
from processor.state.names import Key
from processor.state.off import Done, MemoryOff

__all__ = ["TransientMemory"]


class TransientMemory(MemoryOff):
    """Recalls what was staged in this process; nothing is restored and nothing written."""

    def __init__(self) -> None:
        self._persons: dict[Key, Person] = {}

    def recall(self, keys: Iterable[Key]) -> dict[Key, Person]:
        """Return the persons seen so far."""
        return {key: self._persons[key] for key in keys if key in self._persons}

    def stage(self, changes: Mapping[Key, Person]) -> int:
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

    def remember(self, ticket: int) -> Done:
        """Return at once: what is staged is all there is."""
        del ticket
        return Done()
