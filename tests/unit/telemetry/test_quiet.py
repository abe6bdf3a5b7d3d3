from processor.telemetry.log_limiter import LogLimiter
from tests.support.clock import ManualClock


def test_one_line_in_a_while_tells_how_many_were_kept_back() -> None:
    clock = ManualClock()
    quiet = LogLimiter(clock, seconds=10)

    assert quiet.due("a") == 0
    assert quiet.due("a") is None
    assert quiet.due("a") is None
    assert quiet.due("b") == 0
    clock.advance(10)

    assert quiet.due("a") == 2
    clock.advance(10)
    assert quiet.due("a") == 0
