"""When an event is at fault, and not the inlet: the rule for `undeliverable`.

An event that fails alone in its request, whatever the answer, is a suspect. An outage looks the
same from where it stands, so what decides is what happens to the other events of its route. It is
at fault once it failed alone `attempts` times in a row over `seconds`, and during all that time
one of two things held:

- *Hardly anything else waits.* At each of these attempts, `others` events had been accepted since
  it first failed, and no more than one in a hundred of them was waiting. So a scoring run that has
  ended, with all of it accepted but this event, leads to a decision although nothing else is sent.
  An attempt at which this does not hold starts the count again, unless another event was accepted
  since the attempt before.
- *Others go on being accepted.* Attempts count at most once in `seconds / (attempts - 1)`, and only
  where another event was accepted since the attempt before; `others` were accepted in all, or the
  window of batches is full and has no more.

An inlet that fails everything meets neither: no other event is accepted, and those that arrive
wait. A partial outage would have to fail one event at every attempt and accept others between all
of them. What is given up: an event that fails at the end of a run, when all others are accepted,
and whose inlet then fails for all of `seconds` while nothing else arrives. It can be replayed.

No dead lock: a suspect that failed `NAMED_ATTEMPTS` times lets other events in (`needs_others`)
wherever nothing else of its route is under way: an open circuit breaker does not pause intake for
it, and a full window has room for a second one. What remains is a route for which nothing else
arrives: its suspect waits.

Whose events count: those of the route. A wrong flow or dataset makes everything of one route fail
while others to the same inlet are accepted. So the events of other routes to its inlet count only
while no more than `FEW` of the route wait: a route with little traffic would wait for ever.

What is known of a suspect outlives the process (`SuspectHistory`, in the control store): attempts,
their times and the others that were accepted count on after a restart or on another replica.
"""

from collections.abc import Sequence

import msgspec
import structlog

from processor.domain.clock import Clock
from processor.domain.event import RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Cause
from processor.sink.route_metrics import RouteMetrics

NAMED_ATTEMPTS = 3
"""A suspect is named in the log and the metrics from this attempt on."""
NEVER_SENT = frozenset(
    {Cause.CONNECT, Cause.DNS, Cause.ADDRESS, Cause.TLS, Cause.PROXY, Cause.TOKEN}
)
"""Failures before anything was sent: they say nothing about an event."""
FEW = 10
"""The events of other routes to an inlet count for a route while no more of its own wait."""
_OTHERS_PER_WAITING = 100
_LOG_SECONDS = 60.0
_LOGGED_AT_ONCE = 5


class UndeliverableRule(msgspec.Struct, frozen=True):
    """How often, for how long, and beside how many others an event has to fail alone."""

    attempts: int
    seconds: float
    others: int

    @property
    def spacing_seconds(self) -> float:
        """The seconds between attempts that count where others go on being accepted."""
        return self.seconds / (self.attempts - 1)


class Failure(msgspec.Struct, frozen=True):
    """When events first failed, and how many of the route were accepted by then."""

    at: float
    at_ms: int
    accepted: int

    def at_of(self, time_ms: int) -> float:
        """Return the monotonic time of a time, which is at or before this failure's."""
        return self.at - max(0, self.at_ms - time_ms) / 1000

    def ms_of(self, at: float) -> int:
        """Return the time of a monotonic time."""
        return self.at_ms + round((at - self.at) * 1000)


class Evidence(msgspec.Struct, frozen=True):
    """What is known of a route when one of its events has failed alone.

    `accepted` counts since the start, `unsettled` has the event itself in it.
    """

    now: float
    accepted: int
    unsettled: int
    window_full: bool


class Suspect:
    """One event that failed alone in its request, and what happened to others meanwhile.

    `others_work` tells that the inlet works for others, so that this failure is none of the route.
    """

    def __init__(
        self,
        event: ScoreEvent,
        first: Failure,
        rule: UndeliverableRule,
        known: SuspectHistory | None = None,
    ) -> None:
        self.event = event
        self.first = first
        self.attempts = known.attempts if known else 0
        self.others = known.others if known else 0
        self.cause = Cause.NONE
        self.others_work = False
        self.at_fault = False
        self.logged_at = float("-inf")
        self._rule = rule
        self._others_before = self.others
        self._accepted = first.accepted
        self._undisturbed = known.undisturbed if known else 0
        self._undisturbed_since = first.at_of(known.undisturbed_ms) if known else 0.0
        self._spaced = known.spaced if known else 0
        self._spaced_at = first.at_of(known.spaced_ms) if known else 0.0
        if known:
            self.first = Failure(first.at_of(known.since_ms), known.since_ms, first.accepted)

    @property
    def named(self) -> bool:
        """Whether it failed often enough to be named."""
        return self.attempts >= NAMED_ATTEMPTS

    def failed(self, cause: Cause, seen: Evidence) -> None:
        """Record one more failure alone."""
        self.attempts += 1
        self.cause = cause
        self.others = self._others_before + seen.accepted - self.first.accepted
        fresh = self.attempts > 1 and seen.accepted > self._accepted
        self._count_undisturbed(seen, fresh=fresh)
        self._count_spaced(seen, fresh=fresh)
        self._accepted = seen.accepted
        self.others_work = fresh or self._spaced > 1 or self._undisturbed > 0
        self.at_fault = self._is_at_fault(seen)

    def needs_others(self, now: float, accepted: int) -> bool:
        """Return whether only what becomes of another event can show what is at fault."""
        if not self.named or self._undisturbed or accepted > self._accepted:
            return False
        return not self.others_work or now - self._spaced_at >= self._rule.spacing_seconds

    def retried(self) -> RetriedEvent:
        """Return it as others see it."""
        record, route = self.event.record, self.event.route
        first = self.first
        history = SuspectHistory(
            record.timestamp_ms,
            self.attempts,
            first.at_ms,
            self.others,
            self._undisturbed,
            first.ms_of(self._undisturbed_since),
            self._spaced,
            first.ms_of(self._spaced_at),
        )
        return RetriedEvent(record.origin, route, self.attempts, first.at_ms, self.cause, history)

    def _count_undisturbed(self, seen: Evidence, *, fresh: bool) -> None:
        others = self._rule.others
        if self.others < max(others, min(others, _OTHERS_PER_WAITING) * seen.unsettled):
            self._undisturbed = self._undisturbed if fresh else 0
            return
        if self._undisturbed == 0:
            self._undisturbed_since = seen.now
        self._undisturbed += 1

    def _count_spaced(self, seen: Evidence, *, fresh: bool) -> None:
        due = seen.now - self._spaced_at >= self._rule.spacing_seconds
        if self._spaced == 0 or (due and fresh):
            self._spaced += 1
            self._spaced_at = seen.now

    def _is_at_fault(self, seen: Evidence) -> bool:
        rule = self._rule
        lasted = seen.now - self._undisturbed_since >= rule.seconds
        if self._undisturbed >= rule.attempts and lasted:
            return True
        enough = seen.window_full or self.others >= rule.others
        return self._spaced >= rule.attempts and enough


class SuspectReport:
    """Names the suspects of one route in metrics, and in a log line at once and each minute."""

    def __init__(self, route: str, clock: Clock, metrics: RouteMetrics) -> None:
        self._route = route
        self._clock = clock
        self._metrics = metrics
        self._paused_at: float | None = None
        self.retried: tuple[RetriedEvent, ...] = ()
        """What is sent again and again, longest first; replaced as a whole, for other threads."""

    def update(self, suspects: Sequence[Suspect]) -> None:
        """Publish the suspects of now."""
        named = sorted((each for each in suspects if each.named), key=lambda each: each.first.at)
        self.retried = tuple(each.retried() for each in named)
        self._metrics.failing([each.event.record for each in named], _since(self.retried))
        now = self._clock.monotonic()
        for suspect in named[:_LOGGED_AT_ONCE]:
            if now - suspect.logged_at >= _LOG_SECONDS:
                suspect.logged_at = now
                self._log(suspect, now, len(named))

    def paused(self, reason: str | None, oldest: RetriedEvent | None) -> None:
        """Name the oldest event that fails, each minute while the route is paused."""
        now = self._clock.monotonic()
        if reason is None:
            self._paused_at = None
        elif self._paused_at is None:
            self._paused_at = now
        elif oldest is not None and now - self._paused_at >= _LOG_SECONDS:
            self._paused_at = now
            structlog.get_logger().warning(
                "Sending to the inlet is still paused.",
                code="inlet_still_unavailable",
                route=self._route,
                error=reason,
                record=oldest.origin,
                attempts=oldest.attempts,
                seconds=round((self._clock.now_ms() - oldest.since_ms) / 1000),
            )

    def _log(self, suspect: Suspect, now: float, count: int) -> None:
        structlog.get_logger().warning(
            "An event fails alone in its request again and again, and is sent again.",
            code="event_fails_alone",
            route=self._route,
            record=suspect.event.record.origin,
            attempts=suspect.attempts,
            seconds=round(now - suspect.first.at),
            cause=suspect.cause.value,
            accepted=suspect.others,
            events=count,
        )


def _since(retried: Sequence[RetriedEvent]) -> float:
    return min((each.since_ms for each in retried), default=0) / 1000
