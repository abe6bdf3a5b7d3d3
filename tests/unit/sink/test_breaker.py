import math

from processor.sink.backoff import Backoff
from processor.sink.breaker import CircuitBreaker
from processor.sink.verdict import Cause


def _breaker(failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker(Backoff(1.0, 8.0, uniform=lambda _, high: high), failures)


def _opened() -> CircuitBreaker:
    breaker = _breaker(1)
    breaker.failed(breaker.admit(), 0.0, Cause.SERVER)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = _breaker(3)

    for _ in range(2):
        breaker.failed(breaker.admit(), 0.0, Cause.SERVER)
    breaker.succeeded(breaker.admit())
    for _ in range(2):
        breaker.failed(breaker.admit(), 0.0, Cause.SERVER)
    before = breaker.cause
    breaker.failed(breaker.admit(), 0.0, Cause.RESET)

    assert before is None
    assert breaker.cause is Cause.RESET
    assert breaker.wait(0.0) == 1.0


def test_one_probe_goes_out_and_nothing_beside_it() -> None:
    breaker = _opened()

    before = [breaker.wait(0.5), breaker.wait(1.0)]
    probe = breaker.admit()

    assert before == [0.5, 0]
    assert probe.probe
    assert breaker.wait(1.0) == math.inf


def test_a_good_probe_closes_it() -> None:
    breaker = _opened()

    breaker.succeeded(breaker.admit())

    assert breaker.cause is None
    assert breaker.wait(1.0) == 0


def test_bad_probes_wait_longer_each_time_up_to_the_cap() -> None:
    breaker, now, waits = _opened(), 0.0, []

    for _ in range(5):
        waits.append(breaker.wait(now))
        now += waits[-1]
        breaker.failed(breaker.admit(), now, Cause.SERVER)

    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_news_of_requests_that_left_before_it_opened_is_stale() -> None:
    breaker = _breaker(2)
    early = [breaker.admit() for _ in range(5)]

    for ticket in early[:4]:
        breaker.failed(ticket, 0.0, Cause.SERVER)
    breaker.succeeded(early[4])

    assert breaker.cause is Cause.SERVER
    assert breaker.wait(0.0) == 1.0


def test_a_probe_that_proved_nothing_gives_its_place_back() -> None:
    breaker = _opened()

    breaker.returned(breaker.admit())

    assert breaker.wait(1.0) == 0
    assert breaker.cause is Cause.SERVER


def test_an_asked_wait_holds_at_once_and_costs_no_attempt() -> None:
    breaker = _breaker(3)

    for _ in range(9):
        breaker.hold(breaker.admit(), 0.0, Cause.THROTTLED, 7.0)
    breaker.hold(breaker.admit(), 7.0, Cause.INLET)

    assert breaker.wait(7.0) == 1.0


def test_a_longer_asked_wait_of_an_early_request_prolongs_it() -> None:
    breaker = _breaker()
    early = breaker.admit()

    breaker.hold(breaker.admit(), 0.0, Cause.THROTTLED, 2.0)
    breaker.hold(early, 0.0, Cause.THROTTLED, 5.0)
    breaker.hold(early, 0.0, Cause.THROTTLED, 1.0)

    assert breaker.wait(0.0) == 5.0
