"""What the group remembers of itself beside its offsets: where it began, and which topics it read.

Kafka deletes the offsets of a group that is idle for long, and those of a topic with the topic.
These records outlive them, in the control store:

    group                        {since, partitions}  the topics when the group began
    topic/<topic>/<partition>    {since, id}          an offset of it was committed
    written/<topic>              {since, id}          a topic that is written
    layout/<changelog topic>     {since, partitions}  what person state was made for
"""

from collections.abc import Mapping
from typing import Final

from processor.domain.clock import Clock
from processor.domain.control import ControlStore
from processor.domain.record import Partition

_GROUP: Final = "group"
_TOPICS: Final = "topic/"


class GroupRecords:
    """Reads and writes the records of the group. A topic's id is `cluster:topic`, or empty."""

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    @property
    def began(self) -> bool:
        """Return True where the group has been here."""
        return self._control.get(_GROUP) is not None or bool(self._control.items(_TOPICS))

    def begin(self, layout: Mapping[str, int]) -> None:
        """Note that the group begins, and which partitions are there; the first note counts."""
        if self._control.get(_GROUP) is None:
            self._control.put(_GROUP, {"since": self._now(), "partitions": dict(layout)})

    def began_with(self, partition: Partition) -> bool:
        """Return True where a partition was there when the group began."""
        record = self._control.get(_GROUP) or {}
        return partition.number < int(record.get("partitions", {}).get(partition.topic, 0))

    def committed_id(self, partition: Partition) -> str | None:
        """Return the topic's id by which an offset was committed; None where none ever was."""
        record = self._control.get(_key(partition))
        return None if record is None else str(record.get("id", ""))

    def committed(self, partition: Partition, topic_id: str) -> None:
        """Note that an offset of a partition was committed."""
        if self.committed_id(partition) != topic_id:
            self._control.put(_key(partition), {"id": topic_id, "since": self._now()})

    def written_id(self, topic: str) -> str:
        """Return the id that a topic had when it was written before, empty where unknown."""
        record = self._control.get(f"written/{topic}") or {}
        return str(record.get("id", ""))

    def written(self, topic: str, topic_id: str) -> None:
        """Note the id of a topic that is written."""
        self._control.put(f"written/{topic}", {"id": topic_id, "since": self._now()})

    def state_partitions(self, changelog: str) -> int:
        """Return how many partitions person state was made for; 0 where unknown."""
        return int((self._control.get(f"layout/{changelog}") or {}).get("partitions", 0))

    def state_made_for(self, changelog: str, partitions: int) -> None:
        """Note how many partitions person state is made for; the first note counts."""
        if not self.state_partitions(changelog):
            value = {"since": self._now(), "partitions": partitions}
            self._control.put(f"layout/{changelog}", value)

    def _now(self) -> int:
        return self._clock.now_ms()


def _key(partition: Partition) -> str:
    return f"topic/{partition.topic}/{partition.number}"
