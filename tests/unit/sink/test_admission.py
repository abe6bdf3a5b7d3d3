import asyncio

import pytest

from processor.domain.clock import SystemClock
from processor.domain.outcome import Cause
from processor.domain.retry import RetryPolicy
from processor.settings import LimitSettings
from processor.sink.admission import AdmissionControl, InletLimits
from processor.sink.limits import CircuitBreaker
from processor.sink.route_metrics import RouteMetrics
from processor.telemetry.metrics import Metrics


def _control(inlet: InletLimits | None = None, *, pause_seconds: float = 0.0) -> AdmissionControl:
    clock = SystemClock()
    breaker = CircuitBreaker(RetryPolicy(pause_seconds, pause_seconds), 1)
    inlet = inlet or InletLimits(LimitSettings(), clock)
    metrics = RouteMetrics("churn", Metrics(), clock)
    return AdmissionControl("churn", breaker, inlet, clock=clock, metrics=metrics)


def test_a_request_is_in_flight_inside_its_admission() -> None:
    inlet = InletLimits(LimitSettings(), SystemClock())
    control = _control(inlet)

    async def scenario() -> list[int]:
        async with control.admit(1) as admission:
            inside = inlet.concurrency.in_flight
            assert not admission.probe
        return [inside, inlet.concurrency.in_flight]

    assert asyncio.run(scenario()) == [1, 0]


def test_an_admission_that_fails_with_an_error_is_not_in_flight_either() -> None:
    inlet = InletLimits(LimitSettings(), SystemClock())
    control = _control(inlet)

    async def scenario() -> None:
        async with control.admit(1):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())
    assert inlet.concurrency.in_flight == 0


def test_a_failure_pauses_the_route_and_a_successful_probe_resumes_it() -> None:
    control = _control()

    async def scenario() -> list[str | None]:
        async with control.admit(1) as admission:
            admission.failed(Cause.SERVER)
        reasons = [control.unavailable_reason]
        async with control.admit(1) as admission:
            assert admission.probe
            admission.succeeded()
        return [*reasons, control.unavailable_reason]

    assert asyncio.run(scenario()) == ["churn: the inlet fails", None]


def test_a_probe_that_proves_nothing_is_followed_by_another() -> None:
    control = _control()

    async def scenario() -> list[bool]:
        async with control.admit(1) as admission:
            admission.failed(Cause.SERVER)
        probes = []
        for _ in range(2):
            async with control.admit(1) as admission:
                probes.append(admission.probe)
        return probes

    assert asyncio.run(scenario()) == [True, True]


def test_a_paused_route_does_not_pause_another_route_to_the_inlet() -> None:
    inlet = InletLimits(LimitSettings(), SystemClock())
    paused, other = _control(inlet), _control(inlet)

    async def scenario() -> bool:
        async with paused.admit(1) as admission:
            admission.pause(Cause.INLET, 60)
        waiting = asyncio.create_task(paused.admit(1).__aenter__())
        await asyncio.sleep(0)
        async with asyncio.timeout(5), other.admit(1) as admission:
            admitted = not admission.probe and paused.waiting == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return admitted

    assert asyncio.run(scenario())
