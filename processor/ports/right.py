"""The right side: events to the inlet, letters to their topic, facts to where they belong."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from processor.event import ScoreEvent
from processor.outcome import Reject
from processor.ports.pending import Pending
from processor.record import Partition, Record

__all__ = ["Buries", "Delivers", "Delivery", "Forwards", "Guards"]


class Delivery(Pending, Protocol):
    """Score events on their way to the inlet; an outage delays `done`, it never ends it.

    What is forgotten meanwhile is in neither list, unless it was accepted or refused all the same.
    """

    @property
    def accepted(self) -> Sequence[ScoreEvent]:
        """Return what the inlet took; final once done."""
        ...

    @property
    def refused(self) -> Sequence[tuple[ScoreEvent, Reject]]:
        """Return what the inlet refused for good; final once done."""
        ...

    @property
    def in_doubt(self) -> Sequence[tuple[ScoreEvent, str]]:
        """Return what may be in the dataset twice, and why; final once done."""
        ...


class Delivers(Protocol):
    """The right door."""

    @property
    def holding(self) -> str | None:
        """Return why nothing can be sent now, None while all is well."""
        ...

    def start(self) -> None:
        """Begin; called once, before anything is delivered."""
        ...

    def deliver(self, events: Sequence[ScoreEvent]) -> Delivery:
        """Take events to send; never blocks."""
        ...

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Send nothing more of what was taken of these partitions; never blocks."""
        ...

    def close(self, seconds: float) -> None:
        """Stop within so many seconds; what has no answer by then stays undelivered."""
        ...


class Guards(Protocol):
    """The limit that stops the house."""

    def note(self, count: int, rejected: Sequence[int]) -> None:
        """Take in a batch: how many records, and the places of the rejected ones, ascending.

        Raises StopError where a limit is passed.
        """
        ...

    def refused(self, route: str, refused: int, sent: int) -> None:
        """Take in what an inlet said of a batch: of so many records sent, it refused so many.

        Raises StopError where a limit is passed.
        """
        ...


class Buries(Protocol):
    """The dead-letter topic."""

    @property
    def guard(self) -> Guards:
        """Return the limit that stops the house rather than bury a whole topic."""
        ...

    @property
    def holding(self) -> str | None:
        """Return why letters can not be written now, None while all is well."""
        ...

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> Pending:
        """Write letters; done when all replicas have them."""
        ...

    def poll(self) -> None:
        """Serve reports and retries; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> bool:
        """Flush within so many seconds; returns whether nothing is left unwritten."""
        ...


class Forwards(Protocol):
    """The internal topic, by which facts get to the partition of their person."""

    @property
    def holding(self) -> str | None:
        """Return why nothing can be forwarded now, None while all is well."""
        ...

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> Pending:
        """Write messages, by key and value; done when all replicas have them. Never blocks."""
        ...

    def poll(self) -> None:
        """Serve reports and retries; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> bool:
        """Flush within so many seconds; returns whether nothing is left unwritten."""
        ...
