import pytest

from processor.domain.errors import InvariantError
from processor.domain.record import Partition
from processor.kafka.offset_tracker import OffsetTracker, TrackedRange

P = Partition("scores", 0)
Q = Partition("scores", 1)


def ledger(committed: int | None = 0) -> OffsetTracker:
    fresh = OffsetTracker()
    fresh.assign(P, committed, 0.0)
    return fresh


def book(of: OffsetTracker, first: int, end: int, partition: Partition = P) -> TrackedRange:
    return of.book(partition, range(first, end), end - first, newest_ms=end)


def test_only_the_prefix_without_a_hole_is_committed() -> None:
    books = ledger()
    first, second, third = book(books, 0, 5), book(books, 5, 7), book(books, 7, 8)

    books.settle(third, 1.0)
    books.settle(first, 1.0)
    assert books.commits() == {P: 5}
    books.settle(second, 1.0)

    assert books.commits() == {P: 8}
    assert books.unsettled == 0


def test_what_is_acknowledged_is_not_due_again() -> None:
    books = ledger()
    books.settle(book(books, 0, 5), 1.0)

    books.acknowledge(P, 5, asked=1.5)

    assert books.commits() == {}
    assert books.idle(before=2.0) == {P: 5}
    assert books.idle(before=1.0) == {}


def test_a_settle_of_an_earlier_epoch_is_ignored() -> None:
    books = ledger()
    late = book(books, 0, 5)
    assert books.drop(P) == 5
    books.assign(P, 0, 1.0)

    assert not books.settle(late, 2.0)

    assert books.commits() == {}


def test_settling_twice_is_our_fault() -> None:
    books = ledger()
    book(books, 0, 5)
    claim = book(books, 5, 6)
    books.settle(claim, 1.0)

    with pytest.raises(InvariantError):
        books.settle(claim, 1.0)


def test_the_answer_to_an_earlier_epochs_commit_changes_nothing() -> None:
    books = ledger(committed=10)

    books.acknowledge(P, 40, asked=1.0)

    assert books.accounts[P].committed == 10


def test_an_old_unanswered_commit_is_overdue_and_an_answered_one_is_not() -> None:
    books = ledger()
    books.settle(book(books, 0, 5), 10.0)
    assert books.overdue(before=10.5)
    assert not books.overdue(before=10.0)

    books.acknowledge(P, 5, asked=11.0)

    assert not books.overdue(before=100.0)


def test_a_commit_that_lags_behind_is_measured_from_when_it_was_asked() -> None:
    books = ledger()
    books.settle(book(books, 0, 5), 10.0)
    books.settle(book(books, 5, 9), 12.0)

    books.acknowledge(P, 5, asked=11.0)

    assert books.overdue(before=11.5)
    assert not books.overdue(before=11.0)


def test_skipped_offsets_are_told_once() -> None:
    books = ledger()
    assert books.reach(P, 0) == 0
    book(books, 0, 5)

    assert books.reach(P, 8) == 3
    assert books.reach(P, 8) == 0


def test_moving_forward_keeps_what_is_under_way() -> None:
    books = ledger()
    claim = book(books, 0, 5)

    assert books.place(P, 9, 1.0) == 0

    assert books.commits() == {}
    assert books.settle(claim, 2.0)
    assert books.commits() == {P: 9}


def test_moving_forward_with_nothing_under_way_commits_the_new_place() -> None:
    books = ledger()

    books.place(P, 9, 1.0)

    assert books.commits() == {P: 9}


def test_moving_back_releases_what_is_under_way_and_may_commit_lower() -> None:
    books = ledger(committed=100)
    late = book(books, 100, 105)

    assert books.place(P, 0, 1.0) == 5

    assert not books.settle(late, 2.0)
    assert books.commits() == {P: 0}


def test_the_time_settled_moves_with_the_prefix_and_with_being_caught_up() -> None:
    books = ledger()
    claim = book(books, 0, 5)
    books.caught_up(P, 5, at_ms=1_000)
    assert books.accounts[P].settled_ms == 0

    books.settle(claim, 1.0)
    assert books.accounts[P].settled_ms == 5
    books.caught_up(P, 5, at_ms=1_000)

    assert books.accounts[P].settled_ms == 1_000


def test_control_records_at_the_end_of_a_partition_are_committed_too() -> None:
    books = ledger()
    claim = book(books, 0, 5)
    books.reach(P, 6)
    assert books.commits() == {}

    books.settle(claim, 1.0)
    assert books.commits() == {P: 6}
    books.reach(P, 7)

    assert books.commits() == {P: 7}
    assert books.settled() == {P: 7}
