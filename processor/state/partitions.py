"""The topics and partitions of person state: which there are, and which this replica has.

The processor's own topics, the changelog and the repartition topic, are created where they are
missing, and checked where they are not.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import msgspec

from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.record import Partition, Record
from processor.kafka.admin import Cluster, KafkaAdmin
from processor.kafka.internal_topic import (
    COMPACTED,
    DAY_MS,
    InternalTopic,
    check_topic,
    create_missing,
)
from processor.settings import JoinSettings, KafkaSettings, Settings
from processor.settings.kafka import matches_topic
from processor.state.format.store import ChangelogPosition

_REPARTITION: Final = {
    "cleanup.policy": "delete",
    # Messages must outlast the longest outage of the processor.
    "retention.ms": str(7 * DAY_MS),
    "segment.bytes": str(128 << 20),
}


class AssignedPartition(msgspec.Struct):
    """One assigned partition, of which the store has the changelog up to `next_offset`.

    `epoch` differs for each assignment of it. While it is `rewriting`, the changelog lacks what the
    store has, and the position in the store stays 0.
    """

    epoch: int
    ready: bool = False
    next_offset: int = 0
    rewriting: bool = False

    def position(self, now_ms: int) -> ChangelogPosition:
        """Return the position to note in the store."""
        return ChangelogPosition(0 if self.rewriting else self.next_offset, now_ms)


class AssignedPartitions:
    """Which partitions are assigned now."""

    def __init__(self) -> None:
        self._assigned: dict[int, AssignedPartition] = {}
        self._epoch = 0

    def assign(self, partitions: Iterable[int]) -> list[int]:
        """Add partitions; return those that were not assigned."""
        new = [partition for partition in partitions if partition not in self._assigned]
        for partition in new:
            self._epoch += 1
            self._assigned[partition] = AssignedPartition(self._epoch)
        return new

    def revoke(self, partitions: Iterable[int]) -> frozenset[int]:
        """Remove partitions; return those that were assigned."""
        return frozenset(one for one in partitions if self._assigned.pop(one, None) is not None)

    def find(self, partition: int, epoch: int | None = None) -> AssignedPartition | None:
        """Return an assigned partition, or None; with an epoch only that assignment of it."""
        assigned = self._assigned.get(partition)
        return assigned if assigned is not None and epoch in {None, assigned.epoch} else None

    def replace(self, advanced: Mapping[int, AssignedPartition]) -> None:
        """Note up to where the store has these partitions' changelog now."""
        self._assigned.update(advanced)

    def epochs(self) -> dict[int, int]:
        """Return the epoch of each partition."""
        return {partition: assigned.epoch for partition, assigned in self._assigned.items()}

    def ready(self) -> Mapping[int, AssignedPartition]:
        """Return the partitions that are restored."""
        return {
            partition: assigned for partition, assigned in self._assigned.items() if assigned.ready
        }

    def all_ready(self) -> bool:
        """Return True where every assigned partition is restored."""
        return all(assigned.ready for assigned in self._assigned.values())

    def numbers(self) -> frozenset[int]:
        """Return the assigned partitions, restored or not."""
        return frozenset(self._assigned)


class StatePartitions:
    """Which partition numbers have state.

    The state of a person has the number of the partition that has the person's records. Where facts
    are repartitioned, the partitions of the experience events have no state.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._all_topics = settings.join.repartition_topic is None
        self._stateless: dict[str, bool] = {}

    def numbers(self, partitions: Iterable[Partition]) -> set[int]:
        """Return the numbers of those partitions that have state."""
        return {
            number
            for topic, number in partitions
            if self._all_topics or not self._is_stateless(topic)
        }

    def with_state(
        self, partitions: Iterable[Partition], numbers: AbstractSet[int]
    ) -> frozenset[Partition]:
        """Return those of the partitions that have state and one of these numbers."""
        return frozenset(
            partition
            for partition in partitions
            if partition.number in numbers and self.numbers([partition])
        )

    def of(self, records: Sequence[Record]) -> set[int]:
        """Return the partition numbers that have the state for these records."""
        if self._all_topics:
            return {record.partition for record in records}
        return self.numbers({Partition(record.topic, record.partition) for record in records})

    def _is_stateless(self, topic: str) -> bool:
        stateless = self._stateless.get(topic)
        if stateless is None:
            kafka = self._settings.kafka
            events = kafka.events is not None and kafka.events.takes(topic)
            stateless = self._stateless[topic] = events and not kafka.scores.takes(topic)
        return stateless


class Layout(NamedTuple):
    """The changelog topic as it must be, and is. `topic_id` is empty where the broker has none."""

    changelog: InternalTopic
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
    changelog = changelog_topic(join, partitions)
    topics = [changelog]
    if join.repartition_topic is not None:
        topics.append(repartition_topic(join, join.repartition_topic, partitions))
    for topic in topics:
        cluster = create_missing(admin, cluster, topic, create=join.create_changelog)
        check_topic(admin, cluster, topic)
    topic_id = admin.topic_id(changelog.name) if cluster.has_controller else ""
    return Layout(changelog, cluster.id, topic_id)


def changelog_topic(join: JoinSettings, partitions: int) -> InternalTopic:
    """Return how the changelog topic must be; it has as many partitions as the input topics."""
    return InternalTopic(
        key="join.changelog_topic",
        name=join.changelog_topic,
        partitions=partitions,
        as_inputs=True,
        replication=join.changelog_replication,
        config=COMPACTED,
        content="the state of persons",
    )


def repartition_topic(join: JoinSettings, name: str, partitions: int = 0) -> InternalTopic:
    """Return how the repartition topic must be; it has as many partitions as the scores topics."""
    return InternalTopic(
        key="join.repartition_topic",
        name=name,
        partitions=partitions,
        as_inputs=True,
        replication=join.changelog_replication,
        config=_REPARTITION,
        content="facts that were not read yet",
        required=False,
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
