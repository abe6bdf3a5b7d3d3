"""The right side: events to the inlet, letters to their topic, facts to where they belong.

What every door hands back for work that takes a while.

The left side: records in, and what they say.

The memory: what is known of persons.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, Self

from processor.domain.event import DecodedRecord, ScoreEvent
from processor.domain.outcome import Reject
from processor.domain.record import Partition, Record
from processor.state.person import Person, PersonKey


class Pending(Protocol):
    """Something on its way; `done` turns true once and stays so."""

    @property
    def done(self) -> bool:
        """Return True when it is durable."""
        ...


class Poll(Protocol):
    """One poll's records, and the claim under which they may be committed."""

    @property
    def records(self) -> Sequence[Record]:
        """Return the records in Kafka's order per partition."""
        ...

    @property
    def timed_out(self) -> AbstractSet[int]:
        """Return places of score records whose wait for earlier events ran out."""
        ...

    def without(self, gone: AbstractSet[Partition]) -> Self:
        """Return the same poll less the records of some partitions."""
        ...


class AssignmentListener(Protocol):
    """Who follows the assignment; called inside `Source.poll`, on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours from now on; nothing of them was polled yet."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Settle what is under way for these partitions, in bounded time: they are leaving."""
        ...

    def gone(self, partitions: Sequence[Partition]) -> None:
        """Hear of partitions that are ours no more."""
        ...


class Source(Protocol):
    """The left door."""

    @property
    def assigned(self) -> AbstractSet[Partition]:
        """Return the partitions that are ours now."""
        ...

    @property
    def waiting_records(self) -> int:
        """Return how many records were taken in and wait before they are handed out."""
        ...

    @property
    def commit_overdue(self) -> str | None:
        """Return why sending must stop for want of commits, None while all is well."""
        ...

    def start(self, follower: AssignmentListener) -> None:
        """Join the group."""
        ...

    def poll(self, seconds: float) -> Poll:
        """Return what there is, waiting at most so long; empty while held."""
        ...

    def settle(self, polled: Any) -> AbstractSet[Partition]:  # noqa: ANN401  its own poll
        """Mark every record of a poll as settled; returns the partitions no longer ours."""
        ...

    def commit(self) -> None:
        """Commit the contiguous settled prefix of each partition, when it is time to."""
        ...

    def pause(self, cause: str) -> None:
        """Pause intake for a named cause; keeps membership alive."""
        ...

    def resume(self, cause: str) -> None:
        """End a named cause; intake resumes when none is left."""
        ...

    def close(self, seconds: float) -> bool:
        """Commit what is settled and leave, within so many seconds whatever is dead.

        Returns whether Kafka confirmed it.
        """
        ...


class RecordReader(Protocol):
    """Bytes to values."""

    def fetch_schemas(self, records: Sequence[Record]) -> None:
        """Fetch the writer schemas these records need; raises UnavailableError on an outage."""
        ...

    def read(self, record: Record) -> DecodedRecord:
        """Return what a record says; raises RejectError. Pure once `learn` has returned."""
        ...


class StateStore(Protocol):
    """What is known of persons, durable before a commit."""

    @property
    def unavailable_reason(self) -> str | None:
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

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return what is known, changes still under way included; the unknown are left out.

        Only for partitions that are ready.
        """
        ...

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Show changes to later recalls at once; returns the ticket to remember them by."""
        ...

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Take back scores that were staged as delivered and then refused."""
        ...

    def store(self, ticket: int) -> Pending:
        """Make staged changes durable; tickets are remembered in the order they were staged."""
        ...

    def poll(self) -> None:
        """Serve reports, retries and a slice of restoring; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> None:
        """Flush within so many seconds."""
        ...


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


class Sink(Protocol):
    """The right door."""

    @property
    def unavailable_reason(self) -> str | None:
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


class RejectLimit(Protocol):
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


class DeadLetterSink(Protocol):
    """The dead-letter topic."""

    @property
    def guard(self) -> RejectLimit:
        """Return the limit that stops the house rather than bury a whole topic."""
        ...

    @property
    def unavailable_reason(self) -> str | None:
        """Return why letters can not be written now, None while all is well."""
        ...

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> Pending:
        """Write letters; done when all replicas have them."""
        ...

    def poll(self) -> None:
        """Serve reports and retries; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> bool:
        """Flush within so many seconds; returns whether nothing is left unwritten."""
        ...


class RepartitionSink(Protocol):
    """The internal topic, by which facts get to the partition of their person."""

    @property
    def unavailable_reason(self) -> str | None:
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
