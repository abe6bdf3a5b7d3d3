from typing import cast

import pytest
from confluent_kafka import KafkaError, Message

from processor.domain.record import Record
from processor.kafka.messages import (
    ErrorKind,
    KafkaFault,
    poll_errors,
    records,
    runs_by_partition,
)


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, partition, offset, 0, None, b"")


class UnreadableHeadersMessage:
    """What confluent-kafka returns for a record with a header name that is not UTF-8."""

    def __getattr__(self, name: str) -> object:
        answers = {"topic": "t", "partition": 1, "offset": 2, "timestamp": (1, 3), "value": b"v"}
        return lambda: answers.get(name)

    def headers(self) -> None:
        raise SystemError("returned a result with an exception set")


def test_record_with_unreadable_headers_is_returned_without_them() -> None:
    assert records([cast("Message", UnreadableHeadersMessage())]) == [
        Record("t", 1, 2, 3, None, b"v")
    ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("_PARTITION_EOF", ErrorKind.END_OF_PARTITION),
        ("_AUTO_OFFSET_RESET", ErrorKind.NO_VALID_OFFSET),
        ("_BAD_COMPRESSION", ErrorKind.CORRUPT_BATCH),
        ("_BAD_MSG", ErrorKind.CORRUPT_BATCH),
        ("_MAX_POLL_EXCEEDED", ErrorKind.POLL_TOO_LATE),
        ("_TRANSPORT", ErrorKind.TRANSIENT),
        ("_ALL_BROKERS_DOWN", ErrorKind.TRANSIENT),
        ("UNKNOWN_TOPIC_OR_PART", ErrorKind.TRANSIENT),
        ("TOPIC_AUTHORIZATION_FAILED", ErrorKind.TRANSIENT),
    ],
)
def test_every_error_has_a_kind(code: str, kind: ErrorKind) -> None:
    assert KafkaFault.of(KafkaError(getattr(KafkaError, code))).kind is kind


def test_a_fatal_error_is_fatal_whatever_its_code() -> None:
    fault = KafkaFault.of(KafkaError(KafkaError.NETWORK_EXCEPTION, "gone", True))

    assert fault.kind is ErrorKind.FATAL
    assert fault.fatal


def test_records_are_no_poll_errors() -> None:
    assert poll_errors([cast("Message", UnreadableHeadersMessage())]) == []


def test_runs_are_split_where_the_partition_changes() -> None:
    a, b, c = record("t", 0, 5), record("t", 0, 6), record("u", 0, 1)

    assert list(runs_by_partition([a, b, c, a])) == [[a, b], [c], [a]]
    assert list(runs_by_partition([])) == []


@pytest.mark.parametrize(
    ("code", "sentence", "truncated"),
    [
        ("_LOG_TRUNCATION", None, True),
        ("_AUTO_OFFSET_RESET", "No epoch found: Local: Partition log truncation detected", True),
        ("_AUTO_OFFSET_RESET", "fetch failed: Broker: Offset out of range (broker 1)", False),
        ("OFFSET_OUT_OF_RANGE", None, False),
    ],
)
def test_an_offset_of_a_truncated_log_is_told_from_one_out_of_range(
    code: str, sentence: str | None, *, truncated: bool
) -> None:
    fault = KafkaFault.of(KafkaError(getattr(KafkaError, code), sentence))

    assert (fault.kind, fault.truncated) == (ErrorKind.NO_VALID_OFFSET, truncated)
