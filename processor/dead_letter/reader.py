"""Letters back: a bounded look through the dead-letter topic that leaves no trace in any group."""

from collections.abc import Callable, Iterator
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.clock import Clock, Deadline
from processor.dead_letter.letter import read
from processor.dead_letter.selection import Found, Selection
from processor.errors import UnavailableError
from processor.record import Headers, Record
from processor.settings import Settings
from processor.settings.client import connection
from processor.telemetry.quiet import client_logger

__all__ = ["DeadLetterReader", "Progress"]

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

    def select(self, selection: Selection, progress: Progress | None = None) -> Iterator[Found]:
        """Yield the letters that are meant, by partition in order."""
        for found in self.scan(progress):
            if found.letter is not None and selection.takes(found.letter):
                yield found

    def scan(self, progress: Progress | None = None) -> Iterator[Found]:
        """Yield every place of the topic, those that are not letters of ours included."""
        consumer = self._open()
        try:
            ends = self._ends(consumer)
            starts = {number: low for number, (low, high) in ends.items() if low < high}
            stops = {number: ends[number][1] for number in starts}
            yield from self._walk(consumer, starts, stops, progress)
        finally:
            consumer.close()

    def one(self, partition: int, offset: int) -> Found | None:
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
    ) -> Iterator[Found]:
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
    ) -> Iterator[Found]:
        number, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  so it is spelled
                places[number] = max(places[number], stops[number])
            elif error.fatal() or not error.retriable():
                raise UnavailableError("dead letters", error.str())
            return
        places[number] = offset + 1
        if offset < stops[number]:
            yield Found(number, offset, read(_record(message)))


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
