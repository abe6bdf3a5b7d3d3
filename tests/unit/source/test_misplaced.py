from typing import cast

import pytest
import structlog

from processor.domain.record import Record
from processor.kafka.offsets import OffsetQueries
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import KafkaSettings
from processor.source.tracking import PlacementCheck
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock

TOPIC = "customer-ai-scores"


class Layouts:
    """Answers with the layouts it was given, one after the other, the last one for ever."""

    def __init__(self, *layouts: dict[str, int]) -> None:
        self.layouts = list(layouts)
        self.asked = 0

    def layout(self, seconds: float) -> dict[str, int]:
        assert seconds > 0
        self.asked += 1
        return self.layouts.pop(0) if len(self.layouts) > 1 else self.layouts[0]


class Looking:
    """A look-out with its clock, its metrics and what it asks."""

    def __init__(self, *layouts: dict[str, int], partitioner: str = "murmur2") -> None:
        self.layouts = Layouts(*layouts)
        self.metrics, self.clock = Metrics(), ManualClock()
        kafka = KafkaSettings.model_validate(
            {"bootstrap_servers": "127.0.0.1:1", "partitioner": partitioner}
        )
        offsets = cast("OffsetQueries", self.layouts)
        self.misplaced = PlacementCheck(kafka, offsets, self.metrics, self.clock)

    def look(self, key: bytes | None, partition: int) -> float:
        self.misplaced.look(Record(TOPIC, partition, 7, 1, key, b""))
        return self.metrics.value("misplaced_records", TOPIC)


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_a_record_is_counted_where_its_key_does_not_belong(partitioner: str) -> None:
    processor = Looking({TOPIC: 8}, partitioner=partitioner)
    home = PARTITIONERS[partitioner](b"a person", 8)

    assert processor.look(b"a person", home) == 0
    assert processor.look(b"a person", (home + 1) % 8) == 1


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_belongs_nowhere(key: bytes | None) -> None:
    processor = Looking({TOPIC: 8})

    assert sum(processor.look(key, number) for number in range(8)) == 0


def test_any_looks_at_nothing_and_asks_nothing() -> None:
    processor = Looking({TOPIC: 8}, partitioner="any")

    assert sum(processor.look(b"k", number) for number in range(8)) == 0
    assert processor.layouts.asked == 0


def test_brokers_that_do_not_answer_are_asked_again_later_and_not_each_time() -> None:
    processor = Looking({}, {TOPIC: 8})
    away = (PARTITIONERS["murmur2"](b"k", 8) + 1) % 8

    assert [processor.look(b"k", away) for _ in range(5)] == [0] * 5
    assert processor.layouts.asked == 1
    processor.clock.advance(10)

    assert processor.look(b"k", away) == 1


def test_a_topic_that_grew_is_seen_after_the_rebalance() -> None:
    processor = Looking({TOPIC: 1}, {TOPIC: 2})
    key = next(b"%d" % n for n in range(99) if PARTITIONERS["murmur2"](b"%d" % n, 2) == 1)
    assert processor.look(key, 0) == 0
    processor.clock.advance(60)

    processor.misplaced.look_again()

    assert processor.look(key, 0) == 1


def test_one_line_in_a_while_names_a_record_and_no_key() -> None:
    processor = Looking({TOPIC: 8})
    away = (PARTITIONERS["murmur2"](b"canary", 8) + 1) % 8

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            processor.look(b"canary", away)

    (line,) = lines
    assert line["record"] == f"{TOPIC}/{away}/7"
    assert "canary" not in str(line)
