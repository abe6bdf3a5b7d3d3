"""The components of a stream, as protocols: source, sink, dead letters, state store, repartition.

A component never blocks the loop for long: what takes a while is returned as a `Pending`, and
`poll` moves it on.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Protocol, Self

from processor.domain.control import ControlStore
from processor.domain.event import DecodedRecord, RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Reject
from processor.domain.record import AssignmentListener, Partition, Position, Record
from processor.state.person import Person, PersonKey


class Pending(Protocol):
    """A write in progress; `done` becomes True once and stays so."""

    @property
    def done(self) -> bool:
        """Return True when all of it is durable."""
        ...


class Poll(Protocol):
    """One poll's records, and the token by which `Source.settle` settles them."""

    @property
    def records(self) -> Sequence[Record]:
        """Return the records in Kafka's order per partition."""
        ...

    @property
    def timed_out(self) -> AbstractSet[int]:
        """Return the indexes of score records whose wait for earlier events timed out."""
        ...

    def without(self, partitions: AbstractSet[Partition]) -> Self:
        """Return the same poll less the records of some partitions."""
        ...


class Source(Protocol):
    """The input: polls records, tracks what is settled and commits it."""

    @property
    def assigned(self) -> AbstractSet[Partition]:
        """Return the partitions that are assigned now."""
        ...

    @property
    def is_member(self) -> bool:
        """Return True while this is a member of the group, also one without partitions."""
        ...

    @property
    def waiting_records(self) -> int:
        """Return how many records were consumed and wait before a poll returns them."""
        ...

    @property
    def commit_overdue_reason(self) -> str | None:
        """Return why sending must pause until a commit is confirmed, None where it need not."""
        ...

    @property
    def topic_fault_reason(self) -> str | None:
        """Return what is wrong with the topics; the partitions that are not concerned go on."""
        ...

    @property
    def unread(self) -> AbstractSet[Partition]:
        """Return the partitions of this member that must not be read, as there is no state."""
        ...

    def start(self, listener: AssignmentListener) -> None:
        """Join the group."""
        ...

    def poll(self, seconds: float) -> Poll:
        """Return the next records, waiting at most `seconds`; empty while paused.

        Raises StopError, before anything is read, where records are gone and the settings say stop;
        once for each gap. The partitions that it names wait for `accept_gaps`, the others go on.
        """
        ...

    def accept_gaps(self, partitions: Iterable[Partition]) -> None:
        """Read on in partitions that a StopError named, as `kafka.on_gap: continue` would."""
        ...

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic that is read; empty where it is unknown or there is none."""
        ...

    def committed_offset(self, partition: Partition) -> int | None:
        """Return the group's offset of an assigned partition, as Kafka confirmed it.

        None where it is unknown, is lost, or belongs to an earlier topic of this name.
        """
        ...

    def settle(self, poll: Any) -> AbstractSet[Partition]:  # noqa: ANN401  its own kind of poll
        """Mark all records of a poll as settled; returns partitions that are not assigned now."""
        ...

    def commit(self) -> None:
        """Commit the contiguous settled prefix of each partition, when it is time to."""
        ...

    def pause(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """Pause these partitions, or all, for a named cause; group membership stays alive.

        A cause for single partitions ends with their assignment.
        """
        ...

    def resume(self, cause: str, partitions: Iterable[Partition] | None = None) -> None:
        """End a named cause; a partition resumes when no cause is left."""
        ...

    def close(self, seconds: float) -> bool:
        """Commit what is settled and leave the group, within `seconds` in any case.

        Returns whether Kafka confirmed the commit.
        """
        ...

    def leave(self, seconds: float) -> None:
        """Leave the group without a commit, after a fault of the program; once left, do nothing.

        Reports the settled records whose commit is not confirmed.
        """
        ...


class RecordReader(Protocol):
    """Decodes records."""

    def fetch_schemas(self, records: Sequence[Record]) -> bool:
        """Start to fetch the writer schemas these records need; return True once all are there.

        Never blocks. Raises UnavailableError on an outage.
        """
        ...

    def read(self, record: Record) -> DecodedRecord:
        """Return a decoded record; raises RejectError. Pure once its schemas are fetched."""
        ...


class StateStore(Protocol):
    """Person state, durable before a commit."""

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing can be stored or loaded now, None where it can."""
        ...

    @property
    def restore_unavailable_reason(self) -> str | None:
        """Return why the partitions that are not ready are not restored now."""
        ...

    @property
    def restoring(self) -> bool:
        """Return True while an assigned partition is not ready."""
        ...

    def ready(self, partition: int) -> bool:
        """Return True where the state of a partition number is complete and can be loaded."""
        ...

    def assign(self, partitions: Iterable[int]) -> None:
        """Restore newly assigned partition numbers; those assigned already stay as they are."""
        ...

    def revoke(self, partitions: Iterable[int]) -> None:
        """Release partition numbers; their local files stay as a cache."""
        ...

    def load(self, keys: Iterable[PersonKey]) -> dict[PersonKey, Person]:
        """Return the persons that have state, staged changes included.

        Only for partitions that are ready.
        """
        ...

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Let later loads see changes at once; returns the ticket by which to store them."""
        ...

    def withdraw(self, ticket: int, refused: Sequence[ScoreEvent]) -> None:
        """Undo the delivery of scores that were staged as delivered and then were not."""
        ...

    def store(self, ticket: int) -> Pending:
        """Make staged changes durable; tickets are stored in the order they were staged."""
        ...

    def poll(self) -> None:
        """Serve delivery reports, retries and a part of a restore; called by every loop turn."""
        ...

    def close(self, seconds: float) -> None:
        """Flush within `seconds`."""
        ...


class Delivery(Pending, Protocol):
    """Score events on their way to the inlet; an outage delays `done` and never ends it.

    Events that `Sink.forget` drops are in none of the lists, unless they had a response before.
    """

    @property
    def accepted(self) -> Sequence[ScoreEvent]:
        """Return the accepted events; final once done."""
        ...

    @property
    def refused(self) -> Sequence[tuple[ScoreEvent, Reject]]:
        """Return the events that were refused permanently; final once done."""
        ...

    @property
    def in_doubt(self) -> Sequence[tuple[ScoreEvent, str]]:
        """Return the events that may be in the dataset twice, with the cause; final once done."""
        ...


class Sink(Protocol):
    """The destination of score events."""

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing can be sent now, None where it can."""
        ...

    @property
    def needs_others(self) -> bool:
        """Return whether only other events can show what is at fault: let some in."""
        ...

    @property
    def retried(self) -> Sequence[RetriedEvent]:
        """Return the events that fail alone again and again, longest first."""
        ...

    def set_window_full(self, *, full: bool) -> None:
        """Tell whether no more events are delivered until some are settled."""
        ...

    def recall(self, histories: Mapping[str, SuspectHistory]) -> None:
        """Take over what is known of events that failed alone, by `RetriedEvent.key`."""
        ...

    def start(self) -> None:
        """Start; called once, before anything is delivered."""
        ...

    def deliver(self, events: Sequence[ScoreEvent]) -> Delivery:
        """Queue events for sending; never blocks."""
        ...

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Drop the queued events whose records are of these partitions; never blocks."""
        ...

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        """Refuse the queued events of these records, with these rejects; never blocks.

        An event that is being sent is refused when its attempt fails, and accepted otherwise.
        """
        ...

    def close(self, seconds: float) -> None:
        """Stop within `seconds`; events without a response by then are undelivered."""
        ...


class RejectLimit(Protocol):
    """The limit on rejects that pauses intake."""

    def check(self, count: int, rejected: Sequence[int]) -> None:
        """Count a batch of `count` records, of which those at the ascending indexes are rejected.

        Raises StopError where a limit is exceeded.
        """
        ...

    def check_refusals(self, route: str, refused: int, sent: int) -> None:
        """Count a batch's events of one route: the inlet refused `refused` of the `sent` ones.

        Raises StopError where a limit is exceeded.
        """
        ...

    def reset(self) -> None:
        """Begin to count anew: an operator resumed intake."""
        ...


class DeadLetterSink(Protocol):
    """The dead-letter topic."""

    @property
    def limit(self) -> RejectLimit:
        """Return the limit that pauses intake before a whole topic is dead-lettered."""
        ...

    @property
    def unavailable_reason(self) -> str | None:
        """Return why dead letters cannot be written now, None where they can."""
        ...

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> Pending:
        """Write dead letters; done when all replicas have them. Never blocks."""
        ...

    def poll(self) -> None:
        """Serve delivery reports and retries; called by every loop turn."""
        ...

    def close(self, seconds: float) -> bool:
        """Flush within `seconds`; returns whether everything is written."""
        ...


class RepartitionSink(Protocol):
    """The repartition topic, by which facts reach the partition of their person."""

    @property
    def unavailable_reason(self) -> str | None:
        """Return why nothing can be repartitioned now, None where it can."""
        ...

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> Pending:
        """Write messages, by key and value; done when all replicas have them. Never blocks."""
        ...

    def poll(self) -> None:
        """Serve delivery reports and retries; called by every loop turn."""
        ...

    def close(self, seconds: float) -> bool:
        """Flush within `seconds`; returns whether everything is written."""
        ...


class Components(NamedTuple):
    """What a stream runs on. The records of all routes go to the one `sink`."""

    source: Source
    sink: Sink
    dead_letters: DeadLetterSink
    state_store: StateStore
    repartition: RepartitionSink
    control: ControlStore
