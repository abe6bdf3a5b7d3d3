"""StatePartitions: under which partition numbers persons live.

The partitions that are ours: since which assignment, whether they are back, where they stand.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from processor.domain.record import Partition, Record
from processor.settings import Settings


class AssignedPartition(msgspec.Struct):
    """One partition of ours; `epoch` tells one assignment of it from the next."""

    epoch: int
    ready: bool = False
    next_offset: int = 0


class AssignedPartitions:
    """Which partitions are ours now."""

    def __init__(self) -> None:
        self._owned: dict[int, AssignedPartition] = {}
        self._epoch = 0

    def take(self, partitions: Iterable[int]) -> list[int]:
        """Make partitions ours; return those that were not."""
        new = [partition for partition in partitions if partition not in self._owned]
        for partition in new:
            self._epoch += 1
            self._owned[partition] = AssignedPartition(self._epoch)
        return new

    def leave(self, partitions: Iterable[int]) -> frozenset[int]:
        """Give partitions up; return those that were ours."""
        return frozenset(one for one in partitions if self._owned.pop(one, None) is not None)

    def find(self, partition: int, epoch: int | None = None) -> AssignedPartition | None:
        """Return a partition of ours, or None; with an epoch only that assignment of it."""
        owned = self._owned.get(partition)
        return owned if owned is not None and epoch in {None, owned.epoch} else None

    def move(self, partition: int, next_offset: int) -> None:
        """Note up to where our partition's changelog is in the store."""
        self._owned[partition].next_offset = next_offset

    def epochs(self) -> dict[int, int]:
        """Return the assignment of each partition."""
        return {partition: owned.epoch for partition, owned in self._owned.items()}

    def ready(self) -> Mapping[int, AssignedPartition]:
        """Return the partitions that are back."""
        return {partition: owned for partition, owned in self._owned.items() if owned.ready}

    def whole(self) -> bool:
        """Return True where every partition of ours is back."""
        return all(owned.ready for owned in self._owned.values())

    def numbers(self) -> frozenset[int]:
        """Return the partitions of ours, back or not."""
        return frozenset(self._owned)


class StatePartitions:
    """The state of a person is kept under the number of the partition that has their records.

    Where facts are forwarded, the partitions of experience events are nobody's home.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._everywhere = settings.join.repartition_topic is None
        self._foreign: dict[str, bool] = {}

    def numbers(self, partitions: Iterable[Partition]) -> set[int]:
        """Return the numbers of the partitions that are somebody's home."""
        return {number for topic, number in partitions if self._everywhere or self._home(topic)}

    def of(self, records: Sequence[Record]) -> set[int]:
        """Return the numbers of the homes that these records came to."""
        if self._everywhere:
            return {record.partition for record in records}
        return self.numbers({Partition(record.topic, record.partition) for record in records})

    def _home(self, topic: str) -> bool:
        foreign = self._foreign.get(topic)
        if foreign is None:
            kafka = self._settings.kafka
            events = kafka.events is not None and kafka.events.takes(topic)
            foreign = self._foreign[topic] = events and not kafka.scores.takes(topic)
        return not foreign
