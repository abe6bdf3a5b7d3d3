"""Topics of the processor that were deleted and created anew: said once, also after a restart."""

import pytest
import structlog

from processor.domain.control import InMemoryControlStore
from processor.kafka.topics import Topics
from processor.settings import KafkaSettings
from processor.source.group_records import GroupRecords
from processor.source.topic_guard import TopicGuard
from processor.telemetry.catalogue import TOPICS_RECREATED
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.topic_layout import FakeTopicLayout

DEAD_LETTERS, CHANGELOG = "dead-letters", "changelog"


class Replica:
    """The guard of one process; the control store outlives it."""

    def __init__(self, layout: FakeTopicLayout, control: InMemoryControlStore) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        topics = Topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
        self.guard = TopicGuard(
            layout,  # type: ignore[arg-type]
            topics,
            GroupRecords(control, self.clock),
            written=[DEAD_LETTERS],
            changelog=CHANGELOG,
            metrics=self.metrics,
            clock=self.clock,
        )

    def look(self) -> list[str]:
        """Return the topics that are said to be recreated."""
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                self.clock.advance(1.2)
                if self.guard.watch.refresh([DEAD_LETTERS, CHANGELOG]):
                    self.guard.check()
        recreated = [line for line in lines if line["code"] == "topic_recreated"]
        assert {line["log_level"] for line in recreated} <= {"error"}
        return [line["topic"] for line in recreated]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_written_topic_that_was_recreated_is_said_once_and_counted(*, restarted: bool) -> None:
    layout, control = FakeTopicLayout(), InMemoryControlStore()
    replica = Replica(layout, control)
    assert replica.look() == []

    layout.id = "new"
    if restarted:
        replica = Replica(layout, control)

    assert sorted(replica.look()) == [CHANGELOG, DEAD_LETTERS]
    assert replica.look() == Replica(layout, control).look() == []
    for topic in (CHANGELOG, DEAD_LETTERS):
        assert replica.metrics.value(TOPICS_RECREATED, topic) == 1
