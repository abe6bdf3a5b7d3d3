"""The topics that the processor itself writes: created, checked and watched in one way.

They are the changelog, the control topic, the dead-letter topic and the repartition topic. A topic
is known by its id: one that was deleted and created anew under its name has another, and may have
other settings.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.retry import spread
from processor.kafka.admin import Cluster, KafkaAdmin, TopicLayout
from processor.kafka.queries import ConfigQuery, TopicDescription, TopicQuery

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
_WATCH_SECONDS: Final = 1.0
_LAYOUT_SECONDS: Final = 30.0
"""Between looks whether the cluster has topic ids, where it did not say so."""
_MISSING_ANSWERS: Final = 2
"""An older broker may not know for a moment that a topic exists."""

log = structlog.get_logger()


class InternalTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of ours: the settings' key and name of it, and how it is created.

    `partitions` is 0 where any number is right, and with `as_inputs` that of the input topics.
    `content` is what is lost where the topic has another cleanup policy. `required` is False where
    intake goes on while the topic is missing.
    """

    key: str
    name: str
    partitions: int = 0
    replication: int = 1
    config: Mapping[str, str]
    content: str
    required: bool = True
    as_inputs: bool = False

    @property
    def part(self) -> str:
        """Return how errors name it, such as `changelog`."""
        part = self.key.removesuffix(".topic").rpartition(".")[2]
        return part.removesuffix("_topic").replace("_", " ")

    def fault(self, config: Mapping[str, str], partitions: int) -> str | None:
        """Return why the topic must not be written as it is, as a sentence; None where it may."""
        if self.partitions and partitions and partitions != self.partitions:
            wanted = (
                f", the input topics have {self.partitions}; they must have equally many."
                if self.as_inputs
                else f"; it needs {self.partitions}."
            )
            return f"{self.key}: {self.name} has {partitions} partitions{wanted}"
        wanted, policy = self.config["cleanup.policy"], config.get("cleanup.policy")
        if policy in {None, wanted}:
            return None
        return (
            f"{self.key}: {self.name} has cleanup.policy={policy}; it must be `{wanted}` alone, "
            f"or Kafka deletes {self.content} after a while."
        )

    def warn(self, config: Mapping[str, str]) -> None:
        """Log what Kafka deletes sooner than is good."""
        for key in ("delete.retention.ms", "retention.ms"):
            wanted, found = int(self.config.get(key, 0)), int(config.get(key, -1))
            if 0 <= found < wanted:
                log.warning(
                    "A topic of the processor has a shorter retention than it needs.",
                    code="topic_retention_short",
                    topic=self.name,
                    setting=key,
                    found=found,
                    needed=wanted,
                )


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


def check_topic(admin: KafkaAdmin, cluster: Cluster, topic: InternalTopic) -> None:
    """Raise SettingsError unless an existing topic is as it must be.

    Where its configuration cannot be read, that is logged.
    """
    config: Mapping[str, str] = {}
    if cluster.has_controller:
        query = admin.query_config(topic.name)
        query.wait()
        config = _read(topic, query)
    if fault := topic.fault(config, cluster.layout[topic.name]):
        raise SettingsError([fault])


def _read(topic: InternalTopic, query: ConfigQuery) -> Mapping[str, str]:
    """Return a configuration; empty, and logged, where it cannot be read."""
    try:
        config = query.config()
    except UnavailableError as error:
        log.warning(
            "The settings of a topic cannot be checked.",
            code="topic_settings_unknown",
            topic=topic.name,
            error=error.detail,
        )
        return {}
    topic.warn(config)
    return config


class OwnTopicWatch:
    """Asks Kafka about every second for the id of a topic, without waiting for the answer.

    A topic with a new id is reported once its settings are known to be right; until then, and while
    the topic is missing, `fault` says so. The ids that were replaced are remembered: a broker that
    lags behind may still answer one of them. Where the cluster has no ids nothing is found.

    `topic_id` is that of the topic as it was found at the start; where it is empty, the first one
    that is found counts as known.
    """

    def __init__(
        self, layout: TopicLayout, topic: InternalTopic, clock: Clock, topic_id: str = ""
    ) -> None:
        self.fault: str | None = None
        """Why the topic must not be written, as a sentence; None where it may."""
        self._layout = layout
        self._topic = topic
        self._clock = clock
        self._topic_id = topic_id
        self._checked_id = topic_id or None
        self._replaced: set[str] = set()
        self._missing = 0
        self._due = self._layout_due = Deadline(clock, 0)
        self._query: TopicQuery | None = None
        self._checking: tuple[TopicDescription, ConfigQuery] | None = None

    @property
    def by_id(self) -> bool:
        """Return True where the topic is known by an id."""
        return bool(self._topic_id)

    def new_id(self) -> str | None:
        """Return the id of a topic that took the place of the known one; None while none did.

        It is returned again, after a while, until it is accepted.
        """
        if self._checking is not None:
            return self._finish_check()
        if self._query is None and self._due.over():
            self._due = Deadline(self._clock, spread(_WATCH_SECONDS))
            if self._has_ids():
                self._query = self._layout.admin.describe([self._topic.name])
        if self._query is not None and self._query.done():
            query, self._query = self._query, None
            self._note(query.topics())
        return None

    def follow(self) -> None:
        """Accept a new id at once, where nothing but the topic's settings is of interest."""
        topic_id = self.new_id()
        if topic_id is not None:
            self.accept(topic_id)

    def accept(self, topic_id: str) -> None:
        """Know the topic by its new id from now on."""
        if self._topic_id:
            self._replaced.add(self._topic_id)
        self._topic_id = self._checked_id = topic_id

    def _has_ids(self) -> bool:
        cluster = self._layout.cluster()
        if cluster is None:
            return False
        if not cluster.has_controller and self._layout_due.over():
            self._layout_due = Deadline(self._clock, _LAYOUT_SECONDS)
            self._layout.forget()
        return cluster.has_controller

    def _note(self, answers: Mapping[str, TopicDescription | None]) -> None:
        """Note an answer; ask for the settings of a topic that was not checked yet."""
        if self._topic.name not in answers:
            return
        found = answers[self._topic.name]
        self._missing = self._missing + 1 if found is None else 0
        if found is None:
            if self._topic.required and self._missing >= _MISSING_ANSWERS:
                self._report(f"{self._topic.key}: topic {self._topic.name} does not exist.")
        elif found.id not in self._replaced and (self.fault or found.id != self._checked_id):
            self._checking = found, self._layout.admin.query_config(self._topic.name)

    def _finish_check(self) -> str | None:
        if self._checking is None or not self._checking[1].done():
            return None
        (found, query), self._checking = self._checking, None
        if fault := self._topic.fault(_read(self._topic, query), found.partitions):
            self._report(fault)
            return None
        self._report(None)
        if self._topic_id in {"", found.id}:
            self._topic_id, self._checked_id = found.id, found.id
            return None
        return found.id

    def _report(self, fault: str | None) -> None:
        if fault == self.fault:
            return
        self.fault = fault
        if fault is None:
            log.info(
                "A topic of the processor can be used again.",
                code="own_topic_usable",
                topic=self._topic.name,
            )
        else:
            log.error(
                "A topic of the processor cannot be used as it is; intake is paused until it is "
                "right.",
                code="own_topic_unusable",
                topic=self._topic.name,
                error=fault,
            )
