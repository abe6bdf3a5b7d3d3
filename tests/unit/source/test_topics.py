from processor.domain.record import Partition
from processor.kafka.topics import Topics
from processor.settings import InputSettings, KafkaSettings

KAFKA = KafkaSettings(
    bootstrap_servers="127.0.0.1:1",
    scores=InputSettings(topics=["scores"]),
    events=InputSettings(topics=["^ev.*"], gaps_expected=True),
)
LAYOUT = {"scores": 2, "events-a": 3, "events-b": 1, "facts": 2, "else": 9}


def test_events_that_are_keyed_alike_are_beside_their_scores() -> None:
    topics = Topics(KAFKA)

    assert topics.subscription == ["scores", "^ev.*"]
    assert topics.beside(LAYOUT, 1) == [Partition("events-a", 1)]
    assert topics.upstream(LAYOUT) == []
    assert not topics.aligned(LAYOUT)
    assert topics.gaps_expected("events-a")


def test_events_that_are_forwarded_are_upstream_and_their_counts_are_free() -> None:
    topics = Topics(KAFKA, "facts")

    assert topics.subscription == ["scores", "facts", "^ev.*"]
    assert topics.beside(LAYOUT, 1) == [Partition("facts", 1)]
    assert topics.upstream(LAYOUT) == [
        *(Partition("events-a", number) for number in range(3)),
        Partition("events-b", 0),
    ]
    assert topics.aligned(LAYOUT)
    assert not topics.aligned(LAYOUT | {"facts": 3})
    assert topics.gaps_expected("events-a")
    assert not topics.keyed("events-a")
    assert topics.keyed("facts")
    assert topics.keyed("scores")
    assert not topics.gaps_expected("facts")
    assert not topics.gaps_expected("scores")
