"""The dead-letter topic, read to its present end; no consumer group is joined or committed to.

Dead letters are selected, grouped, and described without personal data.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import msgspec

from processor.dead_letter.dead_letter import DeadLetter, read
from processor.domain.clock import Clock, rfc3339
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Record
from processor.kafka.topic_reader import TopicReader
from processor.settings import Settings


class FoundDeadLetter(NamedTuple):
    """One record of the dead-letter topic; `dead_letter` is None where it is no dead letter."""

    partition: int
    offset: int
    dead_letter: DeadLetter | None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters by reason, stage, time of rejection, and origin; a default selects all.

    Times are epoch ms, `since_ms` included and `until_ms` not; offsets are of the original record,
    both included.
    """

    reasons: frozenset[Reason] = frozenset()
    stages: frozenset[Stage] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    topic: str | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None

    def takes(self, dead_letter: DeadLetter) -> bool:
        """Return True for a selected dead letter."""
        record, reject = dead_letter.record, dead_letter.reject
        return (
            (not self.reasons or reject.reason in self.reasons)
            and (not self.stages or reject.stage in self.stages)
            and (self.since_ms is None or dead_letter.time_ms >= self.since_ms)
            and (self.until_ms is None or dead_letter.time_ms < self.until_ms)
            and self.topic in (None, record.topic)
            and self.partition in (None, record.partition)
            and (self.first_offset is None or record.offset >= self.first_offset)
            and (self.last_offset is None or record.offset <= self.last_offset)
        )


class DeadLetterGroup(msgspec.Struct):
    """Dead letters of one reason at one stage; times are of rejection, epoch ms."""

    stage: Stage
    reason: Reason
    count: int
    first_ms: int
    last_ms: int


def group_dead_letters(dead_letters: Iterable[DeadLetter]) -> list[DeadLetterGroup]:
    """Return the groups, largest first; iterates once and stores no dead letter."""
    groups: dict[tuple[Stage, Reason], DeadLetterGroup] = {}
    for dead_letter in dead_letters:
        stage, reason, ms = dead_letter.reject.stage, dead_letter.reject.reason, dead_letter.time_ms
        group = groups.setdefault((stage, reason), DeadLetterGroup(stage, reason, 0, ms, ms))
        group.count += 1
        group.first_ms = min(group.first_ms, ms)
        group.last_ms = max(group.last_ms, ms)
    return sorted(groups.values(), key=lambda group: (-group.count, group.stage, group.reason))


def describe(dead_letter: DeadLetter, *, reveal: bool) -> Mapping[str, object]:
    """Return the fields to show; key, value and headers are in them only with `reveal`."""
    record, reject = dead_letter.record, dead_letter.reject
    show = _plain if reveal else _redacted
    return {
        "origin": record.origin,
        "recordTime": rfc3339(record.timestamp_ms),
        "rejected": rfc3339(dead_letter.time_ms),
        "version": dead_letter.version,
        "stage": reject.stage,
        "reason": reject.reason,
        "detail": reject.detail,
        "pointer": reject.pointer,
        "model": reject.model,
        "headers": [(name, show(value)) for name, value in record.headers],
        "key": show(record.key),
        "value": show(record.value),
    }


def _plain(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _redacted(value: bytes | None) -> str | None:
    if value is None:
        return None
    return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}"


Progress = Callable[[int, int], None]
"""Called from time to time with the offsets read so far, and the offsets in all."""


class DeadLetterReader:
    """Reads from the oldest dead letter to the newest there is when reading begins.

    Raises UnavailableError where Kafka does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def select(
        self, selection: Selection, progress: Progress | None = None
    ) -> Iterator[FoundDeadLetter]:
        """Yield the dead letters of a selection, by partition in order."""
        for found in self.scan(progress):
            if found.dead_letter is not None and selection.takes(found.dead_letter):
                yield found

    def scan(self, progress: Progress | None = None) -> Iterator[FoundDeadLetter]:
        """Yield every record of the topic, also those that are not the processor's."""
        with closing(self._open()) as reader:
            ranges = reader.ranges()
            total = sum(map(len, ranges.values()))
            for records, left in reader.scan(ranges):
                yield from map(_found, records)
                if progress is not None:
                    progress(total - left, total)

    def one(self, partition: int, offset: int) -> FoundDeadLetter | None:
        """Return the record at one offset, None where there is none."""
        with closing(self._open()) as reader:
            record = reader.record_at(partition, offset)
        return None if record is None else _found(record)

    def _open(self) -> TopicReader:
        return TopicReader(
            self._settings.kafka,
            self._settings.dead_letter.topic,
            part="dead letters",
            clock=self._clock,
        )


def _found(record: Record) -> FoundDeadLetter:
    return FoundDeadLetter(record.partition, record.offset, read(record))
