from hypothesis import given
from hypothesis import strategies as st

from processor.sink.budget import RateLimiter, TokenBucket


def test_reservations_are_granted_in_order_at_the_pace() -> None:
    pace = TokenBucket(10.0)

    waits = [pace.reserve(100.0, 1) for _ in range(4)]

    assert [round(wait, 6) for wait in waits] == [0.0, 0.0, 0.1, 0.2]


def test_a_reservation_larger_than_the_burst_makes_the_next_one_wait() -> None:
    pace = TokenBucket(100.0)

    assert pace.reserve(0.0, 500) == 0.0
    assert round(pace.reserve(0.0, 1), 6) == 4.9


def test_idleness_saves_nothing_up_beyond_the_burst() -> None:
    pace = TokenBucket(10.0)
    pace.reserve(0.0, 1)

    waits = [pace.reserve(1_000_000.0, 1) for _ in range(3)]

    assert [round(wait, 4) for wait in waits] == [0.0, 0.0, 0.1]


@given(
    rate=st.floats(1, 10_000),
    asks=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 2_000)), min_size=1, max_size=60),
)
def test_no_span_of_time_is_ever_overspent(rate: float, asks: list[tuple[float, int]]) -> None:
    pace, now, granted = TokenBucket(rate), 0.0, []

    for pause, amount in asks:
        now += pause
        granted.append((now + pace.reserve(now, amount), amount))

    for first, (start, _) in enumerate(granted):
        spent = 0
        for moment, amount in granted[first:]:
            assert spent <= rate * (moment - start + 0.1) + amount + 1e-6 + granted[first][1]
            spent += amount


def test_a_request_waits_for_the_scarcer_of_both_budgets() -> None:
    budget = RateLimiter(requests_per_second=1_000, messages_per_second=1_000)
    budget.reserve(0.0, 1_000)

    assert round(budget.reserve(0.0, 1), 6) == 0.9


def test_the_share_in_use_follows_the_last_second() -> None:
    budget = RateLimiter(requests_per_second=10, messages_per_second=1_000)
    budget.tick(0.0)

    for _ in range(5):
        budget.reserve(0.5, 100)
    budget.tick(1.0)
    assert (budget.requests.used, budget.messages.used) == (0.5, 0.5)
    budget.tick(2.0)

    assert (budget.requests.used, budget.messages.used) == (0.0, 0.0)
