from processor.domain.record import Partition
from processor.kafka.topics import Topics
from processor.settings import InputSettings, KafkaSettings

KAFKA = KafkaSettings(
    bootstrap_servers="127.0.0.1:1",
    scores=InputSettings(topics=["scores"]),
    events=InputSettings(topics=["^ev.*"], gaps_expected=True),
)
LAYOUT = {"scores": 2, "events-a": 3, "events-b": 1, "facts": 2, "else": 9}


def test_scores_wait_for_the_events_of_the_same_partition_number() -> None:
    topics = Topics(KAFKA)

    assert topics.subscription == ["scores", "^ev.*"]
    assert topics.events_of(LAYOUT, 1) == [Partition("events-a", 1)]
    assert topics.repartitioned(LAYOUT) == []
    assert not topics.copartitioned(LAYOUT)
    assert topics.gaps_expected("events-a")


def test_repartitioned_events_may_have_any_partition_count() -> None:
    topics = Topics(KAFKA, "facts")

    assert topics.subscription == ["scores", "facts", "^ev.*"]
    assert topics.events_of(LAYOUT, 1) == [Partition("facts", 1)]
    assert topics.repartitioned(LAYOUT) == [
        *(Partition("events-a", number) for number in range(3)),
        Partition("events-b", 0),
    ]
    assert topics.copartitioned(LAYOUT)
    assert not topics.copartitioned(LAYOUT | {"facts": 3})
    assert topics.gaps_expected("events-a")
    assert not topics.keyed_by_person("events-a")
    assert topics.keyed_by_person("facts")
    assert topics.keyed_by_person("scores")
    assert not topics.gaps_expected("facts")
    assert not topics.gaps_expected("scores")
