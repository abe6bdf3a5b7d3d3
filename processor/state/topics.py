"""The processor's own topics: created where they are missing, checked where they are not.

They are the changelog and, where experience events are keyed otherwise, the repartition topic.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import structlog

from processor.domain.errors import SettingsError, UnavailableError
from processor.kafka.admin import Cluster, KafkaAdmin
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.kafka import matches_topic

TOMBSTONE_DAYS: Final = 7
"""How long Kafka keeps a tombstone at least; a local store not written for longer is not used."""

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


def prepare(admin: KafkaAdmin, kafka: KafkaSettings, join: JoinSettings) -> Layout:
    """Return the layout of a changelog topic that exists and is as it must be.

    Where no controller answers, as in the embedded broker, the topic is taken as it is. Raises
    SettingsError where the topics cannot be used as they are, and UnavailableError where that
    cannot be found out now.
    """
    cluster = admin.cluster()
    partitions = _input_partitions(cluster, kafka, repartitioned=join.repartition_topic is not None)
    for key, topic, config in _internal_topics(join):
        if topic not in cluster.layout and join.create_changelog:
            cluster = admin.create_topic(
                topic, partitions, replication=join.changelog_replication, config=config
            )
        _check_count(cluster, key, topic, partitions)
    topic_id = ""
    if cluster.has_controller:
        _check_compaction(admin, join.changelog_topic)
        topic_id = admin.topic_id(join.changelog_topic)
    return Layout(partitions, cluster.id, topic_id)


def _internal_topics(join: JoinSettings) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the settings' key, the name and the configuration of each topic."""
    in_sync = {"min.insync.replicas": str(max(1, join.changelog_replication - 1))}
    yield "join.changelog_topic", join.changelog_topic, _CHANGELOG | in_sync
    if join.repartition_topic is not None:
        yield "join.repartition_topic", join.repartition_topic, _REPARTITION | in_sync


def _check_count(cluster: Cluster, key: str, topic: str, partitions: int) -> None:
    found = cluster.layout.get(topic)
    if found is None:
        part = key.removeprefix("join.").removesuffix("_topic")
        raise UnavailableError(part, f"topic {topic} does not exist")
    if found != partitions:
        raise SettingsError(
            [
                (
                    f"{key}: {topic} has {found} partitions, "
                    f"the input topics have {partitions}; they must have equally many."
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


def _check_compaction(admin: KafkaAdmin, topic: str) -> None:
    try:
        policy = admin.topic_config(topic, "cleanup.policy")
    except UnavailableError as error:
        log.warning(
            "The cleanup policy of the changelog topic cannot be checked.",
            code="changelog_policy_unknown",
            topic=topic,
            error=error.detail,
        )
        return
    if policy != "compact":
        raise SettingsError(
            [
                (
                    f"join.changelog_topic: {topic} has cleanup.policy={policy}; it must be "
                    "`compact` alone, or Kafka deletes the state of persons after a while."
                )
            ]
        )
