"""A dead letter: the record as it was read and, in headers, why and where it was rejected.

The record's own key, value and headers are not changed. The added headers follow them as one block
that begins with `cai-letter`: a client that asks for the last header of a name gets an added one,
and all headers before the last `cai-letter` are the original ones.
"""

import msgspec

from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Headers, Record

_FIRST = "cai-letter"
_FORMAT = b"1"
_NAMES = (
    "cai-reason",
    "cai-stage",
    "cai-detail",
    "cai-pointer",
    "cai-model",
    "cai-topic",
    "cai-partition",
    "cai-offset",
    "cai-timestamp",
    "cai-version",
    "cai-time",
)
_MAX_TEXT = 500


class DeadLetter(msgspec.Struct, frozen=True):
    """One rejected record, `time_ms` (epoch ms) of the rejection, and the processor's version."""

    record: Record
    reject: Reject
    time_ms: int
    version: str


def headers(dead_letter: DeadLetter) -> Headers:
    """Return the headers to write: the original ones, then the added ones."""
    record, reject = dead_letter.record, dead_letter.reject
    values = (
        reject.reason,
        reject.stage,
        reject.detail[:_MAX_TEXT],
        reject.pointer[:_MAX_TEXT],
        reject.model[:_MAX_TEXT],
        record.topic,
        str(record.partition),
        str(record.offset),
        str(record.timestamp_ms),
        dead_letter.version,
        str(dead_letter.time_ms),
    )
    added = ((name, _bytes(value)) for name, value in zip(_NAMES, values, strict=True))
    return (*record.headers, (_FIRST, _FORMAT), *added)


def read(found: Record) -> DeadLetter | None:
    """Return the dead letter of a record in the dead-letter topic; None where it is none."""
    starts = [index for index, (name, _) in enumerate(found.headers) if name == _FIRST]
    if not starts or found.headers[starts[-1]][1] != _FORMAT:
        return None
    # The last one: a dead letter can itself be rejected, when it is replayed.
    start = starts[-1]
    added = {name: (value or b"").decode() for name, value in found.headers[start + 1 :]}
    try:
        return _dead_letter(found, found.headers[:start], added)
    except (KeyError, ValueError):
        return None


def _dead_letter(found: Record, original: Headers, added: dict[str, str]) -> DeadLetter:
    record = Record(
        topic=added["cai-topic"],
        partition=int(added["cai-partition"]),
        offset=int(added["cai-offset"]),
        timestamp_ms=int(added["cai-timestamp"]),
        key=found.key,
        value=found.value,
        headers=original,
    )
    reject = Reject(
        stage=Stage(added["cai-stage"]),
        reason=Reason(added["cai-reason"]),
        detail=added["cai-detail"],
        pointer=added["cai-pointer"],
        model=added["cai-model"],
    )
    return DeadLetter(record, reject, int(added["cai-time"]), added["cai-version"])


def _bytes(text: str) -> bytes:
    # A pointer or model name comes from the record and may hold half a surrogate pair.
    return text.encode("utf-8", "replace")
