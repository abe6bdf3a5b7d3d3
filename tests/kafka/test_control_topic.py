"""A control topic that is deleted and made anew on a real broker while a replica follows it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final
from uuid import uuid4

import msgspec
import pytest
import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from processor.control.store import KafkaControlStore, open_control_store
from processor.domain.clock import SystemClock
from processor.kafka.topic_reader import TopicReader
from processor.telemetry.metrics import Metrics
from tests.support.kafka_cluster import RealKafka
from tests.support.settings import settings_with
from tests.support.waiting import until

NEWER: Final = b'{"version":2,"content":[7]}'
NEW_PAUSE: Final = b'{"version":1,"value":{"key":"new"}}'
OTHERS: Final = ("skip/a/0/1", "later/version")


class Scene:
    """A control topic of its own, and a replica's store on it."""

    def __init__(self, kafka: RealKafka) -> None:
        self.kafka = kafka
        self.topic = f"control-{uuid4().hex[:6]}"
        self.scores = f"{self.topic}-scores"
        self.settings = settings_with(
            {
                "kafka/scores/topics": [self.scores],
                "kafka/bootstrap_servers": kafka.bootstrap,
                "kafka/control_topic": self.topic,
                "kafka/group_id": self.topic,
                "join/changelog_replication": 1,
            }
        )
        self.group = self.settings.kafka.group_id
        self.store: KafkaControlStore = open_control_store(self.settings, Metrics(), SystemClock())

    def follow(self, what: str, look: Callable[[], bool]) -> None:
        """Poll the store until something is true."""

        def polled() -> bool:
            self.store.poll()
            return look()

        until(polled, seconds=15, what=what, tell=lambda: self.store.unavailable_reason)

    def write(self, *records: tuple[str, str, bytes | None]) -> None:
        """Write groups, keys and values."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap})
        for group, key, value in records:
            producer.produce(self.topic, value, msgspec.json.encode((group, key)), 0)
        assert producer.flush(5) == 0

    def written(self) -> dict[str, bytes | None]:
        """Return the newest facts of the group in the topic."""
        found: dict[str, bytes | None] = {}
        kafka, topic, clock = self.settings.kafka, self.topic, SystemClock()
        with closing(TopicReader(kafka, topic, part="test", clock=clock)) as reader:
            for records, _ in reader.scan(reader.ranges()):
                for record in records:
                    group, key = msgspec.json.decode(record.key or b"")
                    if group == self.group:
                        found[key] = record.value
        return found


@pytest.fixture
def scene(kafka: RealKafka) -> Iterator[Scene]:
    made = Scene(kafka)
    yield made
    made.store.close(5)


def test_the_facts_that_a_control_topic_made_anew_does_not_have_are_written_again(
    scene: Scene,
) -> None:
    """It is longer than what was read of the old one, and its facts count."""
    for key in ("pause", *OTHERS, "deleted"):
        scene.store.put(key, {"key": key})
    scene.write((scene.group, "newer", NEWER))
    scene.follow("all is written", lambda: len(scene.written()) == 5)
    scene.follow("the newer", lambda: "run the newer" in str(scene.store.unavailable_reason))

    admin = scene.kafka.admin()
    admin.delete_topics([scene.topic])[scene.topic].result(10)
    scene.kafka.create_topics({scene.topic: 1}, {"cleanup.policy": "compact"})
    scene.write(*[("another", str(number), NEW_PAUSE) for number in range(20)])
    scene.write((scene.group, "deleted", None), (scene.group, "pause", NEW_PAUSE))
    expected = {"pause": {"key": "new"}, **{key: {"key": key} for key in OTHERS}}
    with structlog.testing.capture_logs() as lines:
        scene.follow("the facts are known", lambda: scene.store.items("") == expected)
        scene.follow("all is written", lambda: scene.written().keys() >= {*OTHERS, "newer"})

    levels = [line["log_level"] for line in lines if line["code"] == "control_topic_lost"]
    assert levels == ["error"]
    found = scene.written()
    assert found.keys() == {"pause", *OTHERS, "newer", "deleted"}
    assert (found["newer"], found["pause"], found["deleted"]) == (NEWER, NEW_PAUSE, None)
    assert "run the newer" in str(scene.store.unavailable_reason)


def test_a_control_topic_that_is_gone_pauses_until_it_is_there_again(scene: Scene) -> None:
    scene.store.put("pause", {"since": 1})
    scene.follow("it is written", lambda: "pause" in scene.written())
    admin = scene.kafka.admin()
    admin.delete_topics([scene.topic])[scene.topic].result(10)
    scene.follow("it is gone", lambda: "does not exist" in str(scene.store.unavailable_reason))

    scene.kafka.create_topics({scene.topic: 1}, {"cleanup.policy": "delete"})
    scene.follow("it is refused", lambda: "=delete" in str(scene.store.unavailable_reason))
    admin.delete_topics([scene.topic])[scene.topic].result(10)
    scene.kafka.create_topics({scene.topic: 1}, {"cleanup.policy": "compact"})

    scene.follow("it is used again", lambda: scene.store.unavailable_reason is None)
    scene.follow("the fact is written again", lambda: "pause" in scene.written())


@pytest.mark.parametrize("metadata", ["", '{"topic_id":"x"}'])
def test_a_group_that_has_committed_and_finds_no_fact_is_told_so(
    scene: Scene, metadata: str
) -> None:
    """Offsets without metadata are those of an older version, which had no control topic."""
    scene.kafka.create_topics({scene.scores: 1})
    place = TopicPartition(scene.scores, 0, 0, metadata)
    committed = ConsumerGroupTopicPartitions(scene.group, [place])
    admin = scene.kafka.admin()
    admin.alter_consumer_group_offsets([committed])[scene.group].result(10)

    with structlog.testing.capture_logs() as lines:
        open_control_store(scene.settings, Metrics(), SystemClock()).close(0)
    codes = [line["code"] for line in lines]

    assert ("control_topic_empty" in codes) is bool(metadata)
