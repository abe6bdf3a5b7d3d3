from collections.abc import Iterable, Mapping
from math import inf

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker
from processor.kafka.topics import Topics
from processor.settings import InputSettings, KafkaSettings
from processor.source.waiting import RepartitionProgress
from tests.support.clock import ManualClock

KAFKA = KafkaSettings(
    bootstrap_servers="127.0.0.1:1",
    scores=InputSettings(topics=["scores"]),
    events=InputSettings(topics=["events"]),
)
LAYOUT = {"scores": 1, "facts": 1, "events": 2}
MINE, THEIRS = Partition("events", 0), Partition("events", 1)


class Answer:
    def __init__(self, found: Mapping[Partition, int]) -> None:
        self.found = dict(found)
        self.given = True

    def done(self) -> bool:
        return self.given

    def offsets(self) -> dict[Partition, int]:
        return self.found


class Broker:
    """Answers at once with what it has, and counts the questions."""

    def __init__(self) -> None:
        self.at_end: dict[Partition, int] = {MINE: 0, THEIRS: 0}
        self.by_group: dict[Partition, int] = {}
        self.questions = 0

    def ends(self, partitions: Iterable[Partition]) -> Answer:
        return Answer({one: self.at_end[one] for one in partitions if one in self.at_end})

    def committed(self, partitions: Iterable[Partition]) -> Answer:
        self.questions += 1
        return Answer({one: self.by_group[one] for one in partitions if one in self.by_group})


class Scene:
    def __init__(self, topic: str | None = "facts") -> None:
        self.clock, self.broker, self.ledger = ManualClock(0), Broker(), OffsetTracker()
        self.ledger.assign(MINE, 0, 0.0)
        topics = Topics(KAFKA, topic)
        self.upstream = RepartitionProgress(topics, self.broker, self.clock)

    def through(self) -> float:
        self.clock.wait(1)
        return self.upstream.through(LAYOUT, self.ledger)


def test_where_nothing_is_forwarded_there_is_nothing_to_wait_for() -> None:
    assert Scene(topic=None).through() == inf


def test_empty_topics_are_forwarded_at_once() -> None:
    scene = Scene()

    assert scene.through() == scene.clock.monotonic()
    assert scene.broker.questions == 0


def test_events_of_another_member_are_forwarded_when_the_group_has_committed_them() -> None:
    scene = Scene()
    scene.broker.at_end[THEIRS] = 5
    assert scene.through() == -inf
    began = scene.clock.monotonic()
    scene.broker.by_group[THEIRS] = 4
    assert scene.through() == -inf

    scene.broker.by_group[THEIRS] = 5
    scene.through()

    assert scene.through() == began


def test_events_of_our_own_are_forwarded_when_they_are_settled() -> None:
    scene = Scene()
    scene.broker.at_end[MINE] = 5
    claim = scene.ledger.book(MINE, range(5), 5, 0)
    assert scene.through() == -inf
    began = scene.clock.monotonic()

    scene.ledger.settle(claim, 1.0)

    assert scene.through() == began


def test_what_comes_after_a_round_began_is_not_waited_for_in_it() -> None:
    scene = Scene()
    scene.broker.at_end[THEIRS] = 5
    scene.through()
    began = scene.clock.monotonic()

    scene.broker.at_end[THEIRS], scene.broker.by_group[THEIRS] = 9, 5
    scene.through()
    assert scene.through() == began
    assert scene.through() == began


def test_a_partition_that_does_not_answer_keeps_the_round_from_beginning() -> None:
    scene = Scene()
    del scene.broker.at_end[THEIRS]

    assert [scene.through() for _ in range(3)] == [-inf] * 3
