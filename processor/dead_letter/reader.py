"""The dead-letter topic, read to its present end; no consumer group is joined or committed to.

Dead letters are selected, grouped, and described without personal data.
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
"""Called from time to time: offsets read, and offsets in all."""

_METADATA_SECONDS = 10.0
_NO_ANSWER_SECONDS = 30.0
_POLL_RECORDS = 1_000
_POLL_SECONDS = 0.5


class DeadLetterReader:
    """Reads the topic from the oldest record to the newest at the time of the call.

    Raises UnavailableError where Kafka does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._topic = settings.dead_letter.topic
        self._clock = clock

    def select(
        self, selection: Selection, progress: Progress | None = None
    ) -> Iterator[FoundDeadLetter]:
        """Yield the selected dead letters, by partition in order."""
        for found in self.scan(progress):
            if found.dead_letter is not None and selection.takes(found.dead_letter):
                yield found

    def scan(self, progress: Progress | None = None) -> Iterator[FoundDeadLetter]:
        """Yield every record of the topic, those included that are no dead letters."""
        consumer = self._open()
        try:
            ends = self._ends(consumer)
            starts = {number: low for number, (low, high) in ends.items() if low < high}
            stops = {number: ends[number][1] for number in starts}
            yield from self._read(consumer, starts, stops, progress)
        finally:
            consumer.close()

    def one(self, partition: int, offset: int) -> FoundDeadLetter | None:
        """Return the record at an offset, None where there is none."""
        consumer = self._open()
        try:
            low, high = self._ends(consumer).get(partition, (0, 0))
            if not low <= offset < high:
                return None
            found = self._read(consumer, {partition: offset}, {partition: offset + 1}, None)
            return next(found, None)
        finally:
            consumer.close()

    def _open(self) -> Consumer:
        kafka = self._settings.kafka
        name = f"{kafka.group_id}-dead-letters"
        return Consumer(
            {
                **connection(kafka.bootstrap_servers, name, kafka.client),
                "group.id": name,  # never joined, never committed to
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
            },
            logger=client_logger("kafka-dead-letter-reader", self._clock),
        )

    def _ends(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        try:
            topic = consumer.list_topics(self._topic, timeout=_METADATA_SECONDS).topics[self._topic]
            if topic.error is not None:
                raise UnavailableError("dead letters", f"{self._topic}: {topic.error.str()}")
            return {
                number: consumer.get_watermark_offsets(
                    TopicPartition(self._topic, number), timeout=_METADATA_SECONDS
                )
                for number in topic.partitions
            }
        except KafkaException as error:
            raise UnavailableError("dead letters", error.args[0].str()) from error

    def _read(
        self,
        consumer: Consumer,
        starts: dict[int, int],
        stops: dict[int, int],
        progress: Progress | None,
    ) -> Iterator[FoundDeadLetter]:
        total = sum(stops[number] - start for number, start in starts.items())
        consumer.assign([TopicPartition(self._topic, *start) for start in starts.items()])
        positions = dict(starts)
        answer = Deadline(self._clock, _NO_ANSWER_SECONDS)
        while any(positions[number] < stop for number, stop in stops.items()):
            messages = consumer.consume(_POLL_RECORDS, _POLL_SECONDS)
            if messages:
                answer = Deadline(self._clock, _NO_ANSWER_SECONDS)
            elif answer.over():
                raise UnavailableError("dead letters", "Kafka does not answer")
            for message in messages:
                yield from self._found(message, positions, stops)
            if progress is not None:
                left = sum(max(0, stop - positions[number]) for number, stop in stops.items())
                progress(total - left, total)

    def _found(
        self, message: Message, positions: dict[int, int], stops: dict[int, int]
    ) -> Iterator[FoundDeadLetter]:
        number, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  so it is spelled
                # Compaction or transaction markers may leave no record at the last offsets.
                positions[number] = max(positions[number], stops[number])
            elif error.fatal() or not error.retriable():
                raise UnavailableError("dead letters", error.str())
            return
        positions[number] = offset + 1
        if offset < stops[number]:
            yield FoundDeadLetter(number, offset, read(_record(message)))


def _record(message: Message) -> Record:
    try:
        headers = cast("Headers", tuple(message.headers() or ()))
    except (SystemError, UnicodeDecodeError):
        headers = ()  # with one header name that is not UTF-8 the client returns none of them
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
    )
