from processor.simulator.aep.limits import Meter
from tests.support.clock import ManualClock


def test_a_meter_holds_one_periods_worth_and_fills_up_again() -> None:
    clock = ManualClock()
    meter = Meter(10, 1.0, clock)

    assert [meter.take(5) for _ in range(3)] == [True, True, False]
    clock.advance(0.5)
    assert [meter.take(5), meter.take(1)] == [True, False]


def test_a_request_larger_than_the_meter_passes_once_it_is_full_and_leaves_debt() -> None:
    clock = ManualClock()
    meter = Meter(10, 1.0, clock)

    assert meter.take(25)
    clock.advance(1.0)
    assert not meter.take(1)
    clock.advance(1.0)
    assert meter.take(1)


def test_no_limit_takes_everything() -> None:
    assert Meter(0, 1.0, ManualClock()).take(1_000_000)
