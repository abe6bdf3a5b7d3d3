"""The scores delivered for one person by one model: a history of entries of fixed width.

An entry is `(score date, id, digest, score, bucket, record time)`, in bytes that sort by score date
(the table of bytes is in the package docstring). A history is its entries, ascending and unique,
one after the other: a year of daily scores is 15 kB, and the last one is read without decoding the
others. Merging two histories is the union of their entries, the newest of them; an entry never
changes.
"""

import struct
from bisect import bisect_left
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

_ENTRY: Final = struct.Struct(">Q8s8sdBQ")
_RECORD_TIME: Final = struct.calcsize(">Q8s8sdB")  # where it begins; format 1 ended here
_DATE: Final = struct.Struct(">Q")
_DATE_AND_ID: Final = struct.Struct(">Q8s")
_BIAS: Final = 1 << 63  # a signed date as an unsigned one, so that dates before 1970 sort first
_BUCKETS: Final = ("low", "medium", "high")
_BUCKET_CODE: Final = {name: code for code, name in enumerate(_BUCKETS)}

ENTRY_BYTES: Final = _ENTRY.size
_NO_RECORD_TIME: Final = bytes(ENTRY_BYTES - _RECORD_TIME)


class DeliveredScore(msgspec.Struct, frozen=True, gc=False):
    """A score event that the inlet accepted. `digest` is the digest of the score's content.

    `record_ms` is Kafka's time of the score's record; 0 where that is not known.
    """

    scored_at_ms: int
    id: str
    digest: bytes
    score: float
    bucket: str
    record_ms: int = 0


class PreviousScore(msgspec.Struct, frozen=True, gc=False):
    """What a later score event contains of an earlier one."""

    scored_at_ms: int
    score: float
    bucket: str


class Novelty(Enum):
    """Whether a score was delivered before."""

    NEW = "new"
    """No score with this `_id` was."""
    SAME = "same"
    """The same content was, with the same `_id`: it is a duplicate and is not sent again."""
    CORRECTION = "correction"
    """Other content was, with the same `_id`."""


def encode_entry(delivered: DeliveredScore) -> bytes:
    """Return the entry of a delivered score; it has 64 bits of `_id` and of digest."""
    return _ENTRY.pack(
        delivered.scored_at_ms + _BIAS,
        _short_id(delivered.id),
        delivered.digest[:8],
        delivered.score,
        _BUCKET_CODE[delivered.bucket],
        max(0, delivered.record_ms),
    )


def with_record_times(history: bytes) -> bytes:
    """Return a history of format 1 in the present one: each entry gets the record time 0."""
    starts = range(0, len(history), _RECORD_TIME)
    return b"".join([history[at : at + _RECORD_TIME] + _NO_RECORD_TIME for at in starts])


def split(history: bytes) -> list[bytes]:
    """Return the entries of a history, oldest first."""
    return [history[at : at + ENTRY_BYTES] for at in range(0, len(history), ENTRY_BYTES)]


def add(history: bytes, more: bytes, limit: int) -> bytes:
    """Return the union of two histories, cut to the `limit` newest entries."""
    # The usual case: one entry, newer than all others.
    if len(more) == ENTRY_BYTES and more > history[-ENTRY_BYTES:]:
        joined = history + more
    else:
        joined = b"".join(sorted({*split(history), *split(more)}))
    return joined[-limit * ENTRY_BYTES :]


def remove(history: bytes, scored_at_ms: int, event_id: str, digest: bytes) -> bytes:
    """Return a history without the entry of this `_id` and content; the same if there is none."""
    prefix = _prefix(scored_at_ms, event_id, digest)
    return b"".join([entry for entry in split(history) if not entry.startswith(prefix)])


def novelty_in(history: bytes, scored_at_ms: int, event_id: str, digest: bytes) -> Novelty:
    """Return whether a score with this `_id` was delivered, and with this content."""
    prefix = _prefix(scored_at_ms, event_id, digest)
    start = _lower_bound(history, prefix)
    if history.startswith(prefix, start):
        return Novelty.SAME
    # An entry with the same date and `_id` and another digest is a neighbour of this place.
    same_id = prefix[: _DATE_AND_ID.size]
    corrects = history.startswith(same_id, start) or history.startswith(
        same_id, max(0, start - ENTRY_BYTES)
    )
    return Novelty.CORRECTION if corrects else Novelty.NEW


def previous_in(history: bytes, before_ms: int) -> PreviousScore | None:
    """Return the newest entry dated before an instant.

    Where a score was corrected, two entries have one date: the one of the latest record is taken,
    and of records of one time the entry that sorts last. So the answer does not depend on the order
    in which they arrived.
    """
    start = _lower_bound(history, _DATE.pack(before_ms + _BIAS)) - ENTRY_BYTES
    if start < 0:
        return None
    latest = history[start : start + ENTRY_BYTES]
    date = latest[: _DATE.size]
    while start and history.startswith(date, start := start - ENTRY_BYTES):
        # `max` returns the first of equals: among records of one time, the entry that sorts last.
        latest = max(latest, history[start : start + ENTRY_BYTES], key=_record_time)
    return decode_entry(latest)


def decode_entry(entry: bytes) -> PreviousScore:
    """Return what a later score event contains of an entry."""
    date, _, _, score, bucket, _ = _ENTRY.unpack(entry)
    return PreviousScore(date - _BIAS, score, _BUCKETS[bucket])


def count_since(history: bytes, time_ms: int) -> int:
    """Return how many entries are dated at or after an instant."""
    return (len(history) - _lower_bound(history, _DATE.pack(time_ms + _BIAS))) // ENTRY_BYTES


def _record_time(entry: bytes) -> bytes:
    return entry[_RECORD_TIME:]


def _prefix(scored_at_ms: int, event_id: str, digest: bytes) -> bytes:
    """Return how the entry of this `_id` and content begins: date, id and digest."""
    date_and_id = _DATE_AND_ID.pack(scored_at_ms + _BIAS, _short_id(event_id))
    return date_and_id + digest[:8].ljust(8, b"\0")  # as `struct` pads it in the entry


def _short_id(event_id: str) -> bytes:
    """Return 64 bits of an `_id`, which is a hexadecimal SHA-256 or, from elsewhere, any text."""
    try:
        short = bytes.fromhex(event_id[:16])
    except ValueError:
        short = b""
    return short if len(short) == 8 else blake2b(event_id.encode(), digest_size=8).digest()  # noqa: PLR2004


def _lower_bound(history: bytes, prefix: bytes) -> int:
    """Return the start of the first entry that does not sort before a prefix, else the length."""
    if history[-ENTRY_BYTES:] < prefix:
        return len(history)
    width = len(prefix)
    starts = range(0, len(history), ENTRY_BYTES)
    index = bisect_left(starts, prefix, key=lambda start: history[start : start + width])
    return index * ENTRY_BYTES
