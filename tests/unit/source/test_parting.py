import structlog

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker
from processor.source.tracking import release_partitions
from processor.telemetry.metrics import Metrics

P = Partition("scores", 3)


def booked(*, settled: int, end: int = 9) -> OffsetTracker:
    """Return a ledger with offsets 5 to `end` read and those before `settled` settled."""
    books = OffsetTracker()
    books.assign(P, 5, 0.0)
    claims = [books.book(P, range(at, at + 1), 1, newest_ms=at) for at in range(5, end)]
    for claim in claims[: settled - 5]:
        books.settle(claim, 1.0)
    return books


def parted(books: OffsetTracker) -> tuple[list[object], float]:
    metrics = Metrics()
    with structlog.testing.capture_logs() as lines:
        release_partitions(books, [P], "lost", metrics=metrics)
    return [line["places"] for line in lines], metrics.value("records_released", "scores", "lost")


def test_settled_records_without_a_confirmed_commit_are_listed_and_the_others_counted() -> None:
    assert parted(booked(settled=7)) == (["scores/3/5-6"], 2)


def test_nothing_is_told_where_kafka_has_it_all() -> None:
    books = booked(settled=9)
    books.acknowledge(P, 9, 2.0)

    assert parted(books) == ([], 0)


def test_nothing_is_told_of_what_was_never_settled() -> None:
    assert parted(booked(settled=5)) == ([], 4)


def test_a_partition_that_is_not_ours_is_nothing_to_part_with() -> None:
    assert parted(OffsetTracker()) == ([], 0)
