"""How the consumer is made: what the delivery guarantee needs, and the user's own on top."""

from processor.settings import KafkaSettings
from processor.settings.client import Property, connection

__all__ = ["consumer_properties", "eager"]

_PREFETCH = {
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 10_000,
    "fetch.queue.backoff.ms": 20,
}
"""Smaller than librdkafka's 64 MiB and 100,000 records a partition, and refilled in time: a full
queue is left alone for so long, and its default of a second leaves a busy partition idle."""


def consumer_properties(kafka: KafkaSettings, *, together: bool) -> dict[str, Property]:
    """Return librdkafka's consumer configuration.

    `together` keeps partitions of the same number of all topics on one member, as the join needs.
    Raises SettingsError where `kafka.client` sets what the guarantee rests on.
    """
    return {
        **_PREFETCH,
        **connection(kafka.bootstrap_servers, kafka.group_id, kafka.client),
        **_group(kafka, together=together),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "check.crcs": True,
        "allow.auto.create.topics": False,
        "max.poll.interval.ms": round(kafka.max_poll_interval_seconds * 1000),
    }


def eager(kafka: KafkaSettings, *, together: bool) -> bool:
    """Return True where a rebalance takes all partitions away and hands out all anew.

    Of librdkafka's classic assignors only `range`, an eager one, keeps equal numbers together.
    """
    return together and kafka.group_protocol == "classic"


def _group(kafka: KafkaSettings, *, together: bool) -> dict[str, Property]:
    group: dict[str, Property] = {
        "group.id": kafka.group_id,
        "group.protocol": kafka.group_protocol,
    }
    if kafka.group_instance_id:
        group["group.instance.id"] = kafka.group_instance_id
    if kafka.group_protocol == "classic":
        group["partition.assignment.strategy"] = "range" if together else "cooperative-sticky"
        group["session.timeout.ms"] = round(kafka.session_timeout_seconds * 1000)
    elif together:
        group["group.remote.assignor"] = "range"
    return group
