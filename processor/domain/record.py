"""A Kafka record, which is never changed, and its partition."""

from typing import NamedTuple, TypeAlias

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
        """Return `topic/partition/offset`: how logs and dead letters name a record."""
        return f"{self.topic}/{self.partition}/{self.offset}"
