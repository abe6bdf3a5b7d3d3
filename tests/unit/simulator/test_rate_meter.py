from processor.simulator.aep.inlet import RateMeter
from tests.support.clock import ManualClock


def test_a_meter_grants_the_rate_of_one_period_and_refills() -> None:
    clock = ManualClock()
    meter = RateMeter(10, 1.0, clock)

    assert [meter.take(5) for _ in range(3)] == [True, True, False]
    clock.advance(0.5)
    assert [meter.take(5), meter.take(1)] == [True, False]


def test_a_larger_request_is_granted_when_full_and_leaves_a_debt() -> None:
    clock = ManualClock()
    meter = RateMeter(10, 1.0, clock)

    assert meter.take(25)
    clock.advance(1.0)
    assert not meter.take(1)
    clock.advance(1.0)
    assert meter.take(1)


def test_without_limit_everything_is_granted() -> None:
    assert RateMeter(0, 1.0, ManualClock()).take(1_000_000)
