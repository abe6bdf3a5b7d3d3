import pytest

from processor.dead_letter.sink import DeadLetterLimit
from processor.domain.errors import StopError
from processor.settings import DeadLetterSettings


def limit_of(in_a_row: int = 0, ratio: float = 0, window: int = 100) -> DeadLetterLimit:
    return DeadLetterLimit(
        DeadLetterSettings(stop_after_consecutive=in_a_row, stop_ratio=ratio, stop_window=window)
    )


def test_rejects_in_a_row_across_batches_stop_the_processor() -> None:
    limit = limit_of(in_a_row=5)
    limit.check(4, [2, 3])
    limit.check(2, [0, 1])

    with pytest.raises(StopError, match="5 records in a row"):
        limit.check(3, [0])


def test_a_good_record_resets_the_count_in_a_row() -> None:
    limit = limit_of(in_a_row=3)
    for _ in range(10):
        limit.check(4, [1, 2])
    limit.check(1, [0])
    limit.check(0, [])

    with pytest.raises(StopError):
        limit.check(2, [0, 1])


def test_a_batch_without_rejects_resets_the_count_in_a_row() -> None:
    limit = limit_of(in_a_row=3)
    limit.check(2, [0, 1])
    limit.check(1, [])

    limit.check(2, [0, 1])


def test_too_large_a_share_stops_the_processor_after_a_whole_window() -> None:
    limit = limit_of(ratio=0.5)
    limit.check(90, list(range(90)))

    with pytest.raises(StopError, match=r"92 of the last 110"):
        limit.check(20, [0, 19])


def test_rejects_before_the_window_are_not_counted() -> None:
    limit = limit_of(ratio=0.5)
    limit.check(99, list(range(99)))
    for _ in range(3):
        limit.check(100, [])

    limit.check(60, list(range(0, 60, 2)))


def test_a_limit_of_zero_never_stops() -> None:
    limit = limit_of()

    limit.check(100_000, list(range(100_000)))


def test_batches_refused_as_a_whole_by_the_inlet_stop_the_processor() -> None:
    limit = limit_of(in_a_row=5)
    limit.check_refusals("upgrade", 3, 3)
    limit.check_refusals("upgrade", 0, 0)

    with pytest.raises(StopError, match="5 records in a row were refused by the inlet"):
        limit.check_refusals("upgrade", 2, 2)


def test_a_batch_accepted_in_part_resets_the_count_of_refusals() -> None:
    limit = limit_of(in_a_row=5)
    limit.check_refusals("upgrade", 4, 4)
    limit.check_refusals("upgrade", 4, 5)

    limit.check_refusals("upgrade", 4, 4)


def test_refusals_are_in_the_share_and_their_records_are_counted_once() -> None:
    limit = limit_of(ratio=0.5)
    limit.check(100, list(range(20)))
    limit.check_refusals("upgrade", 30, 80)

    with pytest.raises(StopError, match="51 of the last 100"):
        limit.check_refusals("upgrade", 1, 80)


def test_refusals_leave_the_window_together_with_the_records_before_them() -> None:
    limit = limit_of(ratio=0.5)
    limit.check(60, [])
    limit.check_refusals("upgrade", 60, 60)
    limit.check(99, [])

    limit.check(10, [0, 1, 2, 3])


def test_refusals_are_counted_for_each_route() -> None:
    limit = DeadLetterLimit(DeadLetterSettings(stop_after_consecutive=5))

    limit.check_refusals("broken", 3, 3)
    limit.check_refusals("healthy", 0, 9)

    with pytest.raises(StopError, match="broken"):
        limit.check_refusals("broken", 2, 2)
