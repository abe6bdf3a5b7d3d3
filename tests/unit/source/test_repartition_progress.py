from collections.abc import Iterable, Mapping
from math import inf

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.topics import Topics
from processor.settings import InputSettings, KafkaSettings
from processor.source.repartition_progress import RepartitionProgress
from tests.support.clock import ManualClock

KAFKA = KafkaSettings(
    bootstrap_servers="127.0.0.1:1",
    scores=InputSettings(topics=["scores"]),
    events=InputSettings(topics=["events"]),
)
LAYOUT = {"scores": 1, "facts": 1, "events": 2}
OWN, OTHER = Partition("events", 0), Partition("events", 1)


class Answer:
    def __init__(self, found: Mapping[Partition, int]) -> None:
        self.found = dict(found)
        self.given = True
        self.broken = False

    def wait(self, seconds: float = 0.0) -> bool:
        assert seconds >= 0
        return self.given

    def done(self) -> bool:
        return self.given

    def failed(self) -> bool:
        return self.broken

    def offsets(self) -> dict[Partition, int]:
        return self.found


class Broker:
    """Answers at once with what it has, and counts the questions."""

    def __init__(self) -> None:
        self.at_end: dict[Partition, int] = {OWN: 0, OTHER: 0}
        self.by_group: dict[Partition, int] = {}
        self.questions = 0
        self.down = False

    def ends(self, partitions: Iterable[Partition]) -> Answer:
        return Answer({one: self.at_end[one] for one in partitions if one in self.at_end})

    def committed(self, partitions: Iterable[Partition]) -> Answer:
        self.questions += 1
        answer = Answer({one: self.by_group[one] for one in partitions if one in self.by_group})
        answer.broken = self.down
        return answer


class Scene:
    def __init__(self, topic: str | None = "facts") -> None:
        self.clock, self.broker, self.tracker = ManualClock(0), Broker(), OffsetTracker()
        self.tracker.assign(OWN, 0, 0.0)
        topics = Topics(KAFKA, topic)
        self.progress = RepartitionProgress(topics, self.broker, self.clock)

    def complete_until(self) -> float:
        self.clock.wait(1)
        return self.progress.complete_until(LAYOUT, self.tracker)


def test_without_repartitioning_there_is_nothing_to_wait_for() -> None:
    assert Scene(topic=None).complete_until() == inf


def test_empty_topics_are_complete_at_once() -> None:
    scene = Scene()

    assert scene.complete_until() == scene.clock.monotonic()
    assert scene.broker.questions == 0


def test_events_of_another_member_are_complete_when_the_group_has_committed_them() -> None:
    scene = Scene()
    scene.broker.at_end[OTHER] = 5
    assert scene.complete_until() == -inf
    began = scene.clock.monotonic()
    scene.broker.by_group[OTHER] = 4
    assert scene.complete_until() == -inf

    scene.broker.by_group[OTHER] = 5
    scene.complete_until()

    assert scene.complete_until() == began


def test_events_of_this_member_are_complete_when_they_are_settled() -> None:
    scene = Scene()
    scene.broker.at_end[OWN] = 5
    tracked = scene.tracker.track(OWN, range(5), 5, 0)
    assert scene.complete_until() == -inf
    began = scene.clock.monotonic()

    scene.tracker.settle(tracked, 1.0)

    assert scene.complete_until() == began


def test_events_after_the_beginning_of_a_round_are_not_waited_for() -> None:
    scene = Scene()
    scene.broker.at_end[OTHER] = 5
    scene.complete_until()
    began = scene.clock.monotonic()

    scene.broker.at_end[OTHER], scene.broker.by_group[OTHER] = 9, 5
    scene.complete_until()
    assert scene.complete_until() == began
    assert scene.complete_until() == began


def test_round_does_not_begin_without_the_end_of_every_partition() -> None:
    scene = Scene()
    del scene.broker.at_end[OTHER]

    assert [scene.complete_until() for _ in range(3)] == [-inf] * 3


def test_a_query_that_fails_is_repeated_less_and_less_often() -> None:
    scene = Scene()
    scene.broker.at_end[OTHER], scene.broker.down = 5, True
    for _ in range(200):
        scene.clock.wait(0.1)
        scene.progress.complete_until(LAYOUT, scene.tracker)

    assert 10 <= scene.broker.questions <= 60


def test_round_goes_on_where_a_topic_that_was_made_anew_ends_lower() -> None:
    scene = Scene()
    scene.broker.at_end = {OWN: 0, OTHER: 1000}
    assert scene.complete_until() == -inf
    scene.broker.at_end, scene.broker.by_group = {OWN: 0, OTHER: 5}, {OTHER: 5}

    found = [scene.complete_until() for _ in range(8)]

    assert found[0] == -inf
    assert found[-1] > -inf
