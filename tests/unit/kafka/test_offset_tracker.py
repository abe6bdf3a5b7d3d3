import pytest

from processor.domain.errors import InvariantError
from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange

P = Partition("scores", 0)
Q = Partition("scores", 1)


def assigned(committed: int | None = 0) -> OffsetTracker:
    tracker = OffsetTracker()
    tracker.assign(P, committed, 0.0)
    return tracker


def track(tracker: OffsetTracker, first: int, end: int, partition: Partition = P) -> TrackedRange:
    return tracker.track(partition, range(first, end), end - first, newest_ms=end)


def test_only_the_contiguous_settled_prefix_is_committed() -> None:
    tracker = assigned()
    first, second, third = track(tracker, 0, 5), track(tracker, 5, 7), track(tracker, 7, 8)

    tracker.settle(third, 1.0)
    tracker.settle(first, 1.0)
    assert tracker.pending_commits() == {P: 5}
    tracker.settle(second, 1.0)

    assert tracker.pending_commits() == {P: 8}
    assert tracker.unsettled_records == 0


def test_acknowledged_offsets_are_not_committed_again() -> None:
    tracker = assigned()
    tracker.settle(track(tracker, 0, 5), 1.0)

    tracker.acknowledge(P, 5, sent=1.5)

    assert tracker.pending_commits() == {}
    assert tracker.idle_commits(before=2.0) == {P: 5}
    assert tracker.idle_commits(before=1.0) == {}


def test_settling_a_range_of_an_earlier_epoch_is_ignored() -> None:
    tracker = assigned()
    late = track(tracker, 0, 5)
    assert tracker.release(P) == 5
    tracker.assign(P, 0, 1.0)

    assert not tracker.settle(late, 2.0)

    assert tracker.pending_commits() == {}


def test_settling_a_range_twice_raises() -> None:
    tracker = assigned()
    track(tracker, 0, 5)
    tracked = track(tracker, 5, 6)
    tracker.settle(tracked, 1.0)

    with pytest.raises(InvariantError):
        tracker.settle(tracked, 1.0)


def test_result_of_a_commit_of_an_earlier_epoch_changes_nothing() -> None:
    tracker = assigned(committed=10)

    tracker.acknowledge(P, 40, sent=1.0)

    assert tracker.partitions[P].committed == 10


def test_commit_is_due_until_it_is_acknowledged() -> None:
    tracker = assigned()
    tracker.settle(track(tracker, 0, 5), 10.0)
    assert tracker.commit_due_before(before=10.5)
    assert not tracker.commit_due_before(before=10.0)

    tracker.acknowledge(P, 5, sent=11.0)

    assert not tracker.commit_due_before(before=100.0)


def test_partial_commit_is_due_since_it_was_sent() -> None:
    tracker = assigned()
    tracker.settle(track(tracker, 0, 5), 10.0)
    tracker.settle(track(tracker, 5, 9), 12.0)

    tracker.acknowledge(P, 5, sent=11.0)

    assert tracker.commit_due_before(before=11.5)
    assert not tracker.commit_due_before(before=11.0)


def test_skipped_offsets_are_counted_once() -> None:
    tracker = assigned()
    assert tracker.advance(P, 0) == 0
    track(tracker, 0, 5)

    assert tracker.advance(P, 8) == 3
    assert tracker.advance(P, 8) == 0


def test_reset_forward_keeps_unsettled_records() -> None:
    tracker = assigned()
    tracked = track(tracker, 0, 5)

    assert tracker.reset(P, 9, 1.0) == 0

    assert tracker.pending_commits() == {}
    assert tracker.settle(tracked, 2.0)
    assert tracker.pending_commits() == {P: 9}


def test_reset_forward_with_nothing_unsettled_commits_the_new_offset() -> None:
    tracker = assigned()

    tracker.reset(P, 9, 1.0)

    assert tracker.pending_commits() == {P: 9}


def test_reset_back_releases_unsettled_records_and_may_commit_lower() -> None:
    tracker = assigned(committed=100)
    late = track(tracker, 100, 105)

    assert tracker.reset(P, 0, 1.0) == 5

    assert not tracker.settle(late, 2.0)
    assert tracker.pending_commits() == {P: 0}


def test_settled_time_follows_the_prefix_and_the_end_of_the_partition() -> None:
    tracker = assigned()
    tracked = track(tracker, 0, 5)
    tracker.caught_up(P, 5, at_ms=1_000)
    assert tracker.partitions[P].settled_until_ms == 0

    tracker.settle(tracked, 1.0)
    assert tracker.partitions[P].settled_until_ms == 5
    tracker.caught_up(P, 5, at_ms=1_000)

    assert tracker.partitions[P].settled_until_ms == 1_000


def test_control_records_at_the_end_of_a_partition_are_committed() -> None:
    tracker = assigned()
    tracked = track(tracker, 0, 5)
    tracker.advance(P, 6)
    assert tracker.pending_commits() == {}

    tracker.settle(tracked, 1.0)
    assert tracker.pending_commits() == {P: 6}
    tracker.advance(P, 7)

    assert tracker.pending_commits() == {P: 7}
    assert tracker.settled_offsets() == {P: 7}
