"""The scores delivered for one person by one model: a history of entries of fixed width.

An entry is `(score date, record time, record offset, id, digest, score, bucket)`, in bytes that
sort by score date, then by the position of the score's record (the table of bytes is in the package
docstring). A history is its entries, ascending and unique, one after the other: a year of daily
scores is 18 kB, and the last one is read without decoding the others. Merging two histories is the
union of their entries, the newest of them; an entry never changes.

A score may be corrected, and corrected back: then one content has several entries, one for each
record that was sent.
"""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b
from typing import Final

import msgspec

from processor.domain.record import RecordPosition

_ENTRY: Final = struct.Struct(">QQQ8s8sdB")
_NAME: Final = struct.Struct(">QQQ8s8s")  # how an entry begins, and all that names it
_DATE: Final = struct.Struct(">Q")
_POSITION: Final = struct.Struct(">QQ")
_ID_START: Final = _DATE.size + _POSITION.size
_DIGEST_START: Final = _ID_START + 8
_BIAS: Final = 1 << 63  # a signed date as an unsigned one, so that dates before 1970 sort first
_BUCKETS: Final = ("low", "medium", "high")
_BUCKET_CODE: Final = {name: code for code, name in enumerate(_BUCKETS)}
_OLDER_ENTRY_BYTES: Final = {1: 33, 2: 41}  # by format: date, id, digest, score, bucket, time
_OLDER_TIME: Final = 33
_UNKNOWN: Final = 0

ENTRY_BYTES: Final = _ENTRY.size


class DeliveredScore(msgspec.Struct, frozen=True, gc=False):
    """A score event that the inlet accepted. `digest` is the digest of the score's content.

    `position` is that of the score's record.
    """

    scored_at_ms: int
    id: str
    digest: bytes
    score: float
    bucket: str
    position: RecordPosition = RecordPosition()


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
    """The same content was, and no other since: it is a duplicate and is not sent again."""
    CORRECTION = "correction"
    """Other content was, with the same `_id`."""


def encode_entry(delivered: DeliveredScore) -> bytes:
    """Return the entry of a delivered score; it has 64 bits of `_id` and of digest."""
    return _ENTRY.pack(
        delivered.scored_at_ms + _BIAS,
        *_stored_position(delivered.position),
        _short_id(delivered.id),
        delivered.digest[:8],
        delivered.score,
        _BUCKET_CODE[delivered.bucket],
    )


def from_older(history: bytes, format_number: int) -> bytes:
    """Return a history of format 1 or 2 in the present one; what it lacks is not known."""
    width, width_of_date = _OLDER_ENTRY_BYTES[format_number], _DATE.size
    older = [history[at : at + width] for at in range(0, len(history), width)]
    entries = [
        entry[:width_of_date]
        + entry[_OLDER_TIME:].ljust(_POSITION.size, b"\0")
        + entry[width_of_date:_OLDER_TIME]
        for entry in older
    ]
    return b"".join(sorted(entries))


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


def remove(
    history: bytes, scored_at_ms: int, event_id: str, digest: bytes, position: RecordPosition
) -> bytes:
    """Return a history without the entry of this content and record; the same if there is none."""
    name = _name(scored_at_ms, event_id, digest, position)
    return b"".join([entry for entry in split(history) if not entry.startswith(name)])


def novelty_in(
    history: bytes, scored_at_ms: int, event_id: str, digest: bytes, position: RecordPosition
) -> Novelty:
    """Return whether a score with this `_id` was delivered, and whether this one adds to it.

    It does not where the latest delivered record up to this one has the same content, or where one
    after it has. So the contents 40, 60, 40 of three records are delivered three times, and none of
    these records is delivered again.
    """
    date = _DATE.pack(scored_at_ms + _BIAS)
    if history[-ENTRY_BYTES:] < date:
        return Novelty.NEW
    name = _name(scored_at_ms, event_id, digest, position)
    if history.startswith(name, _lower_bound(history, name)):
        return Novelty.SAME
    entries = _entries_of(history, date, name[_ID_START:_DIGEST_START])
    if not entries:
        return Novelty.NEW
    known = _is_known(entries, name[_DIGEST_START:], _stored_position(position))
    return Novelty.SAME if known else Novelty.CORRECTION


def previous_in(history: bytes, before_ms: int) -> PreviousScore | None:
    """Return the newest entry dated before an instant.

    Where a score was corrected, several entries have one date: the one of the latest record is
    taken, whatever the order in which they arrived.
    """
    start = _lower_bound(history, _DATE.pack(before_ms + _BIAS)) - ENTRY_BYTES
    return None if start < 0 else decode_entry(history[start : start + ENTRY_BYTES])


def decode_entry(entry: bytes) -> PreviousScore:
    """Return what a later score event contains of an entry."""
    date, _, _, _, _, score, bucket = _ENTRY.unpack(entry)
    return PreviousScore(date - _BIAS, score, _BUCKETS[bucket])


def count_since(history: bytes, time_ms: int) -> int:
    """Return how many entries are dated at or after an instant."""
    return (len(history) - _lower_bound(history, _DATE.pack(time_ms + _BIAS))) // ENTRY_BYTES


def _entries_of(history: bytes, date: bytes, short_id: bytes) -> list[bytes]:
    """Return the entries of one date and `_id`, in the order of their records."""
    start = end = _lower_bound(history, date)
    while history.startswith(date, end):
        end += ENTRY_BYTES
    return [
        history[at : at + ENTRY_BYTES]
        for at in range(start, end, ENTRY_BYTES)
        if history.startswith(short_id, at + _ID_START)
    ]


def _is_known(entries: Sequence[bytes], digest: bytes, record: tuple[int, int]) -> bool:
    """Return whether a record with this content adds nothing to the entries of its `_id`.

    Of entries with one time whose offsets are not known, each may be the latest.
    """
    position = _POSITION.pack(*record)
    latest = max((each for each in map(_position, entries) if each <= position), default=b"")
    return any(
        _position(entry) == latest or _is_this_or_later(_POSITION.unpack(_position(entry)), record)
        for entry in entries
        if _digest(entry) == digest
    )


def _is_this_or_later(entry: tuple[int, ...], record: tuple[int, int]) -> bool:
    """Return whether an entry is of this record or of a later one.

    A later time with an earlier offset is not later: the clocks of producers differ, and the record
    is more likely to be news than to be read again.
    """
    (entry_ms, entry_offset), (record_ms, offset) = entry, record
    if entry_ms > record_ms:
        return entry_offset == _UNKNOWN or entry_offset >= offset
    return entry_ms == record_ms and entry_offset >= offset


def _position(entry: bytes) -> bytes:
    return entry[_DATE.size : _ID_START]


def _digest(entry: bytes) -> bytes:
    return entry[_DIGEST_START : _NAME.size]


def _stored_position(position: RecordPosition) -> tuple[int, int]:
    """Return the time and the offset as they are stored: 0 for what is not known."""
    time_ms, offset = position
    return max(0, time_ms), max(0, offset + 1)


def _name(scored_at_ms: int, event_id: str, digest: bytes, position: RecordPosition) -> bytes:
    """Return how the entry of this content and record begins: all of it that names it."""
    return _NAME.pack(
        scored_at_ms + _BIAS, *_stored_position(position), _short_id(event_id), digest[:8]
    )


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
