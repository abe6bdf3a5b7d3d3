"""The processor's own topics: created where they are missing, checked where they are not.

They are the changelog and, where experience events are keyed otherwise, the repartition topic.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from processor.domain.errors import SettingsError, UnavailableError
from processor.kafka.admin import Cluster, KafkaAdmin
from processor.kafka.internal_topic import (
    COMPACTED,
    DAY_MS,
    InternalTopic,
    check_compaction,
    create_missing,
)
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka import matches_topic

_REPARTITION: Final = {
    "cleanup.policy": "delete",
    # Messages must outlast the longest outage of the processor.
    "retention.ms": str(7 * DAY_MS),
    "segment.bytes": str(128 << 20),
}


class Layout(NamedTuple):
    """The changelog topic as it is. `topic_id` is empty where the broker has none."""

    partitions: int
    cluster: str
    topic_id: str


def prepare(admin: KafkaAdmin, kafka: KafkaSettings, join: JoinSettings) -> Layout:
    """Return the layout of a changelog topic that exists and is as it must be.

    Where no controller answers, as in the embedded broker, the topic is taken as it is. Raises
    SettingsError where the topics cannot be used as they are, and UnavailableError where that
    cannot be found out now.
    """
    cluster = admin.cluster()
    partitions = _input_partitions(cluster, kafka, repartitioned=join.repartition_topic is not None)
    topics = list(_internal_topics(join, partitions))
    for topic in topics:
        cluster = create_missing(admin, cluster, topic, create=join.create_changelog)
        _check_count(cluster, topic)
    topic_id = ""
    if cluster.has_controller:
        check_compaction(admin, topics[0], loss="the state of persons")
        topic_id = admin.topic_id(join.changelog_topic)
    return Layout(partitions, cluster.id, topic_id)


def _internal_topics(join: JoinSettings, partitions: int) -> Iterator[InternalTopic]:
    """Yield the changelog topic, and the repartition topic where there is one."""
    sizes = (partitions, join.changelog_replication)
    yield InternalTopic("join.changelog_topic", join.changelog_topic, *sizes, COMPACTED)
    if join.repartition_topic is not None:
        yield InternalTopic("join.repartition_topic", join.repartition_topic, *sizes, _REPARTITION)


def _check_count(cluster: Cluster, topic: InternalTopic) -> None:
    found = cluster.layout[topic.name]
    if found != topic.partitions:
        raise SettingsError(
            [
                (
                    f"{topic.key}: {topic.name} has {found} partitions, "
                    f"the input topics have {topic.partitions}; they must have equally many."
                )
            ]
        )


def _input_partitions(cluster: Cluster, kafka: KafkaSettings, *, repartitioned: bool) -> int:
    """Return the partition count of the topics whose partition numbers have state."""
    events = kafka.events.topics if kafka.events and not repartitioned else []
    names = [*kafka.scores.topics, *events]
    counts = {
        topic: count
        for topic, count in cluster.layout.items()
        if any(matches_topic(name, topic) for name in names) and count
    }
    if not counts:
        raise UnavailableError("kafka", f"none of the input topics exists: {', '.join(names)}")
    if len(set(counts.values())) > 1:
        found_counts = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
        raise SettingsError(
            [f"kafka: a join needs input topics with equally many partitions, but {found_counts}."]
        )
    return next(iter(counts.values()))
