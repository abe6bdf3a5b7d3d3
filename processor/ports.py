"""The doors as the spine sees them: what each may be asked, and what it promises.

Every one is met by a real door and by a small fake in `tests/support/`, under one contract suite.
None of these calls blocks for longer than its seconds; an outage shows as `holding`, never as an
exception.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, Self, TypeAlias

from processor.event import Reading, ScoreEvent
from processor.outcome import Reject
from processor.person import Person
from processor.record import Partition, Record

__all__ = [
    "Buries",
    "Delivers",
    "Delivery",
    "Follows",
    "Guards",
    "Key",
    "Pending",
    "Polled",
    "Reads",
    "Remembers",
    "Supplies",
]

Key: TypeAlias = tuple[int, bytes]
"""Where a person's state lives: partition number and person key."""


class Pending(Protocol):
    """Something on its way; `done` turns true once and stays so."""

    @property
    def done(self) -> bool:
        """Return True when it is durable."""
        ...


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


class Delivery(Pending, Protocol):
    """Score events on their way to the inlet; an outage delays `done`, it never ends it."""

    @property
    def accepted(self) -> Sequence[ScoreEvent]:
        """Return what the inlet took; final once done."""
        ...

    @property
    def refused(self) -> Sequence[tuple[ScoreEvent, Reject]]:
        """Return what the inlet refused for good; final once done."""
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
