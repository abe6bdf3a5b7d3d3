from collections.abc import Iterator
from contextlib import closing

import pytest

from processor.domain.clock import SystemClock
from processor.domain.errors import UnavailableError
from processor.kafka.topic_reader import TopicReader, fetch_record
from processor.settings import KafkaSettings
from processor.simulator.broker import EmbeddedBroker
from tests.support.kafka_io import SCORES, produce


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({SCORES: 2}) as running:
        for number in range(6):  # a batch of its own each, so that single records can be deleted
            produce(running, SCORES, [b"%d" % number])
        yield running


@pytest.fixture
def reader(broker: EmbeddedBroker) -> Iterator[TopicReader]:
    with closing(TopicReader(_kafka(broker), SCORES, part="test", clock=SystemClock())) as opened:
        yield opened


def _kafka(broker: EmbeddedBroker) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap)


def values(reader: TopicReader, ranges: dict[int, range]) -> list[bytes | None]:
    return [record.value for found, _ in reader.scan(ranges, 5) for record in found]


def test_scan_returns_the_records_of_its_ranges_and_ends(reader: TopicReader) -> None:
    assert reader.ranges() == {0: range(6), 1: range(0)}

    assert values(reader, {0: range(2, 5), 1: range(0)}) == [b"2", b"3", b"4"]
    assert values(reader, reader.ranges()) == [b"%d" % number for number in range(6)]


def test_scan_reports_how_many_offsets_are_left(reader: TopicReader) -> None:
    left = [left for _, left in reader.scan(reader.ranges(), 5)]

    assert left[-1] == 0
    assert left == sorted(left, reverse=True)


def test_scan_continues_at_the_oldest_record_where_older_ones_are_deleted_meanwhile(
    broker: EmbeddedBroker, reader: TopicReader
) -> None:
    ranges = reader.ranges()
    broker.delete_records(SCORES, 0, 4)

    assert values(reader, ranges) == [b"4", b"5"]


def test_scan_fails_where_nothing_arrives_in_time(
    broker: EmbeddedBroker, reader: TopicReader
) -> None:
    ranges = reader.ranges()
    broker.broker_down()

    with pytest.raises(UnavailableError, match="test: "):
        list(reader.scan(ranges, 0.2))


def test_record_at_an_offset_is_returned_where_there_is_one(
    broker: EmbeddedBroker, reader: TopicReader
) -> None:
    broker.delete_records(SCORES, 0, 2)

    found = reader.record_at(0, 3)
    assert found is not None
    assert (found.offset, found.value) == (3, b"3")
    assert [reader.record_at(0, offset) for offset in (1, 6)] == [None, None]
    assert reader.record_at(7, 0) is None


def test_record_of_a_missing_topic_is_none(broker: EmbeddedBroker) -> None:
    assert fetch_record(_kafka(broker), "missing", 0, 0, clock=SystemClock()) is None
