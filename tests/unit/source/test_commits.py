"""Results of commits are matched with what was sent, in whatever order they come."""

from collections.abc import Mapping
from typing import cast

from processor.domain.control import InMemoryControlStore
from processor.domain.record import Partition
from processor.kafka.consumer import CommittedOffset, KafkaConsumer
from processor.kafka.offset_tracker import OffsetTracker
from processor.settings import KafkaSettings
from processor.source.group_records import GroupRecords
from processor.source.offsets import OffsetCommitter
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock

P0, P1 = Partition("scores", 0), Partition("scores", 1)


class FakeConsumer:
    """Takes commits; the test says when their results come."""

    def __init__(self) -> None:
        self.sent: list[Mapping[Partition, CommittedOffset]] = []

    def commit(self, offsets: Mapping[Partition, CommittedOffset]) -> bool:
        self.sent.append(offsets)
        return True

    def commit_confirmed(
        self, offsets: Mapping[Partition, CommittedOffset], seconds: float
    ) -> bool:
        assert seconds > 0
        return self.commit(offsets)


class Scene:
    def __init__(self) -> None:
        clock = ManualClock()
        self.consumer, self.tracker = FakeConsumer(), OffsetTracker()
        self.records = GroupRecords(InMemoryControlStore(), clock)
        self.committer = OffsetCommitter(
            KafkaSettings(bootstrap_servers="127.0.0.1:1"),
            self.tracker,
            cast("KafkaConsumer", self.consumer),
            self.records,
            metrics=Metrics(),
            clock=clock,
        )
        for partition in (P0, P1):
            self.tracker.assign(partition, 0, 0.0, "cluster:old")
            self.settle(partition, 0, 5)

    def settle(self, partition: Partition, first: int, end: int) -> None:
        tracked = self.tracker.track(partition, range(first, end), end - first, 0)
        assert self.tracker.settle(tracked, 0.0)


def test_confirmed_commit_of_one_partition_leaves_another_commit_its_result() -> None:
    scene = Scene()
    scene.committer.send(force=True)
    scene.settle(P0, 5, 7)
    scene.committer.commit_confirmed([P0], 1.0)

    scene.committer.completed(scene.consumer.sent[0], None)

    assert scene.tracker.partitions[P1].committed == 5
    assert scene.tracker.partitions[P0].committed == 7
    assert scene.records.committed_id(P1) == "cluster:old"


def test_late_result_does_not_say_that_a_new_topics_id_is_stored() -> None:
    scene = Scene()
    scene.committer.send(force=True)
    scene.tracker.stamp(P0, "cluster:new")
    scene.committer.commit_confirmed([P1], 1.0)

    scene.committer.completed(scene.consumer.sent[0], None)

    assert scene.records.committed_id(P0) is None
    assert P0 in scene.tracker.pending_commits()
