"""Where reading of a partition begins, by what is known of it."""

from typing import Literal

import pytest

from processor.source.beginning import Beginning, PartitionFacts, Start, beginning
from processor.telemetry.labels import OffsetLoss

NEVER_COMMITTED = PartitionFacts(
    wanted=None, first=0, end=30, group_here=True, there_at_group_start=True
)


@pytest.mark.parametrize(
    ("end_at_group_start", "first", "start", "begins"),
    [
        (20, 0, "latest", Start(20, Beginning.NEVER_COMMITTED)),
        (30, 0, "latest", Start(30, Beginning.NEVER_COMMITTED)),
        (0, 0, "latest", Start(0, Beginning.NEVER_COMMITTED)),
        (20, 25, "latest", Start(25, OffsetLoss.BELOW_START, missing=5)),
        (40, 0, "latest", Start(0, OffsetLoss.BEYOND_END, again=30)),
        (None, 4, "latest", Start(4, Beginning.NEVER_COMMITTED)),
        (20, 4, "earliest", Start(4, Beginning.NEVER_COMMITTED)),
    ],
)
def test_partition_without_a_commit_begins_where_the_group_began(
    end_at_group_start: int | None,
    first: int,
    start: Literal["earliest", "latest"],
    begins: Start,
) -> None:
    facts = NEVER_COMMITTED._replace(end_at_group_start=end_at_group_start, first=first)

    assert beginning(facts, start) == begins


def test_new_group_begins_as_its_settings_say() -> None:
    facts = PartitionFacts(wanted=None, first=4, end=30)

    assert beginning(facts, "latest") == Start(30, Beginning.GROUP_BEGINS)
    assert beginning(facts, "earliest") == Start(4, Beginning.GROUP_BEGINS)


def test_partition_that_appeared_later_begins_at_its_start() -> None:
    facts = NEVER_COMMITTED._replace(there_at_group_start=False)

    assert beginning(facts, "latest") == Start(0, Beginning.PARTITION_APPEARED)


def test_records_of_a_recreated_topic_are_counted() -> None:
    facts = NEVER_COMMITTED._replace(recreated=True, wanted=7)

    assert beginning(facts, "latest") == Start(0, OffsetLoss.TOPIC_RECREATED, again=30)
