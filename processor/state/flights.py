"""From staged to durable: the changelog first, then the store with the changelog's offset.

All that is to be remembered when a flight starts goes with it, each person once; the next one waits
until all replicas have this one and the store has it too. A crash in between costs nothing: the
changelog is ahead of the store, and is read again from where the store stands.
"""

from collections.abc import Mapping

import msgspec

from processor.clock import Clock
from processor.person import Person
from processor.state.changelog import Acks, Changelog
from processor.state.names import Key, Mark
from processor.state.overlay import Overlay
from processor.state.store import Store
from processor.state.territory import Territory
from processor.state.wire import encode

__all__ = ["Flights", "Remembering"]


class Remembering:
    """Changes on their way to the changelog and the store; `done` turns true once."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


class _Flight(msgspec.Struct):
    """What flies together, and for which assignment of each partition it was loaded."""

    waiting: dict[int, Remembering]
    values: dict[Key, bytes | None]
    epochs: dict[int, int]
    acks: dict[int, Acks] | None = None


class Flights:
    """At most one flight in the air, and a queue for the next."""

    def __init__(
        self,
        store: Store,
        changelog: Changelog,
        overlay: Overlay,
        territory: Territory,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._overlay = overlay
        self._territory = territory
        self._clock = clock
        self._queue: dict[int, Remembering] = {}
        self._owed: dict[Key, bytes | None] = {}
        self._flight: _Flight | None = None

    @property
    def busy(self) -> bool:
        """Return True while anything is in the air or queued."""
        return self._flight is not None or bool(self._queue or self._owed)

    def remember(self, ticket: int) -> Remembering:
        """Queue a ticket's changes; a ticket without any is remembered already."""
        remembering = Remembering()
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
        persons: dict[Key, Person] = {}
        for ticket in self._queue:
            persons.update(self._overlay.staged(ticket))
        values = {**self._owed, **{key: encode(person) for key, person in persons.items()}}
        self._flight = _Flight(self._queue, values, self._territory.epochs())
        self._queue, self._owed = {}, {}
        self._changelog.send(values)

    def land(self) -> list[int]:
        """Store a flight that all replicas have; return partitions to which others have written.

        Of partitions that are no longer ours, or are ours anew, nothing is stored: they are, or
        will be, restored from the changelog. Raises UnavailableError where the store can not take
        it now; calling again tries again.
        """
        flight = self._flight
        if flight is None or self._changelog.flying:
            return []
        if flight.acks is None:
            flight.acks = self._changelog.landed()
        disturbed = self._put(flight, flight.acks)
        self._overlay.settle(flight.waiting)
        for remembering in flight.waiting.values():
            remembering.done = True
        self._flight = None
        return disturbed

    def _put(self, flight: _Flight, acks: Mapping[int, Acks]) -> list[int]:
        changes: dict[int, dict[bytes, bytes | None]] = {}
        marks: dict[int, Mark] = {}
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
            marks[partition] = Mark(next_offset, self._clock.now_ms())
        for (partition, key), value in flight.values.items():
            if partition in changes:
                changes[partition][key] = value
        self._store.write(changes, marks)
        for partition, mark in marks.items():
            self._territory.move(partition, mark.next_offset)
        return disturbed
