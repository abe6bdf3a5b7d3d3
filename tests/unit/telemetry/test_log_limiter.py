from processor.telemetry.log_limiter import LogLimiter
from tests.support.clock import ManualClock


def test_one_line_per_period_has_the_number_of_suppressed_ones() -> None:
    clock = ManualClock()
    limiter = LogLimiter(clock, seconds=10)

    assert limiter.due("a") == 0
    assert limiter.due("a") is None
    assert limiter.due("a") is None
    assert limiter.due("b") == 0
    clock.advance(10)

    assert limiter.due("a") == 2
    clock.advance(10)
    assert limiter.due("a") == 0
