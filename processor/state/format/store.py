"""How things are called in a local store."""

from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

PersonKey: TypeAlias = tuple[int, bytes]
"""Partition number and person key."""

META: Final = b"meta"
"""The database of marks, by partition name, and of the origin."""

ORIGIN: Final = b"origin"
"""Where in it the origin is."""

_FORMAT: Final = 1
_LONGEST_KEY: Final = 480  # LMDB takes 511


class Origin(msgspec.Struct, frozen=True):
    """Which changelog a store is a cache of; `topic_id` is empty where the broker does not tell."""

    topic: str
    cluster: str
    topic_id: str = ""
    format: int = _FORMAT

    def same_as(self, other: "Origin") -> bool:
        """Return True unless they are known to differ."""
        told = self.topic_id and other.topic_id
        return (self.format, self.topic, self.cluster, self.topic_id if told else "") == (
            other.format,
            other.topic,
            other.cluster,
            other.topic_id if told else "",
        )


class ChangelogPosition(msgspec.Struct, frozen=True, array_like=True):
    """Up to where a partition is restored (the next changelog offset), and when that was noted."""

    next_offset: int
    at_ms: int


def shortened(key: bytes) -> bytes:
    """Return a key as LMDB takes it; no other key is like a shortened one."""
    if len(key) < _LONGEST_KEY:
        return key
    return key[: _LONGEST_KEY - 32] + sha256(key).digest()


def name_of(partition: int) -> bytes:
    """Return the name of a partition's database."""
    return b"%d" % partition
