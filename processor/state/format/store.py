"""Keys and records of the local store beside the values of persons."""

from hashlib import sha256
from typing import Final

import msgspec

META: Final = b"meta"
"""The database of positions, by partition name, and of the origin."""

ORIGIN: Final = b"origin"
"""The key of the origin in it."""

_FORMAT: Final = 1
LONGEST_KEY: Final = 480
"""Person keys of this length or more are shortened: LMDB takes 511 bytes."""

_DIGEST_BYTES: Final = 32


class Origin(msgspec.Struct, frozen=True):
    """Which changelog a store is a cache of; `topic_id` is empty where the broker has none."""

    topic: str
    cluster: str
    topic_id: str = ""
    format: int = _FORMAT

    def same_name_as(self, other: "Origin") -> bool:
        """Return True for a topic of the same name in the same cluster."""
        return (self.format, self.topic, self.cluster) == (
            other.format,
            other.topic,
            other.cluster,
        )

    def recreated_as(self, other: "Origin") -> bool:
        """Return True where the other is known to be a later topic of this name."""
        known = bool(self.topic_id and other.topic_id)
        return self.same_name_as(other) and known and self.topic_id != other.topic_id


class ChangelogPosition(msgspec.Struct, frozen=True, array_like=True):
    """Up to where a store has a partition's changelog (the next offset), and when it was noted.

    At 0 the changelog may lack all that the store has: it is written there again.
    """

    next_offset: int
    at_ms: int


class StoreNote(msgspec.Struct, frozen=True):
    """The file `note.json` beside a store: whether the store's files can be trusted.

    `boot` is the boot of the machine under which the store was opened, `closed` says that it was
    closed in order, `unproven_starts` counts the starts since it was last written.
    """

    boot: str
    closed: bool
    unproven_starts: int = msgspec.field(default=0, name="barren_starts")


def store_key(person_key: bytes) -> bytes:
    """Return a person key as LMDB takes it; no other person key becomes the same."""
    if len(person_key) < LONGEST_KEY:
        return person_key
    return person_key[: LONGEST_KEY - _DIGEST_BYTES] + sha256(person_key).digest()


def database_name(partition: int) -> bytes:
    """Return the name of a partition's database."""
    return b"%d" % partition
