"""Admission: a request is sent when the breaker, the requests in flight and the rate permit it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from processor.domain.clock import Clock
from processor.domain.outcome import Cause
from processor.settings import LimitSettings
from processor.sink.limits import CircuitBreaker, ConcurrencyLimit, Permit, RateLimiter
from processor.sink.route_metrics import RouteMetrics

_REASONS: dict[Cause, str] = {
    Cause.AUTH: "the inlet refuses the access token, or requires one",
    Cause.TOKEN: "no access token is granted",
    Cause.INLET: "the inlet's address or settings are wrong",
    Cause.REDIRECT: "the inlet redirects, which is not followed",
    Cause.THROTTLED: "the inlet asks for fewer requests",
    Cause.UNAVAILABLE: "the inlet is unavailable",
    Cause.SERVER: "the inlet fails",
    Cause.SHAPE: "the inlet's answers are not understood",
    Cause.TIMEOUT: "the inlet does not answer in time",
    Cause.RESET: "the inlet resets connections",
    Cause.CONNECT: "the inlet cannot be reached",
    Cause.DNS: "the inlet's host name has no address",
    Cause.ADDRESS: "the inlet's host name resolves to a private address",
    Cause.TLS: "no trusted connection to the inlet can be made",
    Cause.PROXY: "the proxy does not let requests through",
}
_MAX_WAIT_SECONDS = 3600.0


class InletLimits:
    """The rate and the requests in flight of one inlet, shared by the routes to it."""

    def __init__(self, settings: LimitSettings, clock: Clock) -> None:
        self.concurrency = ConcurrencyLimit(settings.max_in_flight)
        self.rate = RateLimiter(settings.requests_per_second, settings.messages_per_second)
        self._clock = clock

    async def acquire(self, messages: int) -> None:
        """Wait until one request of this many messages may be sent, and count it in flight."""
        await self.concurrency.acquire()
        try:
            wait = self.rate.reserve(self._clock.monotonic(), messages)
            if wait > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self.concurrency.release()
            raise


class Admission:
    """Permission to send one request, and where its result is reported.

    An admission that ends without `succeeded`, `failed` or `pause` proved nothing. While the
    breaker is open it is a `probe`, and no other request is admitted beside it.
    """

    __slots__ = ("_breaker", "_clock", "_inlet", "_permit", "probe")

    def __init__(
        self, permit: Permit, breaker: CircuitBreaker, inlet: InletLimits, clock: Clock
    ) -> None:
        self._permit = permit
        self._breaker = breaker
        self._inlet = inlet
        self._clock = clock
        self.probe = permit.probe

    def responded(self, seconds: float, *, ok: bool) -> int:
        """Adapt the concurrency to a response; return the requests that may now be in flight."""
        self._inlet.concurrency.responded(seconds, ok=ok)
        return self._inlet.concurrency.limit

    def succeeded(self) -> None:
        """Report that the inlet did its work."""
        self._breaker.succeeded(self._permit)

    def failed(self, cause: Cause) -> None:
        """Report a failure; enough of them in a row pause the route."""
        self._breaker.failed(self._permit, self._clock.monotonic(), cause)

    def pause(self, cause: Cause, seconds: float | None = None) -> None:
        """Pause the route at once, for `seconds` or by the breaker's policy."""
        self._breaker.pause(self._permit, self._clock.monotonic(), cause, seconds)


class AdmissionControl:
    """Admits the requests of one route in the order they ask, none while the breaker is open.

    `unavailable_reason` is a sentence for people, None while the breaker is closed. `waiting`
    counts the requests that are not yet admitted.
    """

    def __init__(
        self,
        route: str,
        breaker: CircuitBreaker,
        inlet: InletLimits,
        *,
        clock: Clock,
        metrics: RouteMetrics,
    ) -> None:
        self._route = route
        self._breaker = breaker
        self._inlet = inlet
        self._clock = clock
        self._metrics = metrics
        self._order = asyncio.Lock()
        self._changed = asyncio.Event()
        self._published: Cause | None = None
        self.unavailable_reason: str | None = None
        self.waiting = 0

    @asynccontextmanager
    async def admit(self, messages: int) -> AsyncIterator[Admission]:
        """Wait until one request of this many messages may be sent; it is in flight inside."""
        self.waiting += 1
        try:
            async with self._order:
                permit = await self._permitted(messages)
        finally:
            self.waiting -= 1
        try:
            yield Admission(permit, self._breaker, self._inlet, self._clock)
        finally:
            self._inlet.concurrency.release()
            self._breaker.finished(permit)
            self._publish()

    async def changed(self, seconds: float) -> None:
        """Wait until the breaker may have opened or closed, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _permitted(self, messages: int) -> Permit:
        while True:
            await self._breaker_permits()
            await self._inlet.acquire(messages)
            # The breaker may have opened while the inlet's limits made this request wait.
            if self._breaker.wait_seconds(self._clock.monotonic()) == 0:
                return self._breaker.permit()
            self._inlet.concurrency.release()

    async def _breaker_permits(self) -> None:
        while (seconds := self._breaker.wait_seconds(self._clock.monotonic())) > 0:
            await self.changed(min(seconds, _MAX_WAIT_SECONDS))

    def _publish(self) -> None:
        """Wake whoever waits for the breaker; log and count its opening and closing."""
        self._changed.set()
        self._changed = asyncio.Event()
        cause = self._breaker.cause
        if cause is self._published:
            return
        self._published = cause
        self._metrics.paused(cause)
        log = structlog.get_logger()
        if cause is None:
            self.unavailable_reason = None
            log.info("The inlet accepts events again.", code="inlet_available", route=self._route)
            return
        error = _REASONS.get(cause, cause.value)
        self.unavailable_reason = f"{self._route}: {error}"
        log.warning(
            "Sending to the inlet is paused.",
            code="inlet_unavailable",
            route=self._route,
            error=error,
        )
