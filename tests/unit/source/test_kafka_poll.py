from processor.domain.record import Partition, Record
from processor.kafka.offset_tracker import TrackedRange
from processor.source.waiting import KafkaPoll


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, partition, offset, 0, None, b"")


def test_poll_without_a_partition_keeps_the_records_of_the_others() -> None:
    kept, removed = Partition("t", 0), Partition("t", 1)
    tracked = [TrackedRange(each, 1, each.number, 0, 2, 2, 0) for each in (removed, kept)]
    poll = KafkaPoll(
        [record("t", 1, 0), record("t", 1, 1), record("t", 0, 0), record("t", 0, 1)],
        tracked,
        frozenset({1, 3}),
    )

    without = poll.without({removed})

    assert without == KafkaPoll(poll.records[2:], [tracked[1]], frozenset({1}))
