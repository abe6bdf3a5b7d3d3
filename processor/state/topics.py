"""The processor's own topics: created where they are missing, checked where they are not.

They are the changelog and, where experience events are keyed otherwise, the repartition topic.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # as its documentation has it
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka import means

TOMBSTONE_DAYS: Final = 7
"""How long Kafka keeps a tombstone at least; a local store not written for longer is not used."""

_ANSWER_SECONDS: Final = 10.0
_DAY_MS: Final = 86_400_000
_CHANGELOG: Final = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(TOMBSTONE_DAYS * _DAY_MS),
    # An erased person is gone from the brokers' disks a day later at the latest.
    "max.compaction.lag.ms": str(_DAY_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "segment.bytes": str(128 << 20),
}
_REPARTITION: Final = {
    "cleanup.policy": "delete",
    # Messages must outlast the longest outage of the processor.
    "retention.ms": str(7 * _DAY_MS),
    "segment.bytes": str(128 << 20),
}

log = structlog.get_logger()


class Layout(NamedTuple):
    """The changelog topic as it is. `topic_id` is empty where the broker has none."""

    partitions: int
    cluster: str
    topic_id: str


def prepare(admin: AdminClient, kafka: KafkaSettings, join: JoinSettings, clock: Clock) -> Layout:
    """Return the layout of a changelog topic that exists and is as it must be.

    Where no controller answers, as in the embedded broker, the topic is taken as it is. Raises
    SettingsError where the topics cannot be used as they are, and UnavailableError where that
    cannot be found out now.
    """
    cluster = _metadata(admin)
    partitions = _input_partitions(cluster, kafka, repartitioned=join.repartition_topic is not None)
    for key, topic, config in _internal_topics(join):
        if topic not in cluster.topics and join.create_changelog:
            _create(admin, NewTopic(topic, partitions, join.changelog_replication, config=config))
            cluster = _metadata_with(admin, topic, clock)
        _check_count(cluster, key, topic, partitions)
    topic_id = ""
    if cluster.controller_id in cluster.brokers:
        _check_compaction(admin, join.changelog_topic)
        topic_id = _topic_id(admin, join.changelog_topic)
    return Layout(partitions, str(cluster.cluster_id), topic_id)


def _internal_topics(join: JoinSettings) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the settings' key, the name and the configuration of each topic."""
    in_sync = {"min.insync.replicas": str(max(1, join.changelog_replication - 1))}
    yield "join.changelog_topic", join.changelog_topic, _CHANGELOG | in_sync
    if join.repartition_topic is not None:
        yield "join.repartition_topic", join.repartition_topic, _REPARTITION | in_sync


def _check_count(cluster: ClusterMetadata, key: str, topic: str, partitions: int) -> None:
    found = cluster.topics.get(topic)
    if found is None:
        part = key.removeprefix("join.").removesuffix("_topic")
        raise UnavailableError(part, f"topic {topic} does not exist")
    if len(found.partitions) != partitions:
        raise SettingsError(
            [
                (
                    f"{key}: {topic} has {len(found.partitions)} partitions, "
                    f"the input topics have {partitions}; they must have equally many."
                )
            ]
        )


def _input_partitions(
    cluster: ClusterMetadata, kafka: KafkaSettings, *, repartitioned: bool
) -> int:
    """Return the partition count of the topics whose partition numbers have state."""
    events = kafka.events.topics if kafka.events and not repartitioned else []
    names = [*kafka.scores.topics, *events]
    counts = {
        topic: len(found.partitions)
        for topic, found in cluster.topics.items()
        if any(means(name, topic) for name in names) and found.partitions
    }
    if not counts:
        raise UnavailableError("kafka", f"none of the input topics exists: {', '.join(names)}")
    if len(set(counts.values())) > 1:
        found_counts = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
        raise SettingsError(
            [f"kafka: a join needs input topics with equally many partitions, but {found_counts}."]
        )
    return next(iter(counts.values()))


def _create(admin: AdminClient, topic: NewTopic) -> None:
    future = admin.create_topics([topic], operation_timeout=_ANSWER_SECONDS)[topic.topic]
    try:
        future.result(_ANSWER_SECONDS * 2)
    except KafkaException as error:
        kafka_error: KafkaError = error.args[0]
        if kafka_error.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another replica was faster
            raise UnavailableError(
                "kafka", f"topic {topic.topic} cannot be created: {kafka_error.str()}"
            ) from error
    else:
        log.info(
            "A topic was created.",
            code="topic_created",
            topic=topic.topic,
            partitions=topic.num_partitions,
        )


def _check_compaction(admin: AdminClient, topic: str) -> None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        settings = admin.describe_configs([resource])[resource].result(_ANSWER_SECONDS)
    except (KafkaException, TimeoutError) as error:
        log.warning(
            "The cleanup policy of the changelog topic cannot be checked.",
            code="changelog_policy_unknown",
            topic=topic,
            error=str(error),
        )
        return
    policy = settings["cleanup.policy"].value
    if policy != "compact":
        raise SettingsError(
            [
                (
                    f"join.changelog_topic: {topic} has cleanup.policy={policy}; it must be "
                    "`compact` alone, or Kafka deletes the state of persons after a while."
                )
            ]
        )


def _topic_id(admin: AdminClient, topic: str) -> str:
    try:
        found = admin.describe_topics(TopicCollection([topic]))[topic].result(_ANSWER_SECONDS)
    except (KafkaException, TimeoutError):
        return ""
    return str(found.topic_id)


def _metadata_with(admin: AdminClient, topic: str, clock: Clock) -> ClusterMetadata:
    """Wait until brokers have a topic that the controller has just created."""
    deadline = Deadline(clock, _ANSWER_SECONDS)
    while topic not in (cluster := _metadata(admin)).topics and not deadline.over():
        admin.poll(0.1)
    return cluster


def _metadata(admin: AdminClient) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=_ANSWER_SECONDS)
    except KafkaException as error:
        raise UnavailableError("kafka", error.args[0].str()) from error
