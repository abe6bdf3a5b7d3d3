"""What limits the requests to an inlet: its rate, the requests in flight, and a circuit breaker.

All three are state over monotonic seconds that the caller passes in; `admission.py` applies them.
"""

import asyncio
import math
import random
from collections import deque
from typing import NamedTuple

from processor.domain.outcome import Cause
from processor.domain.retry import RetryPolicy, Uniform

_BURST_SECONDS = 0.1
_WINDOW_SECONDS = 1.0
_START_LIMIT = 4
_SLOW_FACTOR = 2.0
_SLOW_DECREASE = 0.9
_FAILURE_DECREASE = 0.5
_SMOOTHING = 0.1


class TokenBucket:
    """An even rate: reservations are granted in the order they are made, each with its wait.

    A reservation may be larger than the burst; those after it wait the longer. Over any span of
    seconds no more than rate * (span + burst) plus one reservation is granted.
    """

    __slots__ = ("_busy_until", "_rate", "_reserved", "_window_start", "used_ratio")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._busy_until = float("-inf")
        self._window_start = float("-inf")
        self._reserved = 0.0
        self.used_ratio = 0.0
        """Share of the rate in use over the last full second."""

    def reserve(self, now: float, amount: float) -> float:
        """Reserve an amount and return the seconds to wait before using it."""
        start = max(self._busy_until, now - _BURST_SECONDS)
        self._busy_until = start + amount / self._rate
        self._reserved += amount
        return max(0.0, start - now)

    def tick(self, now: float) -> None:
        """Bring `used_ratio` up to date; called about once a second."""
        span = max(now - self._window_start, _WINDOW_SECONDS)
        self.used_ratio = self._reserved / (self._rate * span)
        self._window_start = now
        self._reserved = 0.0


class RateLimiter:
    """The requests and the messages per second of one inlet, shared by the routes to it."""

    def __init__(self, requests_per_second: float, messages_per_second: float) -> None:
        self.requests = TokenBucket(requests_per_second)
        self.messages = TokenBucket(messages_per_second)

    def reserve(self, now: float, messages: int) -> float:
        """Reserve one request of this many messages and return the seconds to wait for it."""
        return max(self.requests.reserve(now, 1), self.messages.reserve(now, messages))

    def tick(self, now: float) -> None:
        """Bring the ratios in use up to date."""
        self.requests.tick(now)
        self.messages.tick(now)


class ConcurrencyLimit:
    """Additive increase, multiplicative decrease, between 1 and `maximum`; first in, first out.

    A response twice as slow as usual, or a failure, lowers the limit; a good one while the limit is
    reached raises it by a fraction. What is usual follows what is measured, so an inlet that stays
    slow gets its requests in flight back.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._limit = float(min(maximum, _START_LIMIT))
        self._usual_seconds: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """The requests that may be in flight now."""
        return int(self._limit)

    async def acquire(self) -> None:
        """Wait until one more request may be in flight, and count it."""
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # `release` counted this request already where it set the result before the cancel.
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Count a request less in flight; the first that waits takes its place."""
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def responded(self, seconds: float, *, ok: bool) -> None:
        """Adapt the limit to a response; called before its request is released."""
        if not ok:
            self._limit = max(1.0, self._limit * _FAILURE_DECREASE)
            return
        usual = self._usual_seconds or seconds
        if seconds > _SLOW_FACTOR * usual:
            self._limit = max(1.0, self._limit * _SLOW_DECREASE)
        elif self.in_flight >= self.limit:
            self._limit = min(float(self._maximum), self._limit + 1.0 / self._limit)
        self._usual_seconds = usual + _SMOOTHING * (seconds - usual)


class Permit(NamedTuple):
    """The breaker's permission for one request, with which its result is reported.

    The result of a request from an earlier generation is stale: the breaker opened or closed since.
    """

    generation: int
    probe: bool


class CircuitBreaker:
    """Opens after `max_failures` in a row, and then permits one probe at a time.

    `cause` is None while it is closed. The delays between probes follow `policy`, from its first
    one where the cause is another than before: unlike faults in a row do not add up to a long wait.
    """

    def __init__(
        self, policy: RetryPolicy, max_failures: int, *, uniform: Uniform = random.uniform
    ) -> None:
        self._policy = policy
        self._max_failures = max_failures
        self._uniform = uniform
        self._failures = 0
        self._openings = 0
        self._generation = 0
        self._open_until = 0.0
        self._probing = False
        self.cause: Cause | None = None

    def wait_seconds(self, now: float) -> float:
        """Return the seconds until a request is permitted; infinity while a probe is in flight."""
        if self.cause is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._open_until - now)

    def permit(self) -> Permit:
        """Permit one request; called when `wait_seconds` is 0."""
        self._probing = self.cause is not None
        return Permit(self._generation, self._probing)

    def succeeded(self, permit: Permit) -> None:
        """Record that the inlet did its work; a probe closes the breaker."""
        if permit.generation != self._generation:
            return
        self._failures = 0
        if permit.probe:
            self.cause = None
            self._openings = 0
            self._next_generation()

    def failed(self, permit: Permit, now: float, cause: Cause) -> None:
        """Record a failure; the last permitted one in a row opens the breaker."""
        if permit.generation != self._generation:
            return
        self._failures += 1
        if permit.probe or self._failures >= self._max_failures:
            self._open(now, cause, None)

    def pause(self, permit: Permit, now: float, cause: Cause, seconds: float | None = None) -> None:
        """Open at once, for `seconds` or by the policy; an open one is only prolonged."""
        if self.cause is None or permit.generation == self._generation:
            self._open(now, cause, seconds)
        elif seconds is not None:
            self._open_until = max(self._open_until, now + seconds)

    def finished(self, permit: Permit) -> None:
        """Permit another probe where this one proved nothing; called last for each permit."""
        if permit.generation == self._generation:
            self._probing = False

    def _open(self, now: float, cause: Cause, seconds: float | None) -> None:
        if cause is not self.cause:
            self._openings = 0
        if seconds is None:
            seconds = self._policy.delay(self._openings, self._uniform)
            self._openings += 1
        self.cause = cause
        self._open_until = now + seconds
        self._failures = 0
        self._next_generation()

    def _next_generation(self) -> None:
        self._generation += 1
        self._probing = False
