"""One record on its way to Kafka."""

from typing import NamedTuple


class Sent(NamedTuple):
    """Topic, key, value and time (epoch ms) of a record; a value of None is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    timestamp_ms: int
