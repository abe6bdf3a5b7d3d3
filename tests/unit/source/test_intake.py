from typing import cast

import pytest
from confluent_kafka import KafkaError, Message

from processor.domain.record import Partition, Record
from processor.kafka.messages import ErrorKind, error_kind, poll_errors, records, runs
from processor.kafka.offset_tracker import TrackedRange
from processor.source.source import KafkaPoll


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, partition, offset, 0, None, b"")


class HostileMessage:
    """What the client gives for a record with a header name that is not UTF-8."""

    def __getattr__(self, name: str) -> object:
        answers = {"topic": "t", "partition": 1, "offset": 2, "timestamp": (1, 3), "value": b"v"}
        return lambda: answers.get(name)

    def headers(self) -> None:
        raise SystemError("returned a result with an exception set")


def test_headers_the_client_can_not_show_do_not_cost_the_record() -> None:
    assert records([cast("Message", HostileMessage())]) == [Record("t", 1, 2, 3, None, b"v")]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("_PARTITION_EOF", ErrorKind.END),
        ("_AUTO_OFFSET_RESET", ErrorKind.ASTRAY),
        ("_BAD_COMPRESSION", ErrorKind.STUCK),
        ("_BAD_MSG", ErrorKind.STUCK),
        ("_MAX_POLL_EXCEEDED", ErrorKind.EVICTED),
        ("_TRANSPORT", ErrorKind.PASSING),
        ("_ALL_BROKERS_DOWN", ErrorKind.PASSING),
        ("UNKNOWN_TOPIC_OR_PART", ErrorKind.PASSING),
        ("TOPIC_AUTHORIZATION_FAILED", ErrorKind.PASSING),
    ],
)
def test_every_error_has_a_meaning(code: str, meaning: ErrorKind) -> None:
    assert error_kind(KafkaError(getattr(KafkaError, code))) is meaning


def test_a_fatal_error_is_fatal_whatever_its_code() -> None:
    assert error_kind(KafkaError(KafkaError.NETWORK_EXCEPTION, "gone", True)) is ErrorKind.FATAL


def test_errors_are_found_among_records() -> None:
    assert poll_errors([cast("Message", HostileMessage())]) == []


def test_runs_follow_the_partition() -> None:
    a, b, c = record("t", 0, 5), record("t", 0, 6), record("u", 0, 1)

    assert list(runs([a, b, c, a])) == [[a, b], [c], [a]]
    assert list(runs([])) == []


def test_a_poll_can_leave_partitions_out() -> None:
    kept, left = Partition("t", 0), Partition("t", 1)
    claims = [TrackedRange(each, 1, each.number, 0, 2, 2, 0) for each in (left, kept)]
    polled = KafkaPoll(
        [record("t", 1, 0), record("t", 1, 1), record("t", 0, 0), record("t", 0, 1)],
        claims,
        frozenset({1, 3}),
    )

    without = polled.without({left})

    assert without == KafkaPoll(polled.records[2:], [claims[1]], frozenset({1}))
