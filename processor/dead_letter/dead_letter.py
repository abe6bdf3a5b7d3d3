"""A dead letter: the record as it came, and behind its headers, why and where it was rejected.

The record's own key, value and headers are never touched. Ours follow them as one block that
begins with `cai-letter`, so whoever asks Kafka for the last header of a name gets ours, and
whatever stands before the last `cai-letter` is the original.
"""

import msgspec

from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Headers, Record

_MARK = "cai-letter"
_FORM = b"1"
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
    """One rejected record. `time_ms` is when (epoch ms), `version` the processor's that did it."""

    record: Record
    reject: Reject
    time_ms: int
    version: str


def headers(dead_letter: DeadLetter) -> Headers:
    """Return the headers to write: the original ones, then ours."""
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
    ours = ((name, _bytes(value)) for name, value in zip(_NAMES, values, strict=True))
    return (*record.headers, (_MARK, _FORM), *ours)


def read(found: Record) -> DeadLetter | None:
    """Return the letter that a record of the dead-letter topic is; None where it is not ours."""
    marks = [place for place, (name, _) in enumerate(found.headers) if name == _MARK]
    if not marks or found.headers[marks[-1]][1] != _FORM:
        return None
    ours = {name: (value or b"").decode() for name, value in found.headers[marks[-1] + 1 :]}
    try:
        return _letter(found, found.headers[: marks[-1]], ours)
    except (KeyError, ValueError):
        return None


def _letter(found: Record, original: Headers, ours: dict[str, str]) -> DeadLetter:
    record = Record(
        topic=ours["cai-topic"],
        partition=int(ours["cai-partition"]),
        offset=int(ours["cai-offset"]),
        timestamp_ms=int(ours["cai-timestamp"]),
        key=found.key,
        value=found.value,
        headers=original,
    )
    reject = Reject(
        stage=Stage(ours["cai-stage"]),
        reason=Reason(ours["cai-reason"]),
        detail=ours["cai-detail"],
        pointer=ours["cai-pointer"],
        model=ours["cai-model"],
    )
    return DeadLetter(record, reject, int(ours["cai-time"]), ours["cai-version"])


def _bytes(text: str) -> bytes:
    # A pointer or model name comes from the record and may hold half a surrogate pair.
    return text.encode("utf-8", "replace")
