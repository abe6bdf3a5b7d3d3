"""All events the simulator accepted, by dataset, and whether their sender got the response."""

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from processor.simulator.aep.envelope import UNREADABLE

_DIGEST_BYTES = 8
_SAMPLE = 50


class Retention(StrEnum):
    """What is stored in memory of the accepted events."""

    EVENTS = "events"
    """Every event."""
    IDS = "ids"
    """Id and digest of every event (about 0.2 KB each), and the last events."""
    COUNTS = "counts"
    """Only the number of events, and the last events."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """One event the inlet accepted; `body` is its `xdmEntity` byte for byte."""

    dataset_id: str
    request_id: str
    at_ms: int
    body: bytes

    @property
    def id(self) -> str:
        """The event's `_id`; empty if it has none."""
        return _id(self.body)

    @property
    def digest(self) -> bytes:
        """A hash of the event's content."""
        return blake2b(self.body, digest_size=_DIGEST_BYTES).digest()

    def event(self) -> dict[str, Any]:
        """Return the event decoded."""
        event: dict[str, Any] = msgspec.json.decode(self.body)
        return event


class _DatasetEvents:
    """Events of one dataset; `seen` counts digest + `_id` if the events are not stored."""

    __slots__ = ("accepted", "events", "sample", "seen")

    def __init__(self) -> None:
        self.accepted = 0
        self.events: list[Accepted] = []
        self.sample: deque[Accepted] = deque(maxlen=_SAMPLE)
        self.seen: dict[bytes, int] = {}

    def count(self, bodies: Sequence[bytes]) -> None:
        seen = self.seen
        for body in bodies:
            key = _key(body)
            seen[key] = seen.get(key, 0) + 1

    def counts(self) -> Mapping[bytes, int]:
        return Counter(_key(event.body) for event in self.events) if self.events else self.seen


class _Id(msgspec.Struct):
    id: str = msgspec.field(name="_id", default="")


_ids = msgspec.json.Decoder(_Id)


class AcceptedEvents:
    """Stores the accepted events; may be used from any thread.

    An event is accepted even if the response did not reach the sender: requests whose response was
    cut are marked, and their events are in doubt for the sender.
    """

    def __init__(self, retention: Retention = Retention.EVENTS, path: Path | None = None) -> None:
        self._retention = retention
        self._lock = threading.Lock()
        self._datasets: dict[str, _DatasetEvents] = {}
        self._cut: set[str] = set()
        self._file: BinaryIO | None = path.open("ab") if path else None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        """Events that a flow lost without an error, by dataset."""

    def add(self, dataset_id: str, bodies: Sequence[bytes], request_id: str, at_ms: int) -> None:
        """Store the entities of one request that were accepted for one dataset."""
        with self._lock:
            dataset = self._datasets.setdefault(dataset_id, _DatasetEvents())
            dataset.accepted += len(bodies)
            if self._retention is Retention.EVENTS:
                dataset.events += [Accepted(dataset_id, request_id, at_ms, body) for body in bodies]
            elif bodies:
                dataset.sample.append(Accepted(dataset_id, request_id, at_ms, bodies[-1]))
            if self._retention is Retention.IDS:
                dataset.count(bodies)
            if self._file is not None:
                head = {"datasetId": dataset_id, "requestId": request_id, "at": at_ms}
                self._file.writelines(_line(head, body) for body in bodies)

    def mark_cut(self, request_id: str) -> None:
        """Mark a request whose complete response did not reach the sender."""
        with self._lock:
            self._cut.add(request_id)

    def datasets(self) -> list[str]:
        """Return the datasets that received anything."""
        with self._lock:
            return sorted(self._datasets)

    def total(self, dataset_id: str | None = None) -> int:
        """Return how many events were accepted, duplicates included."""
        with self._lock:
            return sum(dataset.accepted for dataset in self._chosen(dataset_id))

    def distinct(self, dataset_id: str | None = None) -> int:
        """Return how many different `_id` were accepted (0 if only counts are stored)."""
        return len(self.times(dataset_id))

    def times(self, dataset_id: str | None = None) -> Counter[str]:
        """Return how often each `_id` was accepted."""
        counts: Counter[str] = Counter()
        with self._lock:
            for dataset in self._chosen(dataset_id):
                for key, times in dataset.counts().items():
                    counts[key[_DIGEST_BYTES:].decode()] += times
        return counts

    def duplicates(self, dataset_id: str | None = None) -> dict[str, int]:
        """Return the `_id` that were accepted more than once, and how often."""
        return {name: times for name, times in self.times(dataset_id).items() if times > 1}

    def changed(self, dataset_id: str | None = None) -> dict[str, int]:
        """Return the `_id` accepted with more than one content, and how many contents."""
        contents: Counter[str] = Counter()
        with self._lock:
            for dataset in self._chosen(dataset_id):
                contents.update(key[_DIGEST_BYTES:].decode() for key in dataset.counts())
        return {name: count for name, count in contents.items() if count > 1}

    def events(self, dataset_id: str | None = None, last: int | None = None) -> list[Accepted]:
        """Return accepted events in order; only the last few if not every event is stored."""
        with self._lock:
            all_stored = self._retention is Retention.EVENTS
            found = [
                event
                for dataset in self._chosen(dataset_id)
                for event in (dataset.events if all_stored else dataset.sample)
            ]
        return found if last is None else found[-last:]

    def last_at_ms(self, dataset_id: str) -> int | None:
        """Return the time at which a dataset last got an event, in epoch ms; None if it did not."""
        events = self.events(dataset_id, last=1)
        return events[0].at_ms if events else None

    def in_doubt(self) -> list[Accepted]:
        """Return accepted events whose sender never got a complete response."""
        events = self.events()
        with self._lock:
            return [event for event in events if event.request_id in self._cut]

    def cut_requests(self) -> int:
        """Return how many requests were accepted without a complete response."""
        with self._lock:
            return len(self._cut)

    def clear(self) -> None:
        """Delete everything."""
        with self._lock:
            self._datasets.clear()
            self._cut.clear()
            self.requests.clear()
            self.refusals.clear()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _chosen(self, dataset_id: str | None) -> list[_DatasetEvents]:
        if dataset_id is None:
            return list(self._datasets.values())
        dataset = self._datasets.get(dataset_id)
        return [dataset] if dataset else []


def _key(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST_BYTES).digest() + _id(body).encode()


def _id(body: bytes) -> str:
    try:
        return _ids.decode(body).id
    except UNREADABLE:
        return ""  # accepted all the same: the asynchronous validation reports the error


def _line(head: dict[str, object], body: bytes) -> bytes:
    try:
        entity: object = msgspec.Raw(msgspec.json.format(body, indent=-1))  # on one line
    except UNREADABLE:
        entity = body.decode(errors="replace")
    return msgspec.json.encode({**head, "xdmEntity": entity}) + b"\n"
