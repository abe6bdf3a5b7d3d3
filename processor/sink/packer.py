"""Packing: events of many deliveries become parcels, each just small enough for one request."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from processor.domain.event import ScoreEvent
from processor.sink.delivery import InletDelivery


class InletRequest(msgspec.Struct, frozen=True):
    """The events of one request, in the order they are sent, and whose deliveries they are.

    `attempts` counts failures in a row, `in_doubt` says that it was sent once without an understood
    answer, `renewed` that a newer token was fetched for it since.
    """

    events: list[ScoreEvent]
    owners: list[InletDelivery]
    attempts: int = 0
    in_doubt: bool = False
    renewed: bool = False

    def __len__(self) -> int:
        return len(self.events)

    def cut(self, place: int) -> "list[InletRequest]":
        """Return the parcels before and from a place on."""
        return [self._slice(slice(place)), self._slice(slice(place, None))]

    def pick(self, places: Sequence[int]) -> "InletRequest":
        """Return a parcel of the events at these places."""
        events, owners = self.events, self.owners
        return msgspec.structs.replace(
            self, events=[events[i] for i in places], owners=[owners[i] for i in places]
        )

    def sifted(self) -> "InletRequest":
        """Release the events that are not to be sent any more; return a parcel of the others."""
        kept: list[int] = []
        for at, (event, owner) in enumerate(zip(self.events, self.owners, strict=True)):
            if owner.forgets(event):
                owner.release(event)
            else:
                kept.append(at)
        return self.pick(kept)

    def _slice(self, part: slice) -> "InletRequest":
        return msgspec.structs.replace(self, events=self.events[part], owners=self.owners[part])


class RequestPacker:
    """Fills one parcel at a time up to `room` bytes and `most` events.

    `extra` is what the envelope adds to every event. An event larger than the room gets a parcel of
    its own. `opened` is the monotonic time of the first event of the open parcel; None while empty.
    """

    def __init__(self, *, room: int, extra: int, most: int) -> None:
        self._room = room
        self._extra = extra
        self._most = most
        self._events: list[ScoreEvent] = []
        self._owners: list[InletDelivery] = []
        self._used = 0
        self.opened: float | None = None

    def add(
        self, events: Iterable[ScoreEvent], owner: InletDelivery, now: float
    ) -> Iterator[InletRequest]:
        """Pack the events in order and yield the parcels that this filled."""
        for event in events:
            size = len(event.body) + self._extra
            if self._used + size > self._room or len(self._events) >= self._most:
                yield from self.close()
            if self.opened is None:
                self.opened = now
            self._used += size
            self._events.append(event)
            self._owners.append(owner)

    def close(self) -> Iterator[InletRequest]:
        """Yield the open parcel, if there is anything in it."""
        if self._events:
            parcel = InletRequest(self._events, self._owners)
            self._events, self._owners = [], []
            self._used = 0
            self.opened = None
            yield parcel

    def sift(self) -> None:
        """Release what is not to be sent any more."""
        parcel = InletRequest(self._events, self._owners).sifted()
        self._events, self._owners = parcel.events, parcel.owners
        self._used = sum(len(event.body) + self._extra for event in parcel.events)
        if not parcel:
            self.opened = None
