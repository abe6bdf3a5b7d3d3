"""The metrics of one route's deliveries, counted per request and never per event."""

from collections import Counter
from collections.abc import Sequence

from processor.domain.clock import Clock
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reject
from processor.sink.assess import Assessment
from processor.sink.reply import Reply, code_of
from processor.sink.verdict import Cause
from processor.telemetry.metrics import Metrics


class RouteMetrics:
    """Counts what one lane does, under the names of the catalogue."""

    def __init__(self, route: str, metrics: Metrics, clock: Clock) -> None:
        self._route = route
        self._metrics = metrics
        self._clock = clock
        self._held: Cause | None = None
        for result in ("accepted", "refused", "retryable", "unknown"):
            metrics.counter("items", route, result)

    def leaving(self, items: int, size: int, *, again: bool) -> None:
        """Count a request that leaves; `again` says that its events are in doubt."""
        self._metrics.gauge("requests_in_flight", self._route).inc()
        self._metrics.histogram("request_items", self._route).observe(items)
        self._metrics.histogram("request_bytes", self._route).observe(size)
        if again:
            self._metrics.counter("items_resent", self._route).inc(items)

    def back(self) -> None:
        """Count a request that is no longer under way."""
        self._metrics.gauge("requests_in_flight", self._route).dec()

    def answered(self, reply: Reply, seconds: float, found: Assessment, limit: int) -> None:
        """Count a reply, what it said of the events, and the requests now allowed at once."""
        result = "moved" if found.moved else next(iter(found.again)).action.value
        self._metrics.counter("requests", self._route, code_of(reply)).inc()
        self._metrics.histogram("request_duration_seconds", self._route, result).observe(seconds)
        self._metrics.gauge("requests_in_flight_limit", self._route).set(limit)
        for verdict, places in found.again.items():
            said = "unknown" if verdict.doubt else "retryable"
            self._metrics.counter("items", self._route, said).inc(len(places))

    def accepted(self, events: Sequence[ScoreEvent]) -> None:
        """Count accepted events, their delay since Kafka and their age since the score date.

        A record without a Kafka time has no delay.
        """
        now = self._clock.now_ms()
        written = [event.record.timestamp_ms for event in events]
        delays = [(now - ms) / 1000 for ms in written if ms > 0]
        ages = [(now - event.scored_at_ms) / 1000 for event in events]
        self._metrics.counter("items", self._route, "accepted").inc(len(events))
        self._metrics.observe_all(delays, "delivery_delay_seconds", self._route)
        self._metrics.observe_all(ages, "event_age_seconds", self._route)

    def refused(self, rejects: Sequence[Reject]) -> None:
        """Count refused events by reason."""
        self._metrics.counter("items", self._route, "refused").inc(len(rejects))
        for reason, count in Counter(reject.reason.value for reject in rejects).items():
            self._metrics.counter("item_refusals", self._route, reason).inc(count)

    def in_doubt(self, items: int, cause: Cause) -> None:
        """Count events that were sent and whose answer is unknown."""
        self._metrics.counter("items_in_doubt", self._route, cause.value).inc(items)

    def retried(self, cause: Cause) -> None:
        """Count a request that will be sent again."""
        self._metrics.counter("retries", self._route, cause.value).inc()

    def held(self, cause: Cause | None) -> None:
        """Show why the lane is held, or that it is not."""
        if self._held is not None:
            self._metrics.gauge("circuit_open", self._route, self._held.value).set(0)
        if cause is not None:
            self._metrics.gauge("circuit_open", self._route, cause.value).set(1)
        self._held = cause

    def quota(self, requests: float, messages: float) -> None:
        """Show the shares of the inlet's budget in use."""
        self._metrics.gauge("quota_used_ratio", self._route, "requests").set(requests)
        self._metrics.gauge("quota_used_ratio", self._route, "messages").set(messages)
