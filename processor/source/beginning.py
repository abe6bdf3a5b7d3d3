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
    NEVER_COMMITTED = "never_committed"
    """The group has been here and committed no offset of the partition: where `kafka.start` is
    `latest`, at its end when the group began, or at its start where that end is not known."""
    READ_ON = "read_on"
    """Kafka refused an offset that it has: reading goes on there."""


class PartitionFacts(NamedTuple):
    """What is known of a partition that cannot be read on.

    `wanted` is the offset that Kafka refused, None where the group has none. `first` and `end` are
    what the partition has now. `truncated` is True where the records below `wanted` are others than
    those that were read. `end_at_group_start` is None where it is not known.
    """

    wanted: int | None
    first: int
    end: int
    recreated: bool = False
    truncated: bool = False
    committed_before: bool = False
    group_here: bool = False
    there_at_group_start: bool = False
    end_at_group_start: int | None = None


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
    if facts.recreated:
        return Start(facts.first, OffsetLoss.TOPIC_RECREATED, again=facts.end - facts.first)
    if facts.wanted is None:
        return _without_offset(facts, start)
    return _within(facts, facts.wanted, Beginning.READ_ON)


def _within(facts: PartitionFacts, wanted: int, cause: Beginning) -> Start:
    first, end = facts.first, facts.end
    if wanted < first:
        return Start(first, OffsetLoss.BELOW_START, missing=first - wanted)
    if wanted > end or facts.truncated:
        return Start(first, OffsetLoss.BEYOND_END, again=end - first)
    return Start(wanted, cause)


def _without_offset(facts: PartitionFacts, start: Literal["earliest", "latest"]) -> Start:
    if facts.committed_before:
        again = facts.end - facts.first
        return Start(facts.first, OffsetLoss.GROUP_OFFSETS_GONE, again=again)
    if facts.group_here and not facts.there_at_group_start:
        return Start(facts.first, Beginning.PARTITION_APPEARED)
    if not facts.group_here:
        return Start(facts.first if start == "earliest" else facts.end, Beginning.GROUP_BEGINS)
    if start == "earliest" or facts.end_at_group_start is None:
        return Start(facts.first, Beginning.NEVER_COMMITTED)
    return _within(facts, facts.end_at_group_start, Beginning.NEVER_COMMITTED)
