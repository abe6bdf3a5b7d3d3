"""Where reading of a partition begins, and why: pure."""

from enum import StrEnum
from typing import Literal, NamedTuple

from processor.telemetry.labels import OffsetLoss


class Beginning(StrEnum):
    """Why reading begins where it does, other than the loss of an offset."""

    GROUP_BEGINS = "group_begins"
    """The group has never been here: `kafka.start` says where."""
    PARTITION_APPEARED = "partition_appeared"
    """The partition, or its topic, came after the group began: at its start."""
    READ_ON = "read_on"
    """Kafka refused an offset that it has: reading goes on there."""


class PartitionFacts(NamedTuple):
    """What is known of a partition that cannot be read on.

    `wanted` is the offset that Kafka refused, None where the group has none. `first` and `end` are
    what the partition has now. `truncated` is True where the records below `wanted` are others than
    those that were read.
    """

    wanted: int | None
    first: int
    end: int
    recreated: bool = False
    truncated: bool = False
    committed_before: bool = False
    group_here: bool = False
    there_at_group_start: bool = False


class Start(NamedTuple):
    """Where reading begins, and why. `missing` records are lost, `again` ones are read again."""

    offset: int
    cause: Beginning | OffsetLoss
    missing: int = 0
    again: int = 0

    @property
    def loss(self) -> OffsetLoss | None:
        """Return which loss of an offset this is; None where none was lost."""
        return self.cause if isinstance(self.cause, OffsetLoss) else None


def beginning(facts: PartitionFacts, start: Literal["earliest", "latest"]) -> Start:
    """Return where reading begins.

    After a loss it begins with the oldest record, which loses nothing that Kafka still has.
    """
    first, end = facts.first, facts.end
    if facts.recreated:
        return Start(first, OffsetLoss.TOPIC_RECREATED)
    if facts.wanted is None:
        return _without_offset(facts, start)
    if facts.wanted < first:
        return Start(first, OffsetLoss.BELOW_START, missing=first - facts.wanted)
    if facts.wanted > end or facts.truncated:
        return Start(first, OffsetLoss.BEYOND_END, again=end - first)
    return Start(facts.wanted, Beginning.READ_ON)


def _without_offset(facts: PartitionFacts, start: Literal["earliest", "latest"]) -> Start:
    if facts.committed_before:
        again = facts.end - facts.first
        return Start(facts.first, OffsetLoss.GROUP_OFFSETS_GONE, again=again)
    if facts.group_here and not facts.there_at_group_start:
        return Start(facts.first, Beginning.PARTITION_APPEARED)
    return Start(facts.first if start == "earliest" else facts.end, Beginning.GROUP_BEGINS)
