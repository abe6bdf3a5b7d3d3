import pytest

from processor.domain.errors import SettingsError
from processor.kafka.consumer import SAFE_PROPERTIES, consumer_properties, is_eager
from processor.kafka.topics import Topics
from processor.settings import KafkaSettings
from processor.settings.kafka_client import RESERVED


def kafka(**changes: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:9092", **changes})


def test_nothing_is_committed_or_stored_automatically() -> None:
    properties = consumer_properties(kafka(), together=False)

    assert properties["enable.auto.commit"] is False
    assert properties["enable.auto.offset.store"] is False
    assert properties["auto.offset.reset"] == "error"
    assert properties["isolation.level"] == "read_committed"


@pytest.mark.parametrize("name", ["group.id", *SAFE_PROPERTIES])
def test_property_of_the_delivery_guarantee_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        consumer_properties(kafka(client={name: "x"}), together=False)
    assert name in RESERVED


def test_properties_and_secrets_of_the_settings_reach_the_client() -> None:
    client = {"security.protocol": "SASL_SSL", "sasl.password": "hush", "client.id": "mine"}

    properties = consumer_properties(kafka(client=client), together=False)

    assert properties.items() >= client.items()


def test_consumer_protocol_leaves_assignment_properties_to_the_broker() -> None:
    properties = consumer_properties(kafka(group_protocol="consumer"), together=True)

    assert properties.keys().isdisjoint(
        {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}
    )
    assert properties["group.remote.assignor"] == "range"


def test_join_assigns_equal_partition_numbers_together() -> None:
    apart = consumer_properties(kafka(), together=False)
    together = consumer_properties(kafka(group_instance_id="replica-1"), together=True)

    assert apart["partition.assignment.strategy"] == "cooperative-sticky"
    assert together["partition.assignment.strategy"] == "range"
    assert together["group.instance.id"] == "replica-1"
    assert is_eager(kafka(), together=True)
    assert not is_eager(kafka(group_protocol="consumer"), together=True)


def test_topic_that_matches_both_patterns_is_a_scores_topic() -> None:
    topics = Topics(kafka(scores={"topics": ["^scores-.*"]}, events={"topics": ["^.*-events$"]}))
    layout = {"scores-a": 4, "scores-events": 4, "web-events": 4, "else": 7}

    assert topics.is_scores("scores-events")
    assert not topics.is_scores("web-events")
    assert topics.copartitioned(layout)
    assert [each.topic for each in topics.events_of(layout, 3)] == ["web-events"]
    assert not topics.copartitioned({**layout, "web-events": 5})
