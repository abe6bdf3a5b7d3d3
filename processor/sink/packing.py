"""Packing: the events of many deliveries become requests, each just small enough to be sent."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain

import msgspec

from processor.domain.event import RetriedEvent, ScoreEvent
from processor.domain.outcome import Cause, Reject
from processor.domain.record import Partition, Position
from processor.sink.suspect import Failure, Suspect


class InletDelivery:
    """The events of one `deliver` call, and the result of each.

    `accepted`, `refused`, `released` and `in_doubt` are filled by the sink's own thread, so they
    may be read once the delivery is done or the sink is closed. Every event ends in one of the
    first three; a released one is for the partition's new owner to send. `in_doubt` lists, once
    each, the events of which a request had no answer that could be understood: they are sent again,
    by this replica or another, so the dataset may hold them twice. An outage never ends a delivery.
    """

    __slots__ = (
        "_finished",
        "_revoked",
        "_skipped",
        "_unfinished",
        "accepted",
        "in_doubt",
        "refused",
        "released",
    )

    def __init__(self, events: Sequence[ScoreEvent]) -> None:
        self.accepted: list[ScoreEvent] = []
        self.refused: list[tuple[ScoreEvent, Reject]] = []
        self.released: list[ScoreEvent] = []
        self.in_doubt: list[tuple[ScoreEvent, Cause]] = []
        self._revoked: AbstractSet[Partition] = frozenset()
        self._skipped: Mapping[Position, Reject] = {}
        self._unfinished = len(events)
        self._finished = threading.Event()
        self._finish(0)

    @property
    def done(self) -> bool:
        """Whether every event was accepted, refused or released."""
        return self._unfinished == 0

    def wait(self, seconds: float) -> bool:
        """Wait until the delivery is done, at most `seconds`, and return whether it is."""
        return self._finished.wait(seconds)

    def accept(self, events: list[ScoreEvent]) -> None:
        """Record that the inlet accepted these (the sink's own call)."""
        self.accepted += events
        self._finish(len(events))

    def refuse(self, event: ScoreEvent, reject: Reject) -> None:
        """Record that the inlet refused this one permanently (the sink's own call)."""
        self.refused.append((event, reject))
        self._finish(1)

    def doubt(self, event: ScoreEvent, cause: Cause) -> None:
        """List this one as in doubt with this cause, in place of any other (the sink's own)."""
        self.in_doubt = [each for each in self.in_doubt if each[0] is not event]
        self.in_doubt.append((event, cause))

    def revoke(self, partitions: AbstractSet[Partition]) -> None:
        """Record that no event of these partitions is to be sent any more (the sink's own call)."""
        self._revoked |= partitions

    def is_revoked(self, event: ScoreEvent) -> bool:
        """Return whether this event is not to be sent any more (the sink's own call)."""
        record = event.record
        return bool(self._revoked) and (record.topic, record.partition) in self._revoked

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        """Record that no event of these records is to be sent any more (the sink's own call)."""
        self._skipped = {**self._skipped, **rejects}

    def skipped(self, event: ScoreEvent) -> Reject | None:
        """Return why this event is skipped, None where it is not (the sink's own call)."""
        return self._skipped.get(Position.of(event.record)) if self._skipped else None

    def release(self, event: ScoreEvent) -> None:
        """Record that this event will not be sent any more (the sink's own call)."""
        self.released.append(event)
        self._finish(1)

    def _finish(self, count: int) -> None:
        self._unfinished -= count
        if self._unfinished == 0:
            self._finished.set()


class InletRequest(msgspec.Struct, frozen=True):
    """The events of one request, in the order they are sent, and the delivery of each.

    `failures` counts failures in a row, `in_doubt` tells that it was sent once without an answer
    that could be understood, `token_renewed` that a newer token was fetched for it since. `first`
    is its first failure, also as a part of a larger request; one event that failed alone is a
    `suspect`.
    """

    events: list[ScoreEvent]
    deliveries: list[InletDelivery]
    failures: int = 0
    in_doubt: bool = False
    token_renewed: bool = False
    first: Failure | None = None
    suspect: Suspect | None = None

    def __len__(self) -> int:
        return len(self.events)

    def cut(self, index: int) -> "list[InletRequest]":
        """Return the request before and the one from an index on."""
        return [self._slice(slice(index)), self._slice(slice(index, None))]

    def pick(self, indexes: Sequence[int]) -> "InletRequest":
        """Return a request of the events at these indexes."""
        events, deliveries = self.events, self.deliveries
        return msgspec.structs.replace(
            self,
            events=[events[index] for index in indexes],
            deliveries=[deliveries[index] for index in indexes],
        )

    def without_revoked(self) -> "InletRequest":
        """Release or refuse the events that are not to be sent any more; return the others."""
        remaining: list[int] = []
        for index, (event, delivery) in enumerate(zip(self.events, self.deliveries, strict=True)):
            if delivery.is_revoked(event):
                delivery.release(event)
            elif (reject := delivery.skipped(event)) is not None:
                delivery.refuse(event, msgspec.structs.replace(reject, model=event.model))
            else:
                remaining.append(index)
        return self.pick(remaining)

    def mark_in_doubt(self, cause: Cause) -> "InletRequest":
        """List the events as in doubt, unless they are listed already; return it so marked."""
        if not self.in_doubt:
            for event, delivery in zip(self.events, self.deliveries, strict=True):
                delivery.in_doubt.append((event, cause))
        return msgspec.structs.replace(self, in_doubt=True)

    def doubt_undecided(self, cause: Cause) -> None:
        """List as in doubt the events that have no result and are not listed."""
        for event, delivery in zip(self.events, self.deliveries, strict=True):
            refused, in_doubt = ([e for e, _ in of] for of in (delivery.refused, delivery.in_doubt))
            if not any(event is each for each in chain(delivery.accepted, refused, in_doubt)):
                delivery.in_doubt.append((event, cause))

    def retried(self) -> RetriedEvent:
        """Return its first event as one that is sent again; called once it failed."""
        event, since_ms = self.events[0], self.first.at_ms if self.first else 0
        return RetriedEvent(event.record.origin, event.route, self.failures, since_ms, "")

    def _slice(self, part: slice) -> "InletRequest":
        return msgspec.structs.replace(
            self, events=self.events[part], deliveries=self.deliveries[part]
        )


class RequestPacker:
    """Fills one request at a time up to `max_bytes` and `max_events`.

    `event_overhead` is what the envelope adds to each event. An event larger than `max_bytes` gets
    a request of its own. `opened_at` is the monotonic time of the first event of the open request;
    None while there is none.
    """

    def __init__(self, *, max_bytes: int, event_overhead: int, max_events: int) -> None:
        self._max_bytes = max_bytes
        self._event_overhead = event_overhead
        self._max_events = max_events
        self._events: list[ScoreEvent] = []
        self._deliveries: list[InletDelivery] = []
        self._bytes = 0
        self.opened_at: float | None = None

    def __len__(self) -> int:
        return len(self._events)

    def add(
        self, events: Iterable[ScoreEvent], delivery: InletDelivery, now: float
    ) -> Iterator[InletRequest]:
        """Pack the events in order and yield the requests that this filled."""
        for event in events:
            size = len(event.body) + self._event_overhead
            if self._bytes + size > self._max_bytes or len(self._events) >= self._max_events:
                yield from self.flush()
            if self.opened_at is None:
                self.opened_at = now
            self._bytes += size
            self._events.append(event)
            self._deliveries.append(delivery)

    def flush(self) -> Iterator[InletRequest]:
        """Yield the open request, if there is one."""
        if self._events:
            request = InletRequest(self._events, self._deliveries)
            self._events, self._deliveries = [], []
            self._bytes = 0
            self.opened_at = None
            yield request

    def release_revoked(self) -> None:
        """Release what is not to be sent any more from the open request."""
        request = InletRequest(self._events, self._deliveries).without_revoked()
        self._events, self._deliveries = request.events, request.deliveries
        self._bytes = sum(len(event.body) + self._event_overhead for event in request.events)
        if not request:
            self.opened_at = None
