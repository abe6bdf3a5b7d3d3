"""From staged to durable: the changelog first, then the store with the changelog's offset.

All that is to be remembered when a flight starts goes with it, each person once; the next one waits
until all replicas have this one and the store has it too. A crash in between costs nothing: the
changelog is ahead of the store, and is read again from where the store stands.

The changelog topic, written: one flight of values at a time, until all replicas have them.

Nothing is produced while a flight is in the air, so a value that is written again after an error
never overtakes a newer one of the same person. The offsets of a partition's acknowledgements are
contiguous unless somebody else wrote in between: that is how a former owner that lives on, and an
erasure, are noticed.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.settings.kafka_client import Property
from processor.state.format.person import encode
from processor.state.format.store import ChangelogPosition, PersonKey
from processor.state.local_store import LocalStore
from processor.state.overlay import Overlay
from processor.state.partitions import AssignedPartitions
from processor.state.person import Person
from processor.telemetry.log_limiter import client_logger
from processor.telemetry.metrics import Metrics

_SILENCE_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class AckedOffsets:
    """The offsets one flight got in one partition."""

    __slots__ = ("count", "first", "last")

    def __init__(self, offset: int) -> None:
        self.first = self.last = offset
        self.count = 1

    def add(self, offset: int) -> None:
        """Count one more."""
        self.first = min(self.first, offset)
        self.last = max(self.last, offset)
        self.count += 1

    def follow(self, offset: int) -> bool:
        """Return True where these are the next offsets from this one on, without a hole."""
        return self.first == offset and self.last - self.first + 1 == self.count


class ChangelogWriter:
    """Writes values by explicit partition until all replicas have them, however long it takes."""

    def __init__(
        self, properties: Mapping[str, Property], topic: str, metrics: Metrics, clock: Clock
    ) -> None:
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._unsent: deque[tuple[PersonKey, bytes | None]] = deque()
        self._unacked = 0
        self._acks: dict[int, AckedOffsets] = {}
        self._trouble: str | None = None
        self._pause = _FIRST_PAUSE
        self._wait = Deadline(clock, 0)
        self._silence = Deadline(clock, 0)
        self._fault: BaseException | None = None
        self._producer = Producer(
            {
                "linger.ms": 5,
                "compression.type": "lz4",
                **properties,
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "error_cb": self._on_error,
            },
            logger=client_logger("changelog", clock),
        )

    @property
    def in_flight(self) -> bool:
        """Return True while values are on their way."""
        return bool(self._unsent) or self._unacked > 0

    @property
    def unavailable_reason(self) -> str | None:
        """Return why values are not getting through; None while they are, or there are none."""
        if not self.in_flight:
            return None
        if self._trouble is None and self._silence.over():
            return f"changelog: no acknowledgement from {self._topic}"
        return self._trouble and f"changelog: {self._trouble}"

    def send(self, values: Mapping[PersonKey, bytes | None]) -> None:
        """Start a flight; None is a tombstone."""
        if self.in_flight:
            raise InvariantError("A flight of state is in the air already.")
        self._unsent = deque(values.items())
        self._silence = Deadline(self._clock, _SILENCE_SECONDS)
        self._produce()

    def poll(self, seconds: float = 0.0) -> None:
        """Serve reports, and write again what failed; waits for reports at most so long."""
        before = self._unacked
        self._producer.poll(seconds)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        if self._unacked < before:
            self._silence = Deadline(self._clock, _SILENCE_SECONDS)
        if self._unsent and self._wait.over():
            self._produce()

    def landed(self) -> dict[int, AckedOffsets]:
        """Return the acknowledgements of a flight that is over, by partition, once."""
        acks, self._acks = self._acks, {}
        for one in acks.values():
            self._metrics.counter("changelog_writes", "ok").inc(one.count)
        self._trouble, self._pause = None, _FIRST_PAUSE
        return acks

    def close(self, seconds: float) -> None:
        """Wait at most so long for what is on its way, then let go of it."""
        self._producer.flush(seconds)
        self._producer.purge()
        self._producer.flush(0)

    def _produce(self) -> None:
        produce, topic, reported, unsent = (
            self._producer.produce,
            self._topic,
            self._on_delivery,
            self._unsent,
        )
        try:
            while unsent:
                (partition, key), value = unsent[0]
                produce(topic, value, key, partition, reported)
                unsent.popleft()
                self._unacked += 1
        except BufferError:
            return  # the client's queue is full: the next poll goes on
        except KafkaException as error:
            self._back_off(error.args[0])

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        # An exception that leaves a callback of the client does harm there: `poll` raises it.
        try:
            self._unacked -= 1
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is not None:
                self._unsent.append(((partition, message.key() or b""), message.value()))
                self._back_off(error)
            elif partition in self._acks:
                self._acks[partition].add(offset)
            else:
                self._acks[partition] = AckedOffsets(offset)
        except Exception as fault:  # noqa: BLE001  see above
            self._metrics.counter("callback_errors", "changelog_delivery").inc()
            self._fault = fault

    def _on_error(self, error: KafkaError) -> None:
        try:
            self._metrics.counter("kafka_errors", error.name(), str(error.fatal()).lower()).inc()
            if error.fatal():
                self._fault = InvariantError(f"The changelog producer gave up: {error.str()}")
        except Exception as fault:  # noqa: BLE001  see `_on_delivery`
            self._fault = fault

    def _back_off(self, error: KafkaError) -> None:
        self._metrics.counter("changelog_writes", "failed").inc()
        self._trouble = error.str()
        if self._wait.over():
            self._wait = Deadline(self._clock, self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)


class StateWrite:
    """Changes on their way to the changelog and the store; `done` turns true once."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


class _WriteBatch(msgspec.Struct):
    """What flies together, and for which assignment of each partition it was loaded."""

    waiting: dict[int, StateWrite]
    values: dict[PersonKey, bytes | None]
    epochs: dict[int, int]
    acks: dict[int, AckedOffsets] | None = None


class StateWriter:
    """At most one flight in the air, and a queue for the next."""

    def __init__(
        self,
        store: LocalStore,
        changelog: ChangelogWriter,
        overlay: Overlay,
        territory: AssignedPartitions,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._overlay = overlay
        self._territory = territory
        self._clock = clock
        self._queue: dict[int, StateWrite] = {}
        self._owed: dict[PersonKey, bytes | None] = {}
        self._flight: _WriteBatch | None = None

    @property
    def busy(self) -> bool:
        """Return True while anything is in the air or queued."""
        return self._flight is not None or bool(self._queue or self._owed)

    def store(self, ticket: int) -> StateWrite:
        """Queue a ticket's changes; a ticket without any is remembered already."""
        remembering = StateWrite()
        if self._overlay.staged(ticket):
            self._queue[ticket] = remembering
        else:
            self._overlay.settle([ticket])
            remembering.done = True
        return remembering

    def owe(self, partition: int, values: Mapping[bytes, bytes | None]) -> None:
        """Queue values that the store has, and the changelog has not."""
        self._owed.update({(partition, key): value for key, value in values.items()})

    def leave(self, partitions: frozenset[int]) -> None:
        """Owe these partitions nothing any more."""
        self._owed = {key: wire for key, wire in self._owed.items() if key[0] not in partitions}

    def take_off(self) -> None:
        """Start a flight with all that is queued, if there is anything and none is in the air."""
        if self._flight is not None or not (self._queue or self._owed):
            return
        persons: dict[PersonKey, Person] = {}
        for ticket in self._queue:
            persons.update(self._overlay.staged(ticket))
        values = {**self._owed, **{key: encode(person) for key, person in persons.items()}}
        self._flight = _WriteBatch(self._queue, values, self._territory.epochs())
        self._queue, self._owed = {}, {}
        self._changelog.send(values)

    def land(self) -> list[int]:
        """Store a write that all replicas have; return partitions to which others have written.

        Of partitions that are no longer ours, or are ours anew, nothing is stored: they are, or
        will be, restored from the changelog. Raises UnavailableError where the store can not take
        it now; calling again tries again.
        """
        flight = self._flight
        if flight is None or self._changelog.in_flight:
            return []
        if flight.acks is None:
            flight.acks = self._changelog.landed()
        disturbed = self._put(flight, flight.acks)
        self._overlay.settle(flight.waiting)
        for remembering in flight.waiting.values():
            remembering.done = True
        self._flight = None
        return disturbed

    def _put(self, flight: _WriteBatch, acks: Mapping[int, AckedOffsets]) -> list[int]:
        changes: dict[int, dict[bytes, bytes | None]] = {}
        marks: dict[int, ChangelogPosition] = {}
        disturbed: list[int] = []
        for partition, got in acks.items():
            owned = self._territory.find(partition, flight.epochs.get(partition, 0))
            if owned is None:
                continue
            changes[partition] = {}
            undisturbed = got.follow(owned.next_offset)
            if not undisturbed:
                disturbed.append(partition)
            next_offset = got.last + 1 if undisturbed else owned.next_offset
            marks[partition] = ChangelogPosition(next_offset, self._clock.now_ms())
        for (partition, key), value in flight.values.items():
            if partition in changes:
                changes[partition][key] = value
        self._store.write(changes, marks)
        for partition, mark in marks.items():
            self._territory.move(partition, mark.next_offset)
        return disturbed
