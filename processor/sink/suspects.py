"""The suspects of a route: records what fails alone, and refuses what is at fault.

The rule is in `suspect.py`; the worker asks here after each response.
"""

from collections.abc import Mapping, Sequence

import structlog
from msgspec.structs import replace

from processor.domain.clock import Clock
from processor.domain.event import RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Cause, Reason, Reject, Stage
from processor.sink.packing import InletRequest
from processor.sink.route_metrics import RouteMetrics
from processor.sink.suspect import (
    FEW,
    NEVER_SENT,
    Evidence,
    Failure,
    Suspect,
    SuspectReport,
    UndeliverableRule,
)


class RouteSuspects:
    """Counts what a route's inlet accepts, and judges the events that fail alone beside it.

    `needs_others` tells that only other events can show what is at fault: they are to be let in.
    `window_full` is set from outside: the window of batches has no room for others. So are
    `siblings`, the suspects of the other routes to the inlet, and `known`, the histories of events
    that other replicas, or this one before its start, have sent.
    """

    def __init__(
        self, route: str, rule: UndeliverableRule, *, clock: Clock, metrics: RouteMetrics
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._metrics = metrics
        self._report = SuspectReport(route, clock, metrics)
        self._accepted = 0
        self._few_wait = False
        self.needs_others = False
        self.window_full = False
        self.siblings: Sequence[RouteSuspects] = ()
        self.known: Mapping[str, SuspectHistory] = {}

    @property
    def retried(self) -> tuple[RetriedEvent, ...]:
        """The events that fail alone again and again, longest first."""
        return self._report.retried

    def accepted(self, count: int) -> None:
        """Count accepted events, also for other routes to the inlet of which few wait."""
        self._accepted += count
        for sibling in self.siblings:
            if sibling._few_wait:  # noqa: SLF001  of the same class
                sibling._accepted += count  # noqa: SLF001  of the same class

    def failure(self) -> Failure:
        """Return what is noted of events whose first failure is now."""
        return Failure(self._clock.monotonic(), self._clock.now_ms(), self._accepted)

    def failed_alone(self, part: InletRequest, cause: Cause, unsettled: int) -> InletRequest:
        """Record the failure of a request of one event; return it so marked."""
        if cause in NEVER_SENT:
            return part
        self._few_wait = unsettled <= FEW
        first = part.first or self.failure()
        suspect = part.suspect or self._suspect(part.events[0], first)
        now = self._clock.monotonic()
        suspect.failed(cause, Evidence(now, self._accepted, unsettled, self.window_full))
        return replace(part, first=suspect.first, suspect=suspect)

    def _suspect(self, event: ScoreEvent, first: Failure) -> Suspect:
        known = self.known.get(f"{event.route}/{event.record.origin}")
        if known is not None and known.written_ms != event.record.timestamp_ms:
            known = None
        return Suspect(event, first, self._rule, known)

    def refuse(self, part: InletRequest, suspect: Suspect) -> None:
        """Refuse an event that is at fault; it may be in the dataset all the same."""
        (event,), (delivery,) = part.events, part.deliveries
        structlog.get_logger().error(
            "An event is refused as undeliverable: it failed alone while others were accepted.",
            code="event_undeliverable",
            route=event.route,
            record=event.record.origin,
            attempts=suspect.attempts,
            seconds=round(self._clock.monotonic() - suspect.first.at),
            cause=suspect.cause.value,
            accepted=suspect.others,
            always=True,
        )
        detail = (
            f"The inlet failed at this event {suspect.attempts} times, alone in its request, and "
            f"accepted {suspect.others} others meanwhile. The last answer: {suspect.cause}."
        )
        if not part.in_doubt:
            self._metrics.in_doubt(1, Cause.UNDELIVERABLE)
        delivery.doubt(event, Cause.UNDELIVERABLE)
        reject = Reject(Stage.DELIVER, Reason.UNDELIVERABLE, detail, model=event.model)
        self._metrics.refused([reject])
        delivery.refuse(event, reject)

    def update(
        self, outstanding: Sequence[InletRequest], *, unsettled: int, paused: str | None
    ) -> None:
        """Report what fails, and whether others are needed; called about once a second."""
        suspects = [request.suspect for request in outstanding if request.suspect]
        now = self._clock.monotonic()
        self._few_wait = unsettled <= FEW
        self.needs_others = unsettled == sum(suspect.named for suspect in suspects) and any(
            suspect.needs_others(now, self._accepted) for suspect in suspects
        )
        self._report.update(suspects)
        failed = [request for request in outstanding if request.first]
        oldest = min(failed, key=_failed_at).retried() if failed else None
        self._report.paused(paused, oldest)


def _failed_at(request: InletRequest) -> float:
    return request.first.at if request.first else 0.0
