"""Kafka messages as records, and errors of the Kafka client as values."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol, Self, cast

from confluent_kafka import KafkaError, Message

from processor.domain.record import Headers, Partition, Record


class ErrorKind(Enum):
    """What an error of the Kafka client means to the processor."""

    END_OF_PARTITION = auto()
    """Not an error: a partition was read to its end."""
    NO_VALID_OFFSET = auto()
    """A partition has no offset to read from: none is committed, or Kafka does not have it."""
    CORRUPT_BATCH = auto()
    """A batch of a partition cannot be decoded; the client fetches it again without end."""
    POLL_TOO_LATE = auto()
    """The group revoked all partitions because `max.poll.interval.ms` was exceeded."""
    FATAL = auto()
    """The client cannot be used any more."""
    TRANSIENT = auto()
    """The broker or the network is unavailable; the client retries by itself."""


# librdkafka's own errors are spelled with an underscore; they are public constants.
_KINDS = {
    KafkaError._PARTITION_EOF: ErrorKind.END_OF_PARTITION,  # noqa: SLF001
    KafkaError._AUTO_OFFSET_RESET: ErrorKind.NO_VALID_OFFSET,  # noqa: SLF001
    KafkaError.OFFSET_OUT_OF_RANGE: ErrorKind.NO_VALID_OFFSET,
    KafkaError._LOG_TRUNCATION: ErrorKind.NO_VALID_OFFSET,  # noqa: SLF001
    KafkaError._BAD_COMPRESSION: ErrorKind.CORRUPT_BATCH,  # noqa: SLF001
    KafkaError._BAD_MSG: ErrorKind.CORRUPT_BATCH,  # noqa: SLF001
    KafkaError._MAX_POLL_EXCEEDED: ErrorKind.POLL_TOO_LATE,  # noqa: SLF001
}


# With `auto.offset.reset` `error` the client gives one code, and the text of the code that it had.
_TRUNCATION = KafkaError(KafkaError._LOG_TRUNCATION).str()  # noqa: SLF001


class KafkaFault(NamedTuple):
    """One error of the Kafka client: `name` is librdkafka's, `error` its sentence.

    `truncated` says that the records below an offset that is not valid are others than before.
    """

    kind: ErrorKind
    name: str
    error: str
    retriable: bool = False
    truncated: bool = False

    @classmethod
    def of(cls, error: KafkaError) -> Self:
        """Return an error as a value; an unknown one is TRANSIENT."""
        known = _KINDS.get(error.code(), ErrorKind.TRANSIENT)
        kind = ErrorKind.FATAL if error.fatal() else known
        truncated = error.code() == KafkaError._LOG_TRUNCATION or (  # noqa: SLF001
            known is ErrorKind.NO_VALID_OFFSET and _TRUNCATION in error.str()
        )
        return cls(kind, error.name(), error.str(), error.retriable(), truncated)

    @property
    def fatal(self) -> bool:
        """Return True where the client cannot be used any more."""
        return self.kind is ErrorKind.FATAL


class PollError(NamedTuple):
    """An error that was polled in place of a record; `offset` is None where Kafka named none."""

    fault: KafkaFault
    partition: Partition
    offset: int | None


class _RecordMessage(Protocol):
    """A message without an error: only then are topic, partition and offset always there."""

    def error(self) -> KafkaError | None: ...
    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def timestamp(self) -> tuple[int, int]: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...


def poll_errors(messages: Sequence[Message]) -> list[PollError]:
    """Return the errors among polled messages."""
    return [
        PollError(
            KafkaFault.of(error),
            Partition(message.topic() or "", message.partition() or 0),
            message.offset(),
        )
        for message in messages
        if (error := message.error()) is not None
    ]


def records(messages: Sequence[Message]) -> list[Record]:
    """Return the records among polled messages, in order."""
    try:
        return [
            Record(
                message.topic(),
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value(),
                tuple(headers) if (headers := message.headers()) else (),
            )
            for message in cast("Sequence[_RecordMessage]", messages)
            if message.error() is None
        ]
    except (SystemError, UnicodeDecodeError):
        return [_without_bad_headers(message) for message in messages if message.error() is None]


def runs_by_partition(polled: list[Record]) -> Iterator[list[Record]]:
    """Yield the runs of consecutive records of one partition."""
    if not polled:
        return
    start, topic, number = 0, polled[0].topic, polled[0].partition
    for index, record in enumerate(polled):
        if record.partition != number or record.topic != topic:
            yield polled[start:index]
            start, topic, number = index, record.topic, record.partition
    yield polled[start:]


def _without_bad_headers(raw: Message) -> Record:
    message = cast("_RecordMessage", raw)
    headers: Headers = ()
    try:
        headers = tuple(message.headers() or ())
    except (SystemError, UnicodeDecodeError):
        # confluent-kafka cannot return headers when a header name is not UTF-8.
        headers = ()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers,
    )
