"""The judge: everything the simulator accepted, by dataset, and whether it said so."""

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


class AcceptStatus(StrEnum):
    """How much of what was accepted is kept in memory."""

    EVENTS = "events"
    """Every event, whole."""
    IDS = "ids"
    """Ids and digests of every event (about 0.2 KB each), the last events whole."""
    COUNTS = "counts"
    """Only how many; the last events whole."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """One event the inlet accepted; `body` is its `xdmEntity` byte for byte."""

    dataset_id: str
    request_id: str
    at_ms: int
    body: bytes

    @property
    def id(self) -> str:
        """The event's `_id`; empty where it has none."""
        return _id(self.body)

    @property
    def digest(self) -> bytes:
        """A name for the event's content."""
        return blake2b(self.body, digest_size=_DIGEST_BYTES).digest()

    def event(self) -> dict[str, Any]:
        """Return the event decoded."""
        event: dict[str, Any] = msgspec.json.decode(self.body)
        return event


class _Shelf:
    """What one dataset got; `seen` counts digest + `_id` where events are not kept."""

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
    """Remembers what was accepted; safe to ask from any thread.

    An event is accepted when the inlet took it, whether or not its answer reached the sender:
    requests whose answer was cut are marked, and their events are what a sender must hold in doubt.
    """

    def __init__(self, keep: AcceptStatus = AcceptStatus.EVENTS, path: Path | None = None) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        self._cut: set[str] = set()
        self._file: BinaryIO | None = path.open("ab") if path else None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[str] = Counter()

    def accept(self, dataset_id: str, bodies: Sequence[bytes], request_id: str, at_ms: int) -> None:
        """Remember the entities of one request that went into one dataset."""
        with self._lock:
            shelf = self._shelves.setdefault(dataset_id, _Shelf())
            shelf.accepted += len(bodies)
            if self._keep is AcceptStatus.EVENTS:
                shelf.events += [Accepted(dataset_id, request_id, at_ms, body) for body in bodies]
            elif bodies:
                shelf.sample.append(Accepted(dataset_id, request_id, at_ms, bodies[-1]))
            if self._keep is AcceptStatus.IDS:
                shelf.count(bodies)
            if self._file is not None:
                head = {"datasetId": dataset_id, "requestId": request_id, "at": at_ms}
                self._file.writelines(_line(head, body) for body in bodies)

    def cut(self, request_id: str) -> None:
        """Mark a request whose answer did not reach its sender whole."""
        with self._lock:
            self._cut.add(request_id)

    def datasets(self) -> list[str]:
        """Return the datasets that received anything."""
        with self._lock:
            return sorted(self._shelves)

    def accepted(self, dataset_id: str | None = None) -> int:
        """Return how many events were accepted, duplicates included."""
        with self._lock:
            return sum(shelf.accepted for shelf in self._chosen(dataset_id))

    def distinct(self, dataset_id: str | None = None) -> int:
        """Return how many different `_id` were accepted (0 where only counts are kept)."""
        return len(self.times(dataset_id))

    def times(self, dataset_id: str | None = None) -> Counter[str]:
        """Return how often each `_id` was accepted."""
        counts: Counter[str] = Counter()
        with self._lock:
            for shelf in self._chosen(dataset_id):
                for key, times in shelf.counts().items():
                    counts[key[_DIGEST_BYTES:].decode()] += times
        return counts

    def duplicates(self, dataset_id: str | None = None) -> dict[str, int]:
        """Return the `_id` that were accepted more than once, and how often."""
        return {name: times for name, times in self.times(dataset_id).items() if times > 1}

    def changed(self, dataset_id: str | None = None) -> dict[str, int]:
        """Return the `_id` accepted with more than one content, and how many contents."""
        contents: Counter[str] = Counter()
        with self._lock:
            for shelf in self._chosen(dataset_id):
                contents.update(key[_DIGEST_BYTES:].decode() for key in shelf.counts())
        return {name: count for name, count in contents.items() if count > 1}

    def events(self, dataset_id: str | None = None, last: int | None = None) -> list[Accepted]:
        """Return accepted events in order; only the last few where not every event is kept."""
        with self._lock:
            whole = self._keep is AcceptStatus.EVENTS
            found = [
                event
                for shelf in self._chosen(dataset_id)
                for event in (shelf.events if whole else shelf.sample)
            ]
        return found if last is None else found[-last:]

    def in_doubt(self) -> list[Accepted]:
        """Return accepted events whose request was never answered whole."""
        events = self.events()
        with self._lock:
            return [event for event in events if event.request_id in self._cut]

    def cut_requests(self) -> int:
        """Return how many requests were accepted without a whole answer."""
        with self._lock:
            return len(self._cut)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._shelves.clear()
            self._cut.clear()
            self.requests.clear()
            self.refusals.clear()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _chosen(self, dataset_id: str | None) -> list[_Shelf]:
        if dataset_id is None:
            return list(self._shelves.values())
        shelf = self._shelves.get(dataset_id)
        return [shelf] if shelf else []


def _key(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST_BYTES).digest() + _id(body).encode()


def _id(body: bytes) -> str:
    try:
        return _ids.decode(body).id
    except UNREADABLE:
        return ""  # taken all the same: the asynchronous validation will say what is wrong


def _line(head: dict[str, object], body: bytes) -> bytes:
    try:
        entity: object = msgspec.Raw(msgspec.json.format(body, indent=-1))  # one line, however laid
    except UNREADABLE:
        entity = body.decode(errors="replace")
    return msgspec.json.encode({**head, "xdmEntity": entity}) + b"\n"
