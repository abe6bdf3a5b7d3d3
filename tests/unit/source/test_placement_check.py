from typing import cast

import pytest
import structlog

from processor.domain.errors import UnavailableError
from processor.domain.record import Record
from processor.kafka.admin import Cluster, KafkaAdmin, TopicLayout
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import KafkaSettings
from processor.source.partition_status import PlacementCheck
from processor.telemetry.catalogue import MISPLACED_RECORDS
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock

TOPIC = "customer-ai-scores"


class FakeAdmin:
    """Returns its layouts one after the other, the last one again and again; {}: no answer."""

    def __init__(self, *layouts: dict[str, int]) -> None:
        self.layouts = list(layouts)
        self.queries = 0

    def cluster(self, seconds: float) -> Cluster:
        assert seconds > 0
        self.queries += 1
        layout = self.layouts.pop(0) if len(self.layouts) > 1 else self.layouts[0]
        if not layout:
            raise UnavailableError("kafka", "no broker answers")
        return Cluster("id", 1, has_controller=True, layout=layout)


class Scene:
    """A check with its clock, its metrics and the admin client it queries."""

    def __init__(self, *layouts: dict[str, int], partitioner: str = "murmur2") -> None:
        self.admin = FakeAdmin(*layouts)
        self.metrics, self.clock = Metrics(), ManualClock()
        kafka = KafkaSettings.model_validate(
            {"bootstrap_servers": "127.0.0.1:1", "partitioner": partitioner}
        )
        self.layout = TopicLayout(cast("KafkaAdmin", self.admin), self.clock)
        self.placement = PlacementCheck(kafka, self.layout, self.metrics, self.clock)

    def check(self, key: bytes | None, partition: int) -> float:
        self.placement.check(Record(TOPIC, partition, 7, 1, key, b""))
        return self.metrics.value(MISPLACED_RECORDS, TOPIC)


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_record_on_another_partition_than_its_keys_is_counted(partitioner: str) -> None:
    scene = Scene({TOPIC: 8}, partitioner=partitioner)
    right = PARTITIONERS[partitioner](b"a person", 8)

    assert scene.check(b"a person", right) == 0
    assert scene.check(b"a person", (right + 1) % 8) == 1


@pytest.mark.parametrize("key", [None, b""])
def test_record_without_a_key_is_not_checked(key: bytes | None) -> None:
    scene = Scene({TOPIC: 8})

    assert sum(scene.check(key, number) for number in range(8)) == 0


def test_partitioner_any_checks_and_queries_nothing() -> None:
    scene = Scene({TOPIC: 8}, partitioner="any")

    assert sum(scene.check(b"k", number) for number in range(8)) == 0
    assert scene.admin.queries == 0


def test_layout_query_without_an_answer_is_retried_after_a_delay() -> None:
    scene = Scene({}, {TOPIC: 8})
    wrong = (PARTITIONERS["murmur2"](b"k", 8) + 1) % 8

    assert [scene.check(b"k", wrong) for _ in range(5)] == [0] * 5
    assert scene.admin.queries == 1
    scene.clock.advance(10)

    assert scene.check(b"k", wrong) == 1


def test_new_partitions_are_known_after_the_rebalance() -> None:
    scene = Scene({TOPIC: 1}, {TOPIC: 2})
    key = next(b"%d" % n for n in range(99) if PARTITIONERS["murmur2"](b"%d" % n, 2) == 1)
    assert scene.check(key, 0) == 0
    scene.clock.advance(60)

    scene.layout.forget()

    assert scene.check(key, 0) == 1


def test_log_line_is_limited_and_has_no_key() -> None:
    scene = Scene({TOPIC: 8})
    wrong = (PARTITIONERS["murmur2"](b"canary", 8) + 1) % 8

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            scene.check(b"canary", wrong)

    (line,) = lines
    assert line["record"] == f"{TOPIC}/{wrong}/7"
    assert "canary" not in str(line)
