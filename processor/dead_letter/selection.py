"""Which letters are meant, how they add up, and how one is shown without showing a person."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from processor.clock import rfc3339
from processor.dead_letter.letter import Letter
from processor.outcome import Reason, Stage
from processor.record import Headers

__all__ = ["Found", "Group", "Selection", "groups", "portrait"]


class Found(NamedTuple):
    """One place in the dead-letter topic; `letter` is None where what is there is not ours."""

    partition: int
    offset: int
    letter: Letter | None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Letters by reason, stage, time of rejection, and origin; what is not said does not matter.

    Times are epoch ms, `since_ms` included and `until_ms` not; offsets are of the origin, both
    included.
    """

    reasons: frozenset[Reason] = frozenset()
    stages: frozenset[Stage] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    topic: str | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Return True for a letter that is meant."""
        record, reject = letter.record, letter.reject
        return (
            (not self.reasons or reject.reason in self.reasons)
            and (not self.stages or reject.stage in self.stages)
            and _within(letter.time_ms, self.since_ms, self.until_ms)
            and self.topic in (None, record.topic)
            and self.partition in (None, record.partition)
            and _within(record.offset, self.first_offset, _after(self.last_offset))
        )


class Group(msgspec.Struct):
    """Letters of one reason at one stage; times are of rejection, epoch ms."""

    stage: Stage
    reason: Reason
    count: int
    first_ms: int
    last_ms: int


def groups(letters: Iterable[Letter]) -> list[Group]:
    """Return the groups, largest first; reads the letters once and keeps none."""
    found: dict[tuple[Stage, Reason], Group] = {}
    for letter in letters:
        stage, reason, at = letter.reject.stage, letter.reject.reason, letter.time_ms
        group = found.setdefault((stage, reason), Group(stage, reason, 0, at, at))
        group.count += 1
        group.first_ms = min(group.first_ms, at)
        group.last_ms = max(group.last_ms, at)
    return sorted(found.values(), key=lambda group: (-group.count, group.stage, group.reason))


def portrait(letter: Letter, *, reveal: bool) -> Mapping[str, object]:
    """Return what a person may see: why and where, and key, value and headers only on `reveal`."""
    record, reject = letter.record, letter.reject
    show = _plain if reveal else _redacted
    return {
        "origin": record.origin,
        "recordTime": rfc3339(record.timestamp_ms),
        "rejected": rfc3339(letter.time_ms),
        "version": letter.version,
        "stage": reject.stage,
        "reason": reject.reason,
        "detail": reject.detail,
        "pointer": reject.pointer,
        "model": reject.model,
        "headers": _headers(record.headers, reveal=reveal),
        "key": show(record.key),
        "value": show(record.value),
    }


def _headers(headers: Headers, *, reveal: bool) -> list[tuple[str, str | None]]:
    show = _plain if reveal else _redacted
    return [(name, show(value)) for name, value in headers]


def _plain(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _redacted(value: bytes | None) -> str | None:
    if value is None:
        return None
    return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}"


def _within(value: int, first: int | None, end: int | None) -> bool:
    return (first is None or value >= first) and (end is None or value < end)


def _after(last: int | None) -> int | None:
    return None if last is None else last + 1
