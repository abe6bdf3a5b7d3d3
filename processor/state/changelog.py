"""State made durable: the changelog first, then the local store with the changelog's offset.

All changes that are queued when a write starts are written together, each person once. The next
write starts when all replicas have this one and the store has it too. A crash in between loses
nothing: the changelog is then ahead of the store, and is read again from the store's position.
"""

from collections.abc import Iterable, Mapping

import msgspec

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError
from processor.kafka.producer import KafkaProducer, KafkaWrite, OutgoingMessage, ProducerConfig
from processor.settings.kafka_client import Property
from processor.state.format.person import encode
from processor.state.local_store import LocalStore
from processor.state.overlay import Overlay
from processor.state.partitions import AssignedPartition, AssignedPartitions
from processor.state.person import Person, PersonKey
from processor.telemetry.catalogue import CHANGELOG_WRITES
from processor.telemetry.metrics import Metrics


class AckedOffsets:
    """The offsets that one write got in one partition."""

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
    """The changelog topic, written by explicit partition: one write at a time.

    No write starts while another is in progress, so a value that is written again after an error
    never overtakes a newer one of the same person. The acknowledged offsets of a partition are
    contiguous unless something else is between them: records of a former owner that still runs, an
    erasure, or records of ours that were written twice because their result was unknown.
    """

    def __init__(
        self, client: Mapping[str, Property], topic: str, metrics: Metrics, clock: Clock
    ) -> None:
        config = ProducerConfig(
            part="changelog", topic=topic, writes=CHANGELOG_WRITES, client=client
        )
        self._producer = KafkaProducer(config, metrics, clock)
        self._write = KafkaWrite(0)
        self._acked: dict[int, AckedOffsets] = {}

    @property
    def in_flight(self) -> bool:
        """Return True while a write is in progress."""
        return not self._write.done

    @property
    def unavailable_reason(self) -> str | None:
        """Return why values are not written; None while they are, or there are none."""
        return self._producer.unavailable_reason

    def write(self, values: Mapping[PersonKey, bytes | None]) -> None:
        """Start to write values; None is a tombstone."""
        if self.in_flight:
            raise InvariantError("A write to the changelog is in progress already.")
        self._write = self._producer.send(
            OutgoingMessage(key, value, partition=partition)
            for (partition, key), value in values.items()
        )

    def poll(self, seconds: float = 0.0) -> None:
        """Serve reports and retries; waits for reports at most `seconds`."""
        self._note(self._producer.poll(seconds))

    def take_acked(self) -> dict[int, AckedOffsets]:
        """Return the acknowledged offsets of a finished write, by partition, once."""
        acked, self._acked = self._acked, {}
        return acked

    def close(self, seconds: float) -> None:
        """Wait at most `seconds` for the write in progress, then give it up."""
        self._note(self._producer.close(seconds))

    def _note(self, written: Iterable[OutgoingMessage]) -> None:
        acked = self._acked
        for message in written:
            if message.partition in acked:
                acked[message.partition].add(message.offset)
            else:
                acked[message.partition] = AckedOffsets(message.offset)


class StateWrite:
    """Changes that are being written to the changelog and the store; `done` turns true once."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


class _WriteBatch(msgspec.Struct):
    """What is written together, and the epoch of each partition for which it was loaded.

    Of `rewritten` partitions it has all that the changelog lacked.
    """

    writes: dict[int, StateWrite]
    values: dict[PersonKey, bytes | None]
    epochs: dict[int, int]
    rewritten: set[int]
    acked: dict[int, AckedOffsets] | None = None


class StateWriter:
    """One write in progress at most, and a queue for the next."""

    def __init__(
        self,
        store: LocalStore,
        changelog: ChangelogWriter,
        overlay: Overlay,
        assigned: AssignedPartitions,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._overlay = overlay
        self._assigned = assigned
        self._clock = clock
        self._queue: dict[int, StateWrite] = {}
        self._repairs: dict[PersonKey, bytes | None] = {}
        self._rewritten: set[int] = set()
        self._batch: _WriteBatch | None = None

    @property
    def busy(self) -> bool:
        """Return True while a write is in progress or queued."""
        return self._batch is not None or bool(self._queue or self._repairs)

    def store(self, ticket: int) -> StateWrite:
        """Queue a ticket's changes; a ticket without any is done at once."""
        write = StateWrite()
        if self._overlay.staged(ticket):
            self._queue[ticket] = write
        else:
            self._overlay.settle([ticket])
            write.done = True
        return write

    def repair(self, partition: int, values: Mapping[bytes, bytes | None]) -> None:
        """Queue values that the store has and the changelog lacks."""
        self._repairs.update({(partition, key): value for key, value in values.items()})

    def begin_rewrite(self, partition: int) -> None:
        """Keep a partition's position at 0: what was written so far may be in a deleted topic."""
        assigned = self._assigned.find(partition)
        if assigned is not None:
            assigned.rewriting = True
        self._rewritten.discard(partition)
        if self._batch is not None:
            self._batch.rewritten.discard(partition)

    def rewrite(self, partition: int, values: Mapping[bytes, bytes | None]) -> None:
        """Queue all values that the changelog lacks; its position is kept once they are written."""
        self.repair(partition, values)
        self._rewritten.add(partition)
        assigned = self._assigned.find(partition)
        if assigned is not None:
            assigned.rewriting = bool(values)

    def revoke(self, partitions: frozenset[int]) -> None:
        """Drop the repairs of partitions that are no longer assigned."""
        self._rewritten -= partitions
        self._repairs = {
            key: value for key, value in self._repairs.items() if key[0] not in partitions
        }

    def start_write(self) -> None:
        """Start to write all that is queued, unless there is none or a write is in progress."""
        if self._batch is not None or not (self._queue or self._repairs):
            return
        persons: dict[PersonKey, Person] = {}
        for ticket in self._queue:
            persons.update(self._overlay.staged(ticket))
        values = {**self._repairs, **{key: encode(person) for key, person in persons.items()}}
        self._batch = _WriteBatch(self._queue, values, self._assigned.epochs(), self._rewritten)
        self._queue, self._repairs, self._rewritten = {}, {}, set()
        self._changelog.write(values)

    def finish_write(self) -> list[int]:
        """Store a write that all replicas have; return partitions in which others have written.

        Of partitions that are no longer assigned, or are assigned anew, nothing is stored: they
        are, or will be, restored from the changelog. Raises UnavailableError where the store cannot
        be written now; the next call tries again.
        """
        batch = self._batch
        if batch is None or self._changelog.in_flight:
            return []
        if batch.acked is None:
            batch.acked = self._changelog.take_acked()
        disturbed = self._put(batch, batch.acked)
        self._overlay.settle(batch.writes)
        for write in batch.writes.values():
            write.done = True
        self._batch = None
        return disturbed

    def _put(self, batch: _WriteBatch, acked: Mapping[int, AckedOffsets]) -> list[int]:
        changes: dict[int, dict[bytes, bytes | None]] = {}
        advanced: dict[int, AssignedPartition] = {}
        disturbed: list[int] = []
        for partition, offsets in acked.items():
            assigned = self._assigned.find(partition, batch.epochs.get(partition, 0))
            if assigned is None:
                continue
            changes[partition] = {}
            next_offset = offsets.last + 1
            if not offsets.follow(assigned.next_offset):
                # The store has our values, but its position stays before the hole: what is in it
                # is read next.
                disturbed.append(partition)
                next_offset = assigned.next_offset
            rewriting = assigned.rewriting and partition not in batch.rewritten
            advanced[partition] = msgspec.structs.replace(
                assigned, next_offset=next_offset, rewriting=rewriting
            )
        for (partition, key), value in batch.values.items():
            if partition in changes:
                changes[partition][key] = value
        now_ms = self._clock.now_ms()
        self._store.write(changes, {key: each.position(now_ms) for key, each in advanced.items()})
        self._assigned.replace(advanced)
        return disturbed
