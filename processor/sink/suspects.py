"""The suspects of a route: records what fails alone, and refuses what is at fault.

The rule is in `suspect.py`; the worker asks here after each response.
"""

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from processor.domain.clock import Clock
from processor.domain.event import RetriedEvent
from processor.domain.outcome import Cause, Reason, Reject, Stage
from processor.sink.packing import InletRequest
from processor.sink.route_metrics import RouteMetrics
from processor.sink.suspect import (
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
    `window_full` is set from outside: the window of batches has no room for others.
    """

    def __init__(
        self, route: str, rule: UndeliverableRule, *, clock: Clock, metrics: RouteMetrics
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._metrics = metrics
        self._report = SuspectReport(route, clock, metrics)
        self._accepted = 0
        self.needs_others = False
        self.window_full = False

    @property
    def retried(self) -> tuple[RetriedEvent, ...]:
        """The events that fail alone again and again, longest first."""
        return self._report.retried

    def accepted(self, count: int) -> None:
        """Count accepted events."""
        self._accepted += count

    def failure(self) -> Failure:
        """Return what is noted of events whose first failure is now."""
        return Failure(self._clock.monotonic(), self._clock.now_ms(), self._accepted)

    def failed_alone(self, part: InletRequest, cause: Cause, unsettled: int) -> InletRequest:
        """Record the failure of a request of one event; return it so marked."""
        if cause in NEVER_SENT:
            return part
        first = part.first or self.failure()
        suspect = part.suspect or Suspect(part.events[0], first, self._rule)
        now = self._clock.monotonic()
        suspect.failed(cause, Evidence(now, self._accepted, unsettled, self.window_full))
        return replace(part, first=first, suspect=suspect)

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
        self.needs_others = unsettled == sum(suspect.named for suspect in suspects) and any(
            suspect.needs_others(now, self._accepted) for suspect in suspects
        )
        self._report.update(suspects)
        failed = [request for request in outstanding if request.first]
        oldest = min(failed, key=_failed_at).retried() if failed else None
        self._report.paused(paused, oldest)


def _failed_at(request: InletRequest) -> float:
    return request.first.at if request.first else 0.0
