"""When to try again: one policy for everything that is retried.

Each use has its numbers in a `RetryPolicy`. Delays have full jitter: a delay is drawn evenly from
0 to a ceiling that doubles, so that replicas that failed together do not retry together.
"""

import random
from collections.abc import Callable

import msgspec

from processor.domain.clock import Clock

_MAX_DOUBLINGS = 30
_SPREAD = 0.1

Uniform = Callable[[float, float], float]


class RetryPolicy(msgspec.Struct, frozen=True):
    """How long to wait between attempts, in seconds, and for how long to go on.

    `budget_seconds` counts from the first failure in a row; None means without end.
    """

    first_seconds: float
    max_seconds: float
    budget_seconds: float | None = None

    def ceiling(self, failures: int) -> float:
        """Return the longest delay after `failures` earlier failures in a row."""
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS))

    def delay(self, failures: int, uniform: Uniform = random.uniform) -> float:
        """Return a delay with full jitter."""
        return uniform(0.0, self.ceiling(failures))


NO_DELAY_RETRY = RetryPolicy(first_seconds=0.0, max_seconds=0.0)
"""For a single attempt: no other one waits for it."""


class Retry:
    """The attempts at one thing: how many failed in a row, and when the next one is due."""

    __slots__ = ("_clock", "_due_at", "_first_failed_at", "_policy", "_uniform", "failures")

    def __init__(
        self, policy: RetryPolicy, clock: Clock, *, uniform: Uniform = random.uniform
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._uniform = uniform
        self._due_at = 0.0
        self._first_failed_at = 0.0
        self.failures = 0

    @property
    def due(self) -> bool:
        """Return True where the next attempt may be made now."""
        return self.wait_seconds == 0

    @property
    def wait_seconds(self) -> float:
        """Return the seconds until the next attempt is due; 0 where it is due now."""
        return max(0.0, self._due_at - self._clock.monotonic()) if self.failures else 0.0

    @property
    def exhausted(self) -> bool:
        """Return True where the budget since the first failure in a row is used up."""
        budget = self._policy.budget_seconds
        if budget is None or self.failures == 0:
            return False
        return self._clock.monotonic() - self._first_failed_at >= budget

    def failed(self) -> float:
        """Count a failure and return the delay until the next attempt, in seconds."""
        now = self._clock.monotonic()
        if self.failures == 0:
            self._first_failed_at = now
        delay = self._policy.delay(self.failures, self._uniform)
        self.failures += 1
        self._due_at = now + delay
        return delay

    def succeeded(self) -> None:
        """Start again from the first delay."""
        self.failures = 0


def spread(seconds: float, uniform: Uniform = random.uniform) -> float:
    """Return a fixed delay with up to a tenth on top, so that replicas do not act in step."""
    return seconds * uniform(1.0, 1.0 + _SPREAD)
