"""The breaker of a lane: after failures in a row it lets out one probe at a time and no more."""

import math
from typing import NamedTuple

from processor.sink.backoff import Backoff
from processor.sink.verdict import Cause


class Admission(NamedTuple):
    """Leave to send one request; what comes of it is reported with the ticket.

    The news of a request that left before the breaker last changed its mind is stale.
    """

    generation: int
    probe: bool


class CircuitBreaker:
    """Pure state over monotonic seconds that the caller hands in. `cause` is None while closed."""

    def __init__(self, backoff: Backoff, failures: int) -> None:
        self._backoff = backoff
        self._allowed = failures
        self._failures = 0
        self._openings = 0
        self._generation = 0
        self._until = 0.0
        self._probing = False
        self.cause: Cause | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until a request may go: 0 is now, infinity while a probe is out."""
        if self.cause is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._until - now)

    def admit(self) -> Admission:
        """Let one request go; to be called when `wait` says 0."""
        self._probing = self.cause is not None
        return Admission(self._generation, self._probing)

    def succeeded(self, ticket: Admission) -> None:
        """Note that the inlet did its work: a probe closes the breaker."""
        if ticket.generation != self._generation:
            return
        self._failures = 0
        if ticket.probe:
            self.cause = None
            self._openings = 0
            self._turn()

    def returned(self, ticket: Admission) -> None:
        """Note that the request proved nothing; a probe's place is free again."""
        if ticket.generation == self._generation:
            self._probing = False

    def failed(self, ticket: Admission, now: float, cause: Cause) -> None:
        """Note a failure; the last one in a row that is allowed opens the breaker."""
        if ticket.generation != self._generation:
            return
        self._failures += 1
        if ticket.probe or self._failures >= self._allowed:
            self._open(now, cause, None)

    def hold(
        self, ticket: Admission, now: float, cause: Cause, seconds: float | None = None
    ) -> None:
        """Open at once, for so many seconds or by back-off; an open one is only held longer."""
        if self.cause is None or ticket.generation == self._generation:
            self._open(now, cause, seconds)
        elif seconds is not None:
            self._until = max(self._until, now + seconds)

    def _open(self, now: float, cause: Cause, seconds: float | None) -> None:
        if seconds is None:
            seconds = self._backoff.delay(self._openings)
            self._openings += 1
        self.cause = cause
        self._until = now + seconds
        self._failures = 0
        self._turn()

    def _turn(self) -> None:
        self._generation += 1
        self._probing = False
