from typing import cast

import pytest
from confluent_kafka import KafkaError, Message

from processor.record import Partition, Record
from processor.source.intake import Fault, fault, records, runs, troubles
from processor.source.ledger import Claim
from processor.source.polled import Polled


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
        ("_PARTITION_EOF", Fault.END),
        ("_AUTO_OFFSET_RESET", Fault.ASTRAY),
        ("_BAD_COMPRESSION", Fault.STUCK),
        ("_BAD_MSG", Fault.STUCK),
        ("_MAX_POLL_EXCEEDED", Fault.EVICTED),
        ("_TRANSPORT", Fault.PASSING),
        ("_ALL_BROKERS_DOWN", Fault.PASSING),
        ("UNKNOWN_TOPIC_OR_PART", Fault.PASSING),
        ("TOPIC_AUTHORIZATION_FAILED", Fault.PASSING),
    ],
)
def test_every_error_has_a_meaning(code: str, meaning: Fault) -> None:
    assert fault(KafkaError(getattr(KafkaError, code))) is meaning


def test_a_fatal_error_is_fatal_whatever_its_code() -> None:
    assert fault(KafkaError(KafkaError.NETWORK_EXCEPTION, "gone", True)) is Fault.FATAL


def test_errors_are_found_among_records() -> None:
    assert troubles([cast("Message", HostileMessage())]) == []


def test_runs_follow_the_partition() -> None:
    a, b, c = record("t", 0, 5), record("t", 0, 6), record("u", 0, 1)

    assert list(runs([a, b, c, a])) == [[a, b], [c], [a]]
    assert list(runs([])) == []


def test_a_poll_can_leave_partitions_out() -> None:
    kept, left = Partition("t", 0), Partition("t", 1)
    claims = [Claim(each, 1, each.number, 0, 2, 2, 0) for each in (left, kept)]
    polled = Polled(
        [record("t", 1, 0), record("t", 1, 1), record("t", 0, 0), record("t", 0, 1)],
        claims,
        frozenset({1, 3}),
    )

    without = polled.without({left})

    assert without == Polled(polled.records[2:], [claims[1]], frozenset({1}))
