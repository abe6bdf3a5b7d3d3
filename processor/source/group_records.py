"""What the group remembers of itself beside its offsets: where it began, and which topics it read.

Kafka deletes the offsets of a group that is idle for long, and those of a topic with the topic.
These records outlive them, in the control store:

    group                        {since, partitions, ends, ids}  the topics when the group began
    topic/<topic>/<partition>    {since, id}          an offset of it was committed
    written/<topic>              {since, id}          a topic that is written
    layout/<changelog topic>     {since, partitions}  what person state was made for
    replaced/<topic>             {since, ids}         ids of topics that were deleted
"""

from collections.abc import Mapping, Sequence
from typing import Final

from processor.domain.clock import Clock
from processor.domain.control import ControlStore
from processor.domain.record import Partition

_GROUP: Final = "group"
_TOPICS: Final = "topic/"
_REPLACED_IDS: Final = 8


class GroupRecords:
    """Reads and writes the records of the group. A topic's id is `cluster:topic`, or empty."""

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    @property
    def began(self) -> bool:
        """Return True where the group has been here."""
        return self._control.get(_GROUP) is not None or bool(self._control.items(_TOPICS))

    def begin(
        self, layout: Mapping[str, int], ends: Mapping[Partition, int], ids: Mapping[str, str]
    ) -> None:
        """Note that the group begins, which partitions are there, and where they end.

        The first note counts. Timestamps would not do in place of the ends: a record that is
        written later may have an earlier one. `ends` is empty where the group reads from the start.
        """
        if self._control.get(_GROUP) is not None:
            return
        by_topic: dict[str, dict[str, int]] = {}
        for (topic, number), end in ends.items():
            by_topic.setdefault(topic, {})[str(number)] = end
        known = {topic: topic_id for topic, topic_id in ids.items() if topic_id}
        found = {"partitions": dict(layout), "ends": by_topic, "ids": known}
        self._control.put(_GROUP, {"since": self._now(), **found})

    def began_with(self, partition: Partition) -> bool:
        """Return True where a partition was there when the group began."""
        record = self._control.get(_GROUP) or {}
        return partition.number < int(record.get("partitions", {}).get(partition.topic, 0))

    def end_at_start(self, partition: Partition) -> int | None:
        """Return where a partition ended when the group began; None where that is unknown."""
        ends = (self._control.get(_GROUP) or {}).get("ends", {})
        end = ends.get(partition.topic, {}).get(str(partition.number))
        return None if end is None else int(end)

    def id_at_start(self, topic: str) -> str:
        """Return the id of a topic when the group began, empty where unknown."""
        return str((self._control.get(_GROUP) or {}).get("ids", {}).get(topic, ""))

    def replaced_ids(self, topic: str) -> Sequence[str]:
        """Return the ids of deleted topics of this name, the latest last."""
        return list((self._control.get(f"replaced/{topic}") or {}).get("ids", []))

    def replaced(self, topic: str, topic_id: str) -> None:
        """Note that the topic with this id was deleted and created anew."""
        ids = [each for each in self.replaced_ids(topic) if each != topic_id]
        kept = [*ids, topic_id][-_REPLACED_IDS:]
        self._control.put(f"replaced/{topic}", {"since": self._now(), "ids": kept})

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
