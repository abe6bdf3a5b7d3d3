"""Kafka messages become records, and their errors become verdicts."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol, cast

from confluent_kafka import KafkaError, Message

from processor.domain.record import Headers, Partition, Record


class ErrorKind(Enum):
    """What an error of the Kafka client means for us."""

    END = auto()
    """Not an error: a partition was read to its end."""
    ASTRAY = auto()
    """A partition has no position that Kafka can serve."""
    STUCK = auto()
    """A batch of a partition can not be decoded; the client asks for it again for ever."""
    EVICTED = auto()
    """The group took our partitions because we did not poll in time."""
    FATAL = auto()
    """The client is dead for good."""
    PASSING = auto()
    """The world is bad; the client tries again by itself."""


class PollError(NamedTuple):
    """An error that came in place of a record; `offset` is None where Kafka named none."""

    fault: ErrorKind
    error: KafkaError
    partition: Partition
    offset: int | None


class _Carries(Protocol):
    """A message that is no error: only then are topic, partition and offset always there."""

    def error(self) -> KafkaError | None: ...
    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def timestamp(self) -> tuple[int, int]: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...


_FAULTS = {
    KafkaError._PARTITION_EOF: ErrorKind.END,  # noqa: SLF001  so it is spelled
    KafkaError._AUTO_OFFSET_RESET: ErrorKind.ASTRAY,  # noqa: SLF001  so it is spelled
    KafkaError._BAD_COMPRESSION: ErrorKind.STUCK,  # noqa: SLF001  so it is spelled
    KafkaError._BAD_MSG: ErrorKind.STUCK,  # noqa: SLF001  so it is spelled
    KafkaError._MAX_POLL_EXCEEDED: ErrorKind.EVICTED,  # noqa: SLF001  so it is spelled
}


def error_kind(error: KafkaError) -> ErrorKind:
    """Return what an error means; what is not known better passes."""
    return ErrorKind.FATAL if error.fatal() else _FAULTS.get(error.code(), ErrorKind.PASSING)


def poll_errors(messages: Sequence[Message]) -> list[PollError]:
    """Return the errors among what was polled."""
    return [_poll_error(message) for message in messages if message.error() is not None]


def records(messages: Sequence[Message]) -> list[Record]:
    """Return the records among what was polled, in order."""
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
            for message in cast("Sequence[_Carries]", messages)
            if message.error() is None
        ]
    except (SystemError, UnicodeDecodeError):
        return [_careful(message) for message in messages if message.error() is None]


def runs(polled: list[Record]) -> Iterator[list[Record]]:
    """Yield the stretches of records that came from one partition."""
    if not polled:
        return
    start, topic, number = 0, polled[0].topic, polled[0].partition
    for index, record in enumerate(polled):
        if record.partition != number or record.topic != topic:
            yield polled[start:index]
            start, topic, number = index, record.topic, record.partition
    yield polled[start:]


def _poll_error(message: Message) -> PollError:
    error = message.error()
    assert error is not None  # noqa: S101  the caller has looked
    partition = Partition(message.topic() or "", message.partition() or 0)
    return PollError(error_kind(error), error, partition, message.offset())


def _careful(message: Message) -> Record:
    carries = cast("_Carries", message)
    headers: Headers = ()
    try:
        headers = tuple(carries.headers() or ())
    except (SystemError, UnicodeDecodeError):
        # The client can not show headers one of whose names is not UTF-8; nothing here reads them.
        headers = ()
    return Record(
        carries.topic(),
        carries.partition(),
        carries.offset(),
        carries.timestamp()[1],
        carries.key(),
        carries.value(),
        headers,
    )
