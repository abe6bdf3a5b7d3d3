"""The retry policy and the attempts made under it."""

from itertools import pairwise

from processor.domain.retry import Retry, RetryPolicy, spread
from tests.support.clock import ManualClock

POLICY = RetryPolicy(first_seconds=0.5, max_seconds=30, budget_seconds=60)


def longest(_low: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    ceilings = [POLICY.ceiling(failures) for failures in range(100)]

    assert ceilings[:7] == [0.5, 1, 2, 4, 8, 16, 30]
    assert all(later >= earlier for earlier, later in pairwise(ceilings))
    assert ceilings[-1] == 30


def test_a_delay_is_drawn_from_zero_to_the_ceiling() -> None:
    delays = [POLICY.delay(2) for _ in range(1_000)]

    assert 0 <= min(delays) < 0.5
    assert 1.5 < max(delays) <= 2


def test_an_attempt_is_due_at_first_and_again_after_its_delay() -> None:
    clock = ManualClock()
    retry = Retry(POLICY, clock, uniform=longest)
    due = [retry.due]
    delays = [retry.failed()]
    due.append(retry.due)
    clock.advance(0.5)
    due.append(retry.due)
    delays.append(retry.failed())

    assert due == [True, False, True]
    assert delays == [0.5, 1]


def test_the_wait_is_what_is_left_of_the_delay() -> None:
    clock = ManualClock()
    retry = Retry(POLICY, clock, uniform=longest)
    waits = [retry.wait_seconds]
    retry.failed()
    waits.append(retry.wait_seconds)
    clock.advance(0.25)
    waits.append(retry.wait_seconds)
    clock.advance(9)
    waits.append(retry.wait_seconds)

    assert waits == [0, 0.5, 0.25, 0]


def test_success_starts_again_from_the_first_delay() -> None:
    retry = Retry(POLICY, ManualClock(), uniform=longest)
    retry.failed()
    retry.failed()

    retry.succeeded()

    assert retry.due
    assert retry.failed() == 0.5


def test_the_budget_counts_from_the_first_failure_in_a_row() -> None:
    clock = ManualClock()
    retry = Retry(POLICY, clock)
    retry.failed()
    before = retry.exhausted
    clock.advance(60)
    after = retry.exhausted
    retry.succeeded()

    assert (before, after, retry.exhausted) == (False, True, False)


def test_without_a_budget_attempts_never_end() -> None:
    clock = ManualClock()
    retry = Retry(RetryPolicy(1, 2), clock)
    retry.failed()
    clock.advance(1e9)

    assert not retry.exhausted


def test_a_spread_delay_is_up_to_a_tenth_longer() -> None:
    assert spread(10, longest) == 11
    assert all(10 <= spread(10) <= 11 for _ in range(100))
