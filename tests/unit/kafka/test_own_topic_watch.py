"""The watch of one of the processor's own topics: ids, settings, and brokers that lag behind."""

import pytest
import structlog

from processor.kafka.internal_topic import COMPACTED, InternalTopic, OwnTopicWatch
from tests.support.clock import ManualClock
from tests.support.topic_layout import FakeTopicLayout

NAME = "a-changelog"
TOPIC = InternalTopic(
    key="join.changelog_topic",
    name=NAME,
    partitions=2,
    config=COMPACTED,
    content="the state of persons",
)
OPTIONAL = InternalTopic(
    key="dead_letter.topic",
    name=NAME,
    config={"cleanup.policy": "delete"},
    content="dead letters",
    required=False,
)


class Fixture:
    def __init__(self, topic: InternalTopic = TOPIC, topic_id: str = "old") -> None:
        self.kafka, self.clock = FakeTopicLayout(), ManualClock()
        self.watch = OwnTopicWatch(self.kafka, topic, self.clock, topic_id)  # type: ignore[arg-type]

    def look(self, topic_id: str | None = "", turns: int = 3) -> set[str]:
        """Return the ids that are reported while Kafka answers this id."""
        if topic_id != "":
            self.kafka.id = topic_id
        found = set()
        for _ in range(turns):
            self.clock.advance(1.2)
            found |= {self.watch.new_id() for _ in range(3)} - {None}
        return {each for each in found if each}


def test_a_new_id_is_reported_until_it_is_accepted() -> None:
    fixture = Fixture()
    assert fixture.look() == set()

    assert fixture.look("new") == fixture.look("new") == {"new"}
    fixture.watch.accept("new")

    assert fixture.look("new") == set()
    assert fixture.watch.fault is None


def test_a_broker_that_answers_a_replaced_id_is_not_believed() -> None:
    fixture = Fixture()
    for accepted in ("new", "newer"):
        assert fixture.look(accepted) == {accepted}
        fixture.watch.accept(accepted)

    assert fixture.look("old") == fixture.look("new") == fixture.look("newer") == set()
    assert fixture.look("newest") == {"newest"}


def test_the_first_id_that_is_found_is_known_where_none_was() -> None:
    fixture = Fixture(topic_id="")

    assert fixture.look("first") == set()
    assert fixture.look("second") == {"second"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": {"cleanup.policy": "delete"}}, "cleanup.policy=delete; it must be `compact`"),
        ({"settings": {"cleanup.policy": "compact,delete"}}, "the state of persons"),
        ({"partitions": 1}, "has 1 partitions; it needs 2"),
    ],
)
def test_a_recreated_topic_with_other_settings_is_refused_until_they_are_right(
    change: dict[str, object], sentence: str
) -> None:
    fixture = Fixture()
    for key, value in change.items():
        setattr(fixture.kafka, key, value)

    with structlog.testing.capture_logs() as lines:
        assert fixture.look("new") == set()

    assert sentence in str(fixture.watch.fault)
    assert [(line["code"], line["log_level"]) for line in lines] == [
        ("own_topic_unusable", "error")
    ]
    fixture.kafka.settings, fixture.kafka.partitions = {"cleanup.policy": "compact"}, 2
    assert fixture.look("new") == {"new"}
    assert fixture.watch.fault is None


def test_a_topic_that_is_gone_is_a_fault_until_it_is_there_again() -> None:
    fixture = Fixture()
    fixture.look()

    fixture.look(None, turns=1)
    assert fixture.watch.fault is None  # a broker that lags behind may say so once
    fixture.look(None)
    assert "does not exist" in str(fixture.watch.fault)

    assert fixture.look("old") == set()
    assert fixture.watch.fault is None


def test_an_optional_topic_may_be_gone_and_must_have_the_right_settings() -> None:
    fixture = Fixture(OPTIONAL, topic_id="")
    fixture.look(None)
    assert fixture.watch.fault is None

    fixture.look("new")
    assert "dead_letter.topic" in str(fixture.watch.fault)


def test_no_answer_and_unreadable_settings_are_no_fault() -> None:
    fixture = Fixture()
    fixture.kafka.silent = True
    assert fixture.look("new") == set()

    fixture.kafka.silent, fixture.kafka.settings = False, {}
    with structlog.testing.capture_logs() as lines:
        assert fixture.look("new") == {"new"}

    assert "topic_settings_unknown" in {line["code"] for line in lines}
    assert fixture.watch.fault is None


def test_a_cluster_without_a_controller_is_asked_again() -> None:
    fixture = Fixture()
    fixture.kafka.has_controller = False
    assert fixture.look("new") == set()
    assert fixture.kafka.forgotten == 1

    fixture.kafka.has_controller = True
    assert fixture.look("new") == {"new"}


def test_a_retention_that_is_too_short_is_said() -> None:
    fixture = Fixture()
    fixture.kafka.settings["delete.retention.ms"] = "86400000"

    with structlog.testing.capture_logs() as lines:
        assert fixture.look("new", turns=1) == {"new"}

    assert [line["setting"] for line in lines] == ["delete.retention.ms"]
