import asyncio

from hypothesis import given
from hypothesis import strategies as st

from processor.sink.limits import ConcurrencyLimit, RateLimiter, TokenBucket


def test_reservations_are_granted_in_order_at_the_rate() -> None:
    bucket = TokenBucket(10.0)

    waits = [bucket.reserve(100.0, 1) for _ in range(4)]

    assert [round(wait, 6) for wait in waits] == [0.0, 0.0, 0.1, 0.2]


def test_a_reservation_larger_than_the_burst_makes_the_next_one_wait() -> None:
    bucket = TokenBucket(100.0)

    assert bucket.reserve(0.0, 500) == 0.0
    assert round(bucket.reserve(0.0, 1), 6) == 4.9


def test_idle_time_saves_no_more_than_the_burst() -> None:
    bucket = TokenBucket(10.0)
    bucket.reserve(0.0, 1)

    waits = [bucket.reserve(1_000_000.0, 1) for _ in range(3)]

    assert [round(wait, 4) for wait in waits] == [0.0, 0.0, 0.1]


@given(
    rate=st.floats(1, 10_000),
    reservations=st.lists(
        st.tuples(st.floats(0, 2), st.integers(1, 2_000)), min_size=1, max_size=60
    ),
)
def test_the_rate_is_never_exceeded_over_any_span(
    rate: float, reservations: list[tuple[float, int]]
) -> None:
    bucket, now, granted = TokenBucket(rate), 0.0, []

    for pause, amount in reservations:
        now += pause
        granted.append((now + bucket.reserve(now, amount), amount))

    for first, (start, _) in enumerate(granted):
        spent = 0
        for moment, amount in granted[first:]:
            assert spent <= rate * (moment - start + 0.1) + amount + 1e-6 + granted[first][1]
            spent += amount


def test_a_request_waits_for_the_scarcer_of_both_rates() -> None:
    limiter = RateLimiter(requests_per_second=1_000, messages_per_second=1_000)
    limiter.reserve(0.0, 1_000)

    assert round(limiter.reserve(0.0, 1), 6) == 0.9


def test_the_ratio_in_use_follows_the_last_second() -> None:
    limiter = RateLimiter(requests_per_second=10, messages_per_second=1_000)
    limiter.tick(0.0)

    for _ in range(5):
        limiter.reserve(0.5, 100)
    limiter.tick(1.0)
    assert (limiter.requests.used_ratio, limiter.messages.used_ratio) == (0.5, 0.5)
    limiter.tick(2.0)

    assert (limiter.requests.used_ratio, limiter.messages.used_ratio) == (0.0, 0.0)


def test_no_more_than_the_limit_are_in_flight_and_the_first_waits_least() -> None:
    async def scenario() -> list[int]:
        concurrency, order = ConcurrencyLimit(2), []

        async def acquire(number: int) -> None:
            await concurrency.acquire()
            order.append(number)

        tasks = [asyncio.create_task(acquire(i)) for i in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == [0, 1]
        concurrency.release()
        concurrency.release()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == [0, 1, 2, 3]


def test_a_cancelled_wait_does_not_leak_a_request_in_flight() -> None:
    async def scenario() -> int:
        concurrency = ConcurrencyLimit(1)
        await concurrency.acquire()
        waiting = [asyncio.create_task(concurrency.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        concurrency.release()
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting[2].cancelled()
        concurrency.release()
        return concurrency.in_flight

    assert asyncio.run(scenario()) == 0


def _full(concurrency: ConcurrencyLimit) -> ConcurrencyLimit:
    concurrency.in_flight = concurrency.limit
    return concurrency


def test_good_responses_at_the_limit_raise_it_to_the_maximum() -> None:
    concurrency = ConcurrencyLimit(16)

    for _ in range(400):
        _full(concurrency).responded(0.05, ok=True)

    assert concurrency.limit == 16


def test_good_responses_below_the_limit_do_not_raise_it() -> None:
    concurrency = ConcurrencyLimit(16)

    for _ in range(400):
        concurrency.responded(0.05, ok=True)

    assert concurrency.limit == 4


def test_failures_halve_the_limit_down_to_one() -> None:
    concurrency = ConcurrencyLimit(16)

    for _ in range(10):
        concurrency.responded(0.05, ok=False)

    assert concurrency.limit == 1


def test_the_limit_falls_when_an_inlet_slows_down_and_rises_again_if_it_stays_slow() -> None:
    concurrency = ConcurrencyLimit(16)
    for _ in range(400):
        _full(concurrency).responded(0.05, ok=True)

    levels = []
    for _ in range(600):
        _full(concurrency).responded(1.0, ok=True)
        levels.append(concurrency.limit)

    assert min(levels) < 10
    assert levels[-1] == 16
