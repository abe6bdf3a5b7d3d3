"""The topics that the processor itself writes and reads: created and checked in one way."""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from processor.domain.errors import SettingsError, UnavailableError
from processor.kafka.admin import Cluster, KafkaAdmin

DAY_MS: Final = 86_400_000
TOMBSTONE_DAYS: Final = 7
"""How long Kafka keeps a tombstone at least; a local store not written for longer is not used."""
COMPACTED: Final = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(TOMBSTONE_DAYS * DAY_MS),
    # An erased person is gone from the brokers' disks a day later at the latest.
    "max.compaction.lag.ms": str(DAY_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "segment.bytes": str(128 << 20),
}

log = structlog.get_logger()


class InternalTopic(msgspec.Struct, frozen=True):
    """A topic of ours: the settings' key and name of it, and how it is created."""

    key: str
    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]

    @property
    def part(self) -> str:
        """Return how errors name it, such as `changelog`."""
        return self.key.rpartition(".")[2].removesuffix("_topic")


def create_missing(
    admin: KafkaAdmin, cluster: Cluster, topic: InternalTopic, *, create: bool
) -> Cluster:
    """Create a topic that does not exist, where that is wanted; return the cluster after that.

    Raises UnavailableError where the topic does not exist then.
    """
    if topic.name not in cluster.layout and create:
        in_sync = {"min.insync.replicas": str(max(1, topic.replication - 1))}
        cluster = admin.create_topic(
            topic.name,
            topic.partitions,
            replication=topic.replication,
            config={**topic.config, **in_sync},
        )
    if topic.name not in cluster.layout:
        raise UnavailableError(topic.part, f"topic {topic.name} does not exist")
    return cluster


def check_compaction(admin: KafkaAdmin, topic: InternalTopic, *, loss: str) -> None:
    """Raise SettingsError unless the topic is compacted and nothing else.

    `loss` says what Kafka deletes otherwise. Where the policy cannot be read, that is logged.
    """
    try:
        policy = admin.topic_config(topic.name, "cleanup.policy")
    except UnavailableError as error:
        log.warning(
            "The cleanup policy of a topic cannot be checked.",
            code="cleanup_policy_unknown",
            topic=topic.name,
            error=error.detail,
        )
        return
    if policy != "compact":
        raise SettingsError(
            [
                (
                    f"{topic.key}: {topic.name} has cleanup.policy={policy}; it must be "
                    f"`compact` alone, or Kafka deletes {loss} after a while."
                )
            ]
        )
