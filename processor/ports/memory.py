"""The memory: what is known of persons."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from processor.event import ScoreEvent
from processor.person import Person
from processor.ports.pending import Pending

__all__ = ["Key", "Remembers"]

Key: TypeAlias = tuple[int, bytes]
"""Where a person's state lives: partition number and person key."""


class Remembers(Protocol):
    """What is known of persons, durable before a commit."""

    @property
    def holding(self) -> str | None:
        """Return why nothing can be remembered or recalled now, None while all is well."""
        ...

    @property
    def restoring(self) -> bool:
        """Return True while a partition of ours is not ready."""
        ...

    def ready(self, partition: int) -> bool:
        """Return True where all that is known for a partition number can be recalled."""
        ...

    def assign(self, partitions: Iterable[int]) -> None:
        """Take partition numbers on and restore them; those already ours stay as they are."""
        ...

    def revoke(self, partitions: Iterable[int]) -> None:
        """Give partition numbers up; what is stored stays as a cache."""
        ...

    def recall(self, keys: Iterable[Key]) -> dict[Key, Person]:
        """Return what is known, changes still under way included; the unknown are left out.

        Only for partitions that are ready.
        """
        ...

    def stage(self, changes: Mapping[Key, Person]) -> int:
        """Show changes to later recalls at once; returns the ticket to remember them by."""
        ...

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take back scores that were staged as delivered and then refused."""
        ...

    def remember(self, ticket: int) -> Pending:
        """Make staged changes durable; tickets are remembered in the order they were staged."""
        ...

    def poll(self) -> None:
        """Serve reports, retries and a slice of restoring; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> None:
        """Flush within so many seconds."""
        ...
