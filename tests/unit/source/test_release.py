import structlog

from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker
from processor.source.offsets import release_partitions
from processor.telemetry.catalogue import RECORDS_RELEASED
from processor.telemetry.labels import ReleaseCause
from processor.telemetry.metrics import Metrics

P = Partition("scores", 3)


def tracked(*, settled: int, end: int = 9) -> OffsetTracker:
    """Return a tracker with offsets 5 to `end` read and those before `settled` settled."""
    tracker = OffsetTracker()
    tracker.assign(P, 5, 0.0)
    ranges = [tracker.track(P, range(n, n + 1), 1, newest_ms=n) for n in range(5, end)]
    for one in ranges[: settled - 5]:
        tracker.settle(one, 1.0)
    return tracker


def released(tracker: OffsetTracker) -> tuple[list[object], float]:
    metrics = Metrics()
    with structlog.testing.capture_logs() as lines:
        release_partitions(tracker, [P], ReleaseCause.LOST, metrics=metrics)
    released = metrics.value(RECORDS_RELEASED, "scores", ReleaseCause.LOST)
    return [line["ranges"] for line in lines], released


def test_settled_records_without_a_confirmed_commit_are_logged_and_the_others_counted() -> None:
    assert released(tracked(settled=7)) == (["scores/3/5-6"], 2)


def test_nothing_is_logged_where_everything_is_committed() -> None:
    tracker = tracked(settled=9)
    tracker.acknowledge(P, 9, 2.0)

    assert released(tracker) == ([], 0)


def test_records_that_were_never_settled_are_counted_only() -> None:
    assert released(tracked(settled=5)) == ([], 4)


def test_releasing_a_partition_that_is_not_assigned_does_nothing() -> None:
    assert released(OffsetTracker()) == ([], 0)
