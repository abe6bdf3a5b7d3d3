"""The partitions whose state this replica has, and which partition numbers have state at all."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from processor.domain.record import Partition, Record
from processor.settings import Settings


class AssignedPartition(msgspec.Struct):
    """One assigned partition, of which the store has the changelog up to `next_offset`.

    `epoch` differs for each assignment of it.
    """

    epoch: int
    ready: bool = False
    next_offset: int = 0


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

    def advance(self, partition: int, next_offset: int) -> None:
        """Note up to where the store has an assigned partition's changelog."""
        self._assigned[partition].next_offset = next_offset

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
