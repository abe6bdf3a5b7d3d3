"""The gate of a lane: one request after the other asks the breaker, then the inlet, for leave."""

import asyncio

import structlog

from processor.domain.clock import Clock
from processor.sink.breaker import Admission, CircuitBreaker
from processor.sink.inlet import Inlet
from processor.sink.tally import RouteMetrics
from processor.sink.verdict import Cause

_REASONS: dict[Cause, str] = {
    Cause.AUTH: "the inlet refuses the access token, or wants one",
    Cause.TOKEN: "no access token is to be had",
    Cause.INLET: "the inlet's address or settings are wrong",
    Cause.REDIRECT: "the inlet redirects, which is not followed",
    Cause.THROTTLED: "the inlet asks for fewer requests",
    Cause.UNAVAILABLE: "the inlet is unavailable",
    Cause.SERVER: "the inlet fails",
    Cause.SHAPE: "the inlet's answers are not understood",
    Cause.TIMEOUT: "the inlet does not answer in time",
    Cause.RESET: "the inlet cuts connections",
    Cause.CONNECT: "the inlet cannot be reached",
    Cause.DNS: "the inlet's host name has no address",
    Cause.ADDRESS: "the inlet's host name leads to a private address",
    Cause.TLS: "no trusted connection to the inlet can be made",
    Cause.PROXY: "the proxy does not let requests through",
}
_LONGEST_REST = 3600.0


class AdmissionGate:
    """Lets requests out in the order they came to it, none while the breaker is open.

    `holding` says in plain words why it lets none out; None while it does. `waiting` counts those
    that stand before it.
    """

    def __init__(
        self,
        route: str,
        inlet: Inlet,
        breaker: CircuitBreaker,
        *,
        clock: Clock,
        tally: RouteMetrics,
    ) -> None:
        self._route = route
        self._inlet = inlet
        self._breaker = breaker
        self._clock = clock
        self._tally = tally
        self._turn = asyncio.Lock()
        self._bell = asyncio.Event()
        self._shown: Cause | None = None
        self.unavailable_reason: str | None = None
        self.waiting = 0

    async def enter(self, messages: int) -> Admission:
        """Wait for leave to send one request; to be followed by one `leave`."""
        self.waiting += 1
        try:
            async with self._turn:
                return await self._admitted(messages)
        finally:
            self.waiting -= 1

    def leave(self) -> None:
        """Note that the request is no longer under way."""
        self._inlet.leave()

    def succeeded(self, ticket: Admission) -> None:
        """Note that the inlet did its work."""
        self._breaker.succeeded(ticket)
        self._show()

    def returned(self, ticket: Admission) -> None:
        """Note that the request proved nothing either way."""
        self._breaker.returned(ticket)
        self._show()

    def failed(self, ticket: Admission, cause: Cause) -> None:
        """Note a failure; enough of them in a row close the gate for a while."""
        self._breaker.failed(ticket, self._clock.monotonic(), cause)
        self._show()

    def hold(self, ticket: Admission, cause: Cause, seconds: float | None = None) -> None:
        """Close the gate, for so many seconds or by back-off."""
        self._breaker.hold(ticket, self._clock.monotonic(), cause, seconds)
        self._show()

    async def _admitted(self, messages: int) -> Admission:
        while True:
            await self._breaker_allows()
            await self._inlet.enter(messages)
            if self._breaker.wait(self._clock.monotonic()) == 0:
                return self._breaker.admit()
            self._inlet.leave()

    async def _breaker_allows(self) -> None:
        while (seconds := self._breaker.wait(self._clock.monotonic())) > 0:
            bell = self._bell
            try:
                async with asyncio.timeout(min(seconds, _LONGEST_REST)):
                    await bell.wait()
            except TimeoutError:
                continue

    def _show(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()
        cause = self._breaker.cause
        if cause is self._shown:
            return
        self._shown = cause
        self._tally.held(cause)
        log = structlog.get_logger()
        if cause is None:
            self.unavailable_reason = None
            log.info("The inlet takes events again.", route=self._route)
        else:
            self.unavailable_reason = f"{self._route}: {_REASONS.get(cause, cause.value)}"
            log.warning("The inlet is held off.", route=self._route, reason=_REASONS.get(cause))
