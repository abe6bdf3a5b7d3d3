"""Homes: under which partition numbers persons live."""

from collections.abc import Iterable, Sequence

from processor.record import Partition, Record
from processor.settings import Settings

__all__ = ["Homes"]


class Homes:
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
