"""The metrics of one route's deliveries, counted per request and never per event."""

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus

from processor.domain.clock import Clock
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause, Reject
from processor.domain.record import Record
from processor.http.transport import Reply, TransportFault
from processor.sink.response import Assessment
from processor.telemetry.catalogue import (
    CIRCUIT_OPEN,
    DELIVERY_DELAY_SECONDS,
    EVENT_AGE_SECONDS,
    FAILING_RECORD_INFO,
    FAILING_RECORDS,
    FAILING_SINCE_TIMESTAMP_SECONDS,
    ITEM_REFUSALS,
    ITEMS,
    ITEMS_IN_DOUBT,
    ITEMS_RESENT,
    QUOTA_USED_RATIO,
    REQUEST_BYTES,
    REQUEST_DURATION_SECONDS,
    REQUEST_ITEMS,
    REQUESTS,
    REQUESTS_IN_FLIGHT,
    REQUESTS_IN_FLIGHT_LIMIT,
    RETRIES,
)
from processor.telemetry.labels import ItemResult, Quota
from processor.telemetry.metrics import Metrics

_KNOWN_STATUSES = frozenset(status.value for status in HTTPStatus)


def code_of(reply: Reply) -> str:
    """Name a reply for a metric: a known status, the class of an unknown one, or the fault."""
    if isinstance(reply, TransportFault):
        return reply.value
    return str(reply.status) if reply.status in _KNOWN_STATUSES else f"{reply.status // 100}xx"


class RouteMetrics:
    """Counts the requests and events of one route, under the names of the catalogue."""

    def __init__(self, route: str, metrics: Metrics, clock: Clock) -> None:
        self._route = route
        self._metrics = metrics
        self._clock = clock
        self._paused: Cause | None = None
        self._failing: str | None = None

    def started(self, items: int, size: int, *, resent: bool) -> None:
        """Count a request that starts; `resent` tells that its events are in doubt."""
        self._metrics.gauge(REQUESTS_IN_FLIGHT, self._route).inc()
        self._metrics.histogram(REQUEST_ITEMS, self._route).observe(items)
        self._metrics.histogram(REQUEST_BYTES, self._route).observe(size)
        if resent:
            self._metrics.counter(ITEMS_RESENT, self._route).inc(items)

    def finished(self) -> None:
        """Count a request that is no longer in flight."""
        self._metrics.gauge(REQUESTS_IN_FLIGHT, self._route).dec()

    def responded(self, reply: Reply, seconds: float, found: Assessment, limit: int) -> None:
        """Count a reply, the events it leaves to be sent again, and the limit of concurrency."""
        self._metrics.counter(REQUESTS, self._route, code_of(reply)).inc()
        self._metrics.histogram(REQUEST_DURATION_SECONDS, self._route).observe(seconds)
        self._metrics.gauge(REQUESTS_IN_FLIGHT_LIMIT, self._route).set(limit)
        for verdict, indexes in found.retry.items():
            items = ItemResult.UNKNOWN if verdict.in_doubt else ItemResult.RETRYABLE
            self._metrics.counter(ITEMS, self._route, items).inc(len(indexes))

    def accepted(self, events: Sequence[ScoreEvent]) -> None:
        """Count accepted events, their delay since Kafka and their age since the score date.

        A record without a Kafka time has no delay.
        """
        now = self._clock.now_ms()
        written = [event.record.timestamp_ms for event in events]
        delays = [(now - ms) / 1000 for ms in written if ms > 0]
        ages = [(now - event.scored_at_ms) / 1000 for event in events]
        self._metrics.counter(ITEMS, self._route, ItemResult.ACCEPTED).inc(len(events))
        self._metrics.observe_all(delays, DELIVERY_DELAY_SECONDS, self._route)
        self._metrics.observe_all(ages, EVENT_AGE_SECONDS, self._route)

    def refused(self, rejects: Sequence[Reject]) -> None:
        """Count refused events by reason."""
        self._metrics.counter(ITEMS, self._route, ItemResult.REFUSED).inc(len(rejects))
        for reason, count in Counter(reject.reason for reject in rejects).items():
            self._metrics.counter(ITEM_REFUSALS, self._route, reason).inc(count)

    def in_doubt(self, items: int, cause: Cause) -> None:
        """Count events that were sent and whose answer is unknown."""
        self._metrics.counter(ITEMS_IN_DOUBT, self._route, cause).inc(items)

    def retried(self, cause: Cause) -> None:
        """Count a request that will be sent again."""
        self._metrics.counter(RETRIES, self._route, cause).inc()

    def failing(self, records: Sequence[Record], since: float) -> None:
        """Set the records whose events fail alone, longest first, and since when the first does."""
        first = records[0].origin if records else None
        if self._failing is not None and self._failing != first:
            self._metrics.forget(FAILING_RECORD_INFO, self._route, self._failing)
        if first is not None:
            self._metrics.gauge(FAILING_RECORD_INFO, self._route, first).set(1)
        self._failing = first
        self._metrics.gauge(FAILING_RECORDS, self._route).set(len(records))
        self._metrics.gauge(FAILING_SINCE_TIMESTAMP_SECONDS, self._route).set(since)

    def paused(self, cause: Cause | None) -> None:
        """Set why the route is paused, or that it is not."""
        if self._paused is not None:
            self._metrics.gauge(CIRCUIT_OPEN, self._route, self._paused).set(0)
        if cause is not None:
            self._metrics.gauge(CIRCUIT_OPEN, self._route, cause).set(1)
        self._paused = cause

    def quota(self, requests: float, messages: float) -> None:
        """Set the ratios of the inlet's rates in use."""
        self._metrics.gauge(QUOTA_USED_RATIO, self._route, Quota.REQUESTS).set(requests)
        self._metrics.gauge(QUOTA_USED_RATIO, self._route, Quota.MESSAGES).set(messages)
