"""A Kafka record, which is never changed, its partition, and who follows the assignment."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class RecordPosition(NamedTuple):
    """Where a record stands among others that speak of the same: by Kafka's time, then by offset.

    Time decides first, since offsets start again where a topic is made anew. Within one time, which
    `LogAppendTime` gives to a whole batch, the offset decides. A time of 0 and an offset of -1 are
    not known.
    """

    time_ms: int = 0
    offset: int = -1


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

    @property
    def position(self) -> RecordPosition:
        """Return where it stands among the records of its partition."""
        return RecordPosition(self.timestamp_ms, self.offset)


class Position(NamedTuple):
    """Where a record is; as a text it is `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def of(cls, record: Record) -> "Position":
        """Return the position of a record."""
        return cls(record.topic, record.partition, record.offset)

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that `topic/partition/offset` names; raises ValueError."""
        match text.split("/"):
            case [topic, partition, offset] if (
                topic and partition.isdecimal() and offset.isdecimal()
            ):
                return cls(topic, int(partition), int(offset))
        raise ValueError(f"not a position: {text}")


class AssignmentListener(Protocol):
    """Called on changes of the assignment, inside `Source.poll` and on its thread."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Called with newly assigned partitions, before any of their records is polled."""
        ...

    def drain(self, partitions: Sequence[Partition]) -> None:
        """Called before partitions are revoked: settle their records, in bounded time."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Called with partitions that are no longer assigned, whether revoked or lost."""
        ...
