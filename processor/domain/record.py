"""A record as Kafka returned it, never changed, and the partitions that records come from."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record. `timestamp_ms` is Kafka's time for it (epoch ms), not the score date."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def origin(self) -> str:
        """Return `topic/partition/offset`, which names the record in logs and dead letters."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class AssignmentListener(Protocol):
    """Called when the assignment changes, inside the source's `poll` and on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Called with newly assigned partitions, before any of their records is polled."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Called before partitions are revoked: settle their records, in bounded time."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Called with partitions that are no longer assigned, whether revoked or lost."""
        ...
