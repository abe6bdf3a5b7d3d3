from typing import cast

import pytest
import structlog

from processor.record import Record
from processor.settings import KafkaSettings
from processor.source.misplaced import Misplaced
from processor.source.offsets import Offsets
from processor.source.partitioner import PARTITIONERS
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
        offsets = cast("Offsets", self.layouts)
        self.misplaced = Misplaced(kafka, offsets, self.metrics, self.clock)

    def look(self, key: bytes | None, partition: int) -> float:
        self.misplaced.look(Record(TOPIC, partition, 7, 1, key, b""))
        return self.metrics.value("misplaced_records", TOPIC)


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_a_record_is_counted_where_its_key_does_not_belong(partitioner: str) -> None:
    house = Looking({TOPIC: 8}, partitioner=partitioner)
    home = PARTITIONERS[partitioner](b"a person", 8)

    assert house.look(b"a person", home) == 0
    assert house.look(b"a person", (home + 1) % 8) == 1


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_belongs_nowhere(key: bytes | None) -> None:
    house = Looking({TOPIC: 8})

    assert sum(house.look(key, number) for number in range(8)) == 0


def test_any_looks_at_nothing_and_asks_nothing() -> None:
    house = Looking({TOPIC: 8}, partitioner="any")

    assert sum(house.look(b"k", number) for number in range(8)) == 0
    assert house.layouts.asked == 0


def test_brokers_that_do_not_answer_are_asked_again_later_and_not_each_time() -> None:
    house = Looking({}, {TOPIC: 8})
    away = (PARTITIONERS["murmur2"](b"k", 8) + 1) % 8

    assert [house.look(b"k", away) for _ in range(5)] == [0] * 5
    assert house.layouts.asked == 1
    house.clock.pass_(10)

    assert house.look(b"k", away) == 1


def test_a_topic_that_grew_is_seen_after_the_rebalance() -> None:
    house = Looking({TOPIC: 1}, {TOPIC: 2})
    key = next(b"%d" % n for n in range(99) if PARTITIONERS["murmur2"](b"%d" % n, 2) == 1)
    assert house.look(key, 0) == 0
    house.clock.pass_(60)

    house.misplaced.look_again()

    assert house.look(key, 0) == 1


def test_one_line_in_a_while_names_a_record_and_no_key() -> None:
    house = Looking({TOPIC: 8})
    away = (PARTITIONERS["murmur2"](b"canary", 8) + 1) % 8

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            house.look(b"canary", away)

    (line,) = lines
    assert line["record"] == f"{TOPIC}/{away}/7"
    assert "canary" not in str(line)
