import math

from processor.domain.outcome import Cause
from processor.domain.retry import RetryPolicy
from processor.sink.limits import CircuitBreaker


def _breaker(failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker(RetryPolicy(1.0, 8.0), failures, uniform=lambda _, high: high)


def _opened() -> CircuitBreaker:
    breaker = _breaker(1)
    breaker.failed(breaker.permit(), 0.0, Cause.SERVER)
    return breaker


def test_failures_in_a_row_open_it_unless_a_success_is_between_them() -> None:
    breaker = _breaker(3)

    for _ in range(2):
        breaker.failed(breaker.permit(), 0.0, Cause.SERVER)
    breaker.succeeded(breaker.permit())
    for _ in range(2):
        breaker.failed(breaker.permit(), 0.0, Cause.SERVER)
    before = breaker.cause
    breaker.failed(breaker.permit(), 0.0, Cause.RESET)

    assert before is None
    assert breaker.cause is Cause.RESET
    assert breaker.wait_seconds(0.0) == 1.0


def test_only_one_probe_is_permitted_at_a_time() -> None:
    breaker = _opened()

    before = [breaker.wait_seconds(0.5), breaker.wait_seconds(1.0)]
    probe = breaker.permit()

    assert before == [0.5, 0]
    assert probe.probe
    assert breaker.wait_seconds(1.0) == math.inf


def test_a_successful_probe_closes_it() -> None:
    breaker = _opened()

    breaker.succeeded(breaker.permit())

    assert breaker.cause is None
    assert breaker.wait_seconds(1.0) == 0


def test_failed_probes_wait_longer_each_time_up_to_the_cap() -> None:
    breaker, now, waits = _opened(), 0.0, []

    for _ in range(5):
        waits.append(breaker.wait_seconds(now))
        now += waits[-1]
        breaker.failed(breaker.permit(), now, Cause.SERVER)

    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_results_of_requests_sent_before_it_opened_are_ignored() -> None:
    breaker = _breaker(2)
    early = [breaker.permit() for _ in range(5)]

    for permit in early[:4]:
        breaker.failed(permit, 0.0, Cause.SERVER)
    breaker.succeeded(early[4])

    assert breaker.cause is Cause.SERVER
    assert breaker.wait_seconds(0.0) == 1.0


def test_a_probe_that_proved_nothing_permits_another() -> None:
    breaker = _opened()

    breaker.finished(breaker.permit())

    assert breaker.wait_seconds(1.0) == 0
    assert breaker.cause is Cause.SERVER


def test_a_requested_pause_opens_at_once_and_is_not_a_failure() -> None:
    breaker = _breaker(3)

    for _ in range(9):
        breaker.pause(breaker.permit(), 0.0, Cause.THROTTLED, 7.0)
    breaker.pause(breaker.permit(), 7.0, Cause.INLET)

    assert breaker.wait_seconds(7.0) == 1.0


def test_a_longer_requested_pause_of_an_earlier_request_prolongs_it() -> None:
    breaker = _breaker()
    early = breaker.permit()

    breaker.pause(breaker.permit(), 0.0, Cause.THROTTLED, 2.0)
    breaker.pause(early, 0.0, Cause.THROTTLED, 5.0)
    breaker.pause(early, 0.0, Cause.THROTTLED, 1.0)

    assert breaker.wait_seconds(0.0) == 5.0


def test_unlike_faults_in_a_row_do_not_add_up_to_a_long_wait() -> None:
    breaker, now, waits = _opened(), 0.0, []

    for cause in (Cause.THROTTLED, Cause.UNAVAILABLE, Cause.RESET) * 3:
        now += breaker.wait_seconds(now)
        breaker.failed(breaker.permit(), now, cause)
        waits.append(breaker.wait_seconds(now))
        now += waits[-1]
        breaker.pause(breaker.permit(), now, Cause.AUTH, 1.0)
        waits.append(breaker.wait_seconds(now))

    assert waits == [1.0] * 18


def test_a_requested_pause_is_kept_and_no_longer_than_asked_for_after_unlike_faults() -> None:
    breaker = _opened()

    breaker.failed(breaker.permit(), 1.0, Cause.RESET)
    breaker.pause(breaker.permit(), 2.0, Cause.THROTTLED, 20.0)
    before, after = breaker.wait_seconds(21.9), breaker.wait_seconds(22.0)
    breaker.failed(breaker.permit(), 22.0, Cause.RESET)

    assert before > 0
    assert after == 0
    assert breaker.wait_seconds(22.0) == 1.0
