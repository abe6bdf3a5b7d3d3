"""The scores delivered for one person by one model: a history packed into fixed-width entries.

An entry is `(instant, id, digest, score, bucket, record time)`, big-endian and biased so that
entries sort as bytes as they do in time. A history is its entries, ascending and unique, one after
the other: a year of daily scores is 15 kB that nobody has to decode to look at the last one.
Merging two histories is the union of their entries, newest kept; an entry never changes.
"""

import struct
from bisect import bisect_left
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

_ENTRY: Final = struct.Struct(">Q8s8sdBQ")
_TIMELESS_BYTES: Final = struct.calcsize(">Q8s8sdB")
_INSTANT: Final = struct.Struct(">Q")
_NAME: Final = struct.Struct(">Q8s")
_BIAS: Final = 1 << 63
_BUCKETS: Final = ("low", "medium", "high")
_BUCKET_CODE: Final = {name: code for code, name in enumerate(_BUCKETS)}

ENTRY_BYTES: Final = _ENTRY.size
_NAME_BYTES: Final = _NAME.size
_NO_TIME: Final = bytes(ENTRY_BYTES - _TIMELESS_BYTES)


class DeliveredScore(msgspec.Struct, frozen=True, gc=False):
    """A score event that the inlet accepted. `digest` names the content of the score itself.

    `record_ms` is Kafka's time for the record it came from; 0 where that is not known.
    """

    scored_at_ms: int
    id: str
    digest: bytes
    score: float
    bucket: str
    record_ms: int = 0


class PreviousScore(msgspec.Struct, frozen=True, gc=False):
    """What a later score event repeats of an earlier one."""

    scored_at_ms: int
    score: float
    bucket: str


class Novelty(Enum):
    """Whether a score was delivered before."""

    NEW = "new"
    """No score of this `_id` was."""
    SAME = "same"
    """The same content was: it merges, and is not sent again."""
    CORRECTION = "correction"
    """Other content was, under the same `_id`."""


def pack(delivered: DeliveredScore) -> bytes:
    """Return the entry of a delivered score; of `_id` and digest it keeps 64 bits each."""
    return _ENTRY.pack(
        delivered.scored_at_ms + _BIAS,
        _short(delivered.id),
        delivered.digest[:8],
        delivered.score,
        _BUCKET_CODE[delivered.bucket],
        max(0, delivered.record_ms),
    )


def widened(history: bytes) -> bytes:
    """Return a history of which the entries were written without record times."""
    pieces = range(0, len(history), _TIMELESS_BYTES)
    return b"".join([history[at : at + _TIMELESS_BYTES] + _NO_TIME for at in pieces])


def split(history: bytes) -> list[bytes]:
    """Return the entries of a history, oldest first."""
    return [history[at : at + ENTRY_BYTES] for at in range(0, len(history), ENTRY_BYTES)]


def add(history: bytes, more: bytes, limit: int) -> bytes:
    """Return the union of two histories, cut to the `limit` newest entries."""
    if len(more) == ENTRY_BYTES and more > history[-ENTRY_BYTES:]:
        joined = history + more
    else:
        joined = b"".join(sorted({*split(history), *split(more)}))
    return joined[-limit * ENTRY_BYTES :]


def take_out(history: bytes, scored_at_ms: int, event_id: str, digest: bytes) -> bytes:
    """Return a history without the entry of this name and content; the same where it has none."""
    named = _named(scored_at_ms, event_id, digest)
    return b"".join([entry for entry in split(history) if not entry.startswith(named)])


def novelty_in(history: bytes, scored_at_ms: int, event_id: str, digest: bytes) -> Novelty:
    """Return whether a score of this `_id` was delivered, and with this content."""
    named = _named(scored_at_ms, event_id, digest)
    at = _lower_bound(history, named)
    if history.startswith(named, at):
        return Novelty.SAME
    name = named[:_NAME_BYTES]
    beside = history.startswith(name, at) or history.startswith(name, max(0, at - ENTRY_BYTES))
    return Novelty.CORRECTION if beside else Novelty.NEW


def previous_in(history: bytes, before_ms: int) -> PreviousScore | None:
    """Return the newest entry dated before an instant.

    Where a score was corrected, both contents stand at one instant; that of the latest record is
    taken, and of records of one time the entry that sorts last. So the answer does not depend on
    the order in which they were learnt of.
    """
    at = _lower_bound(history, _INSTANT.pack(before_ms + _BIAS)) - ENTRY_BYTES
    if at < 0:
        return None
    latest = history[at : at + ENTRY_BYTES]
    instant = latest[: _INSTANT.size]
    while at and history.startswith(instant, at := at - ENTRY_BYTES):
        latest = max(latest, history[at : at + ENTRY_BYTES], key=_record_time)
    return unpack(latest)


def unpack(entry: bytes) -> PreviousScore:
    """Return what an entry says to later scores."""
    instant, _, _, score, bucket, _ = _ENTRY.unpack(entry)
    return PreviousScore(instant - _BIAS, score, _BUCKETS[bucket])


def count_since(history: bytes, time_ms: int) -> int:
    """Return how many entries are dated at or after an instant."""
    behind = len(history) - _lower_bound(history, _INSTANT.pack(time_ms + _BIAS))
    return behind // ENTRY_BYTES


def _record_time(entry: bytes) -> bytes:
    return entry[_TIMELESS_BYTES:]


def _named(scored_at_ms: int, event_id: str, digest: bytes) -> bytes:
    return _NAME.pack(scored_at_ms + _BIAS, _short(event_id)) + digest[:8].ljust(8, b"\0")


def _short(event_id: str) -> bytes:
    """Return 64 bits of an `_id`, which is a hexadecimal SHA-256 or, from elsewhere, any text."""
    try:
        short = bytes.fromhex(event_id[:16])
    except ValueError:
        short = b""
    return short if len(short) == 8 else blake2b(event_id.encode(), digest_size=8).digest()  # noqa: PLR2004


def _lower_bound(history: bytes, prefix: bytes) -> int:
    """Return where the first entry stands that does not sort before a prefix."""
    if history[-ENTRY_BYTES:] < prefix:
        return len(history)
    width = len(prefix)
    found = bisect_left(
        range(0, len(history), ENTRY_BYTES), prefix, key=lambda at: history[at : at + width]
    )
    return found * ENTRY_BYTES
