"""Topics that are deleted, created anew or get partitions while they are read, and lost offsets."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import pytest
import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from processor.domain.control import InMemoryControlStore
from processor.domain.errors import StopError
from processor.domain.record import Partition
from processor.settings import JoinSettings
from processor.telemetry.catalogue import (
    LOST_OFFSETS,
    REREAD_RECORDS,
    RETENTION_OVERRUN_RECORDS,
    TOPICS_RECREATED,
)
from processor.telemetry.labels import OffsetLoss
from tests.support.job import Job
from tests.support.kafka_cluster import RealKafka
from tests.support.kafka_io import SourceReplica, committed, produce
from tests.support.replica import Replica
from tests.support.waiting import until
from tests.support.workload import History

_QUICK = {"topic.metadata.refresh.interval.ms": 1000}


class Scene:
    """One group, its topics, and what it remembers across its members."""

    def __init__(self, kafka: RealKafka) -> None:
        self.kafka = kafka
        self.name = f"topics-{uuid4().hex[:8]}"
        self.topic = f"{self.name}-scores"
        self.control = InMemoryControlStore()
        self.replicas: list[SourceReplica] = []

    def create(self, partitions: int = 1, topic: str | None = None) -> None:
        """Create a topic, also where its namesake is still being deleted."""

        def created() -> bool:
            try:
                self.kafka.create_topics({topic or self.topic: partitions})
            except KafkaException:
                return False
            return True

        until(created, seconds=10, what="the topic is created")

    def recreate(self, values: int, partitions: int = 1) -> None:
        """Delete the topic, create it anew and write so many records, as fast as it goes."""
        admin = self.kafka.admin()
        admin.delete_topics([self.topic])[self.topic].result(10)
        self.create(partitions)
        self.write("new", values)

    def write(self, word: str, count: int, partition: int = 0, topic: str | None = None) -> None:
        """Write records with numbered values."""
        values = [f"{word}-{number}".encode() for number in range(count)]
        produce(self.kafka, topic or self.topic, values, partition=partition)

    def grow(self, partitions: int) -> None:
        """Give the topic more partitions."""
        admin = self.kafka.admin()
        admin.create_partitions([NewPartitions(self.topic, partitions)])[self.topic].result(10)

    def delete_offsets(self) -> None:
        """Delete the group's offsets; it must be empty."""
        admin = self.kafka.admin()

        def deleted() -> bool:
            try:
                admin.delete_consumer_groups([self.name])[self.name].result(10)
            except KafkaException:
                return False
            return True

        until(deleted, seconds=20, what="the group is deleted")

    def set_offset(self, offset: int) -> None:
        """Set the group's offset by hand; it must be empty."""
        admin = self.kafka.admin()
        wanted = ConsumerGroupTopicPartitions(self.name, [TopicPartition(self.topic, 0, offset)])

        def altered() -> bool:
            try:
                admin.alter_consumer_group_offsets([wanted])[self.name].result(10)
            except KafkaException:
                return False
            return True

        until(altered, seconds=20, what="the offset is set")

    def replica(self, protocol: str = "consumer", **kafka: Any) -> SourceReplica:  # noqa: ANN401
        """Return a member that has joined."""
        topics = {"topics": [self.topic]}
        settings: dict[str, Any] = {
            "group_id": self.name,
            "group_protocol": protocol,
            "scores": topics,
            "events": None,
            **kafka,
        }
        self.replicas.append(SourceReplica(self.kafka, control=self.control, **settings))
        return self.replicas[-1].start()

    def read_old(self, replica: SourceReplica, count: int) -> None:
        """Write records, read them and wait until they are committed."""
        self.write("old", count)
        replica.read(count, seconds=20)
        replica.turn_until(lambda: self.committed() == count, "the commit", seconds=10)
        replica.polls.clear()

    def committed(self) -> int:
        """Return the group's offset of the first partition."""
        return committed(self.kafka, self.name, Partition(self.topic, 0))[0]


@pytest.fixture
def scene(kafka: RealKafka) -> Iterator[Scene]:
    made = Scene(kafka)
    yield made
    for each in made.replicas:
        each.source.close(5)


def new(count: int) -> set[bytes | None]:
    return {f"new-{number}".encode() for number in range(count)}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize(("old", "count"), [(5, 12), (2, 20), (8, 3)])
def test_topic_made_anew_while_it_is_read_is_read_from_its_start(
    scene: Scene, protocol: str, old: int, count: int
) -> None:
    scene.create()
    replica = scene.replica(protocol, on_gap="continue")
    scene.read_old(replica, old)

    scene.recreate(count)
    replica.turn_until(lambda: set(replica.values) >= new(count), "the new records", seconds=20)
    replica.turn_until(lambda: scene.committed() == count, "the commit", seconds=10)

    lost = (LOST_OFFSETS, scene.topic, OffsetLoss.TOPIC_RECREATED)
    assert replica.metrics.value(*lost) == 1
    assert replica.metrics.value(TOPICS_RECREATED, scene.topic) == 1
    assert replica.metrics.value(RETENTION_OVERRUN_RECORDS, scene.topic) == 0


def test_topic_made_anew_stops_a_group_until_it_is_told_to_go_on(scene: Scene) -> None:
    scene.create()
    replica = scene.replica()
    scene.read_old(replica, 5)
    scene.recreate(12)

    with pytest.raises(StopError, match="deleted and created anew") as stopped:
        replica.turn_until(lambda: False, "the stop", seconds=15)
    replica.source.accept_gaps(stopped.value.gaps)
    replica.turn_until(lambda: set(replica.values) >= new(12), "the new records", seconds=15)

    assert stopped.value.gaps.keys() == {Partition(scene.topic, 0)}


@pytest.mark.parametrize("partitions", [1, 3])
def test_topic_made_anew_while_nothing_runs_is_noticed_at_the_next_start(
    scene: Scene, partitions: int
) -> None:
    scene.create(2)
    first = scene.replica()
    scene.read_old(first, 5)
    first.source.close(5)
    scene.recreate(12, partitions)

    second = scene.replica(on_gap="continue", start="latest")
    second.turn_until(lambda: set(second.values) >= new(12), "the new records", seconds=20)

    lost = (LOST_OFFSETS, scene.topic, OffsetLoss.TOPIC_RECREATED)
    assert second.metrics.value(*lost) == min(partitions, 2)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_partitions_that_appear_later_are_read_from_their_start(
    scene: Scene, protocol: str
) -> None:
    scene.create()
    scene.write("before", 5)
    replica = scene.replica(protocol, start="latest", client=_QUICK)
    replica.turn_until(lambda: scene.committed() == 5, "the beginning", seconds=15)

    scene.grow(3)
    for number in range(3):
        scene.write(f"new-{number}", 8, number)
    replica.turn_until(lambda: len(replica.values) >= 24, "all records", seconds=20)

    wanted = {f"new-{number}-{each}".encode() for number in range(3) for each in range(8)}
    assert set(replica.values) == wanted


def test_group_begins_at_the_end_on_each_of_two_members(scene: Scene) -> None:
    scene.create(2)
    for number in range(2):
        scene.write("before", 5, number)
    pair = [scene.replica(start="latest"), scene.replica(start="latest")]

    def begun() -> bool:
        pair[1].turn()
        parts = [Partition(scene.topic, number) for number in range(2)]
        return committed(scene.kafka, scene.name, *parts) == [5, 5]

    pair[0].turn_until(begun, "both beginnings", seconds=20)

    assert pair[0].values + pair[1].values == []


@pytest.mark.parametrize("remembers", [True, False])
def test_group_whose_offsets_are_gone_reads_everything_again(
    scene: Scene, *, remembers: bool
) -> None:
    scene.create()
    changelog = f"{scene.name}-state"
    scene.create(topic=changelog)
    first = scene.replica()
    scene.read_old(first, 50)
    first.source.close(5)
    scene.delete_offsets()
    scene.write("state", 1, topic=changelog)
    if not remembers:
        scene.control = InMemoryControlStore()

    second = SourceReplica(
        scene.kafka,
        join=JoinSettings(changelog_topic=changelog),
        control=scene.control,
        group_id=scene.name,
        scores={"topics": [scene.topic]},
        events=None,
        start="latest",
        on_gap="continue",
    ).start()
    scene.replicas.append(second)
    second.read(50, seconds=20)

    lost = (LOST_OFFSETS, scene.topic, OffsetLoss.GROUP_OFFSETS_GONE)
    assert second.metrics.value(*lost) == 1
    assert second.metrics.value(REREAD_RECORDS, scene.topic) == 50


def test_lost_offsets_need_a_choice_where_duplicates_are_not_recognised(scene: Scene) -> None:
    scene.create()
    first = scene.replica()
    scene.read_old(first, 50)
    first.source.close(5)
    scene.delete_offsets()
    second = scene.replica(start="latest", on_gap="continue")

    with pytest.raises(StopError, match=r"offsets .* are gone.* all 50 records"):
        second.turn_until(lambda: False, "the stop", seconds=15)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_offset_beyond_the_end_is_named_and_nothing_is_sent_again_without_a_choice(
    scene: Scene, protocol: str
) -> None:
    scene.create()
    first = scene.replica(protocol)
    scene.read_old(first, 20)
    first.source.close(5)
    scene.set_offset(1000)
    second = scene.replica(protocol, on_gap="continue")

    with (
        structlog.testing.capture_logs() as lines,
        pytest.raises(StopError, match="beyond the end") as stopped,
    ):
        second.turn_until(lambda: False, "the stop", seconds=15)
    assert second.values == []
    second.source.accept_gaps(stopped.value.gaps)
    second.read(20, seconds=10)

    assert "offset_beyond_end" in {line["code"] for line in lines}
    lost = (LOST_OFFSETS, scene.topic, OffsetLoss.BEYOND_END)
    assert second.metrics.value(*lost) == 1
    assert second.metrics.value(REREAD_RECORDS, scene.topic) == 20
    assert second.metrics.value(RETENTION_OVERRUN_RECORDS, scene.topic) == 0


@pytest.mark.parametrize(("kind", "protocol"), [("scores", "classic"), ("events", "consumer")])
def test_further_partitions_are_not_read_and_the_others_go_on(
    job: Callable[..., Job], past: History, kafka: RealKafka, protocol: str, kind: str
) -> None:
    one = job(kafka={"group_protocol": protocol, "client": _QUICK})
    replica = one.replica()
    replica.start()
    replica.wait_ready()
    events, scores = past.events[:100], past.scores[:100]
    one.feed_events(events[:50])
    one.feed_scores(scores[:50])
    one.wait_caught_up()

    topic, admin = getattr(one.topics, kind), kafka.admin()
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result(10)
    until(lambda: not _is_ready(replica), seconds=20, what="unready", tell=one.story)
    one.feed_events(events[50:])
    one.feed_scores(scores[50:])
    until(lambda: _old_partitions_are_read(one), seconds=20, what="go on", tell=one.story)

    status = _not_ready(replica)
    assert f"{topic} has 6 partitions" in status
    assert replica.metric("cai_partitions_changed", topic=topic) == 1
    assert "partition_count_changed" in replica.log_path.read_text()
    further = {place for place, end in one.ends().items() if place[1] >= 4 and end}
    assert further
    assert all(one.committed()[place] == 0 for place in further)
    assert replica.terminate() == 0


def _is_ready(replica: Replica) -> bool:
    try:
        replica.fetch("/readyz")
    except HTTPError:
        return False
    return True


def _not_ready(replica: Replica) -> str:
    with pytest.raises(HTTPError) as refused:
        replica.fetch("/readyz")
    return refused.value.read().decode()


def _old_partitions_are_read(one: Job) -> bool:
    done = one.committed()
    return all(done[place] == end for place, end in one.ends().items() if place[1] < 4)


def test_topic_that_appears_later_and_matches_the_pattern_is_read_from_its_start(
    scene: Scene,
) -> None:
    scene.create()
    pattern = {"topics": [f"^{scene.name}-scores"]}
    # The broker of a KIP-848 group looks for new topics every ten minutes.
    replica = scene.replica("classic", start="latest", scores=pattern, client=_QUICK)
    replica.turn_until(lambda: scene.committed() == 0, "the beginning", seconds=15)

    later = f"{scene.topic}-more"
    scene.create(topic=later)
    scene.write("more", 5, topic=later)
    replica.read(5, seconds=20)

    assert set(replica.values) == {f"more-{number}".encode() for number in range(5)}
