"""Letters back: a bounded look through the dead-letter topic that leaves no trace in any group.

Which letters are meant, how they add up, and how one is shown without showing a person.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.dead_letter.dead_letter import DeadLetter, read
from processor.domain.clock import Clock, Deadline, rfc3339
from processor.domain.errors import UnavailableError
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Headers, Record
from processor.settings import Settings
from processor.settings.kafka_client import connection
from processor.telemetry.log_limiter import client_logger


class FoundDeadLetter(NamedTuple):
    """One place in the dead-letter topic; `letter` is None where what is there is not ours."""

    partition: int
    offset: int
    dead_letter: DeadLetter | None


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

    def takes(self, dead_letter: DeadLetter) -> bool:
        """Return True for a letter that is meant."""
        record, reject = dead_letter.record, dead_letter.reject
        return (
            (not self.reasons or reject.reason in self.reasons)
            and (not self.stages or reject.stage in self.stages)
            and _within(dead_letter.time_ms, self.since_ms, self.until_ms)
            and self.topic in (None, record.topic)
            and self.partition in (None, record.partition)
            and _within(record.offset, self.first_offset, _after(self.last_offset))
        )


class DeadLetterGroup(msgspec.Struct):
    """Letters of one reason at one stage; times are of rejection, epoch ms."""

    stage: Stage
    reason: Reason
    count: int
    first_ms: int
    last_ms: int


def group_dead_letters(dead_letters: Iterable[DeadLetter]) -> list[DeadLetterGroup]:
    """Return the groups, largest first; reads the letters once and keeps none."""
    found: dict[tuple[Stage, Reason], DeadLetterGroup] = {}
    for dead_letter in dead_letters:
        stage, reason, at = dead_letter.reject.stage, dead_letter.reject.reason, dead_letter.time_ms
        group = found.setdefault((stage, reason), DeadLetterGroup(stage, reason, 0, at, at))
        group.count += 1
        group.first_ms = min(group.first_ms, at)
        group.last_ms = max(group.last_ms, at)
    return sorted(found.values(), key=lambda group: (-group.count, group.stage, group.reason))


def describe(dead_letter: DeadLetter, *, reveal: bool) -> Mapping[str, object]:
    """Return what a person may see: why and where, and key, value and headers only on `reveal`."""
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


Progress = Callable[[int, int], None]
"""Told from time to time: places looked at, and places in all."""

_ASK_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
_POLL_RECORDS = 1_000
_POLL_SECONDS = 0.5


class DeadLetterReader:
    """Reads from the oldest letter to the newest there is when a look begins.

    Raises UnavailableError where Kafka does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._topic = settings.dead_letter.topic
        self._clock = clock

    def select(
        self, selection: Selection, progress: Progress | None = None
    ) -> Iterator[FoundDeadLetter]:
        """Yield the letters that are meant, by partition in order."""
        for found in self.scan(progress):
            if found.dead_letter is not None and selection.takes(found.dead_letter):
                yield found

    def scan(self, progress: Progress | None = None) -> Iterator[FoundDeadLetter]:
        """Yield every place of the topic, those that are not letters of ours included."""
        consumer = self._open()
        try:
            ends = self._ends(consumer)
            starts = {number: low for number, (low, high) in ends.items() if low < high}
            stops = {number: ends[number][1] for number in starts}
            yield from self._walk(consumer, starts, stops, progress)
        finally:
            consumer.close()

    def one(self, partition: int, offset: int) -> FoundDeadLetter | None:
        """Return what is at one place, None where there is nothing."""
        consumer = self._open()
        try:
            low, high = self._ends(consumer).get(partition, (0, 0))
            if not low <= offset < high:
                return None
            walk = self._walk(consumer, {partition: offset}, {partition: offset + 1}, None)
            return next(walk, None)
        finally:
            consumer.close()

    def _open(self) -> Consumer:
        kafka = self._settings.kafka
        return Consumer(
            {
                **connection(kafka.bootstrap_servers, f"{kafka.group_id}-letters", kafka.client),
                "group.id": f"{kafka.group_id}-letters",  # never joined, never committed to
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
            },
            logger=client_logger("kafka-letters", self._clock),
        )

    def _ends(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        try:
            topic = consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
            if topic.error is not None:
                raise UnavailableError("dead letters", f"{self._topic}: {topic.error.str()}")
            return {
                number: consumer.get_watermark_offsets(
                    TopicPartition(self._topic, number), timeout=_ASK_SECONDS
                )
                for number in topic.partitions
            }
        except KafkaException as error:
            raise UnavailableError("dead letters", error.args[0].str()) from error

    def _walk(
        self,
        consumer: Consumer,
        starts: dict[int, int],
        stops: dict[int, int],
        progress: Progress | None,
    ) -> Iterator[FoundDeadLetter]:
        total = sum(stops[number] - start for number, start in starts.items())
        consumer.assign([TopicPartition(self._topic, *at) for at in starts.items()])
        places = dict(starts)
        silence = Deadline(self._clock, _SILENCE_SECONDS)
        while any(places[number] < stop for number, stop in stops.items()):
            messages = consumer.consume(_POLL_RECORDS, _POLL_SECONDS)
            if messages:
                silence = Deadline(self._clock, _SILENCE_SECONDS)
            elif silence.over():
                raise UnavailableError("dead letters", "Kafka does not answer")
            for message in messages:
                yield from self._found(message, places, stops)
            if progress is not None:
                left = sum(max(0, stop - places[number]) for number, stop in stops.items())
                progress(total - left, total)

    def _found(
        self, message: Message, places: dict[int, int], stops: dict[int, int]
    ) -> Iterator[FoundDeadLetter]:
        number, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  so it is spelled
                places[number] = max(places[number], stops[number])
            elif error.fatal() or not error.retriable():
                raise UnavailableError("dead letters", error.str())
            return
        places[number] = offset + 1
        if offset < stops[number]:
            yield FoundDeadLetter(number, offset, read(_record(message)))


def _record(message: Message) -> Record:
    try:
        headers = cast("Headers", tuple(message.headers() or ()))
    except (SystemError, UnicodeDecodeError):
        headers = ()  # a header name that is not UTF-8: the client can show none of them
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
    )
