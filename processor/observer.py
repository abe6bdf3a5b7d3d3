"""Turns what the loop does into metrics, health and log lines, once a batch.

The log lists every event that a dataset may hold twice, by route, cause and the offsets of its
records: events whose request was sent and whose response was not understood (they are sent again,
or a stop ended the attempt), and accepted events whose record was not settled here because its
partition was revoked or the processor stopped. The source lists settled records whose commit was
not confirmed.

What only a killed process knew is not listed: everything uncommitted is read again,
`kafka.max_uncommitted_records` at most. Scores whose state was stored are duplicates and are not
sent again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import structlog

from processor.backpressure import PauseReason
from processor.batch import Batch
from processor.domain.clock import Clock, Deadline, rfc3339
from processor.domain.errors import StopCause
from processor.domain.event import ScoreEvent
from processor.domain.record import Partition
from processor.telemetry.catalogue import (
    JOIN_MATCH_AGE_SECONDS,
    LOOP_TURN_TIMESTAMP_SECONDS,
    PAUSED_AT_LIMIT,
    PAUSED_SECONDS,
    PAUSED_SINCE_TIMESTAMP_SECONDS,
    RECORDS_SETTLED,
    RECORDS_UNSETTLED,
    SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS,
    SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS,
    SCORE_RUN_RECORDS,
    SCORE_VALUE,
    STAGE_BUSY_SECONDS,
)
from processor.telemetry.health import Health, Pause
from processor.telemetry.labels import LoopStage, PauseCause, State
from processor.telemetry.metrics import Metrics

_RANGES_CHARACTERS = 400
"""A log field is cut at 500 characters; a topic's name has 249 at most."""


class InDoubtEvents(NamedTuple):
    """Events of one route and cause, by the offset ranges of their records.

    `ranges` is `topic/partition/first-last,...`; a single offset is `topic/partition/offset`.
    """

    route: str
    cause: str
    ranges: str
    events: int


class _Began(NamedTuple):
    monotonic: float
    time: str


class _Range(NamedTuple):
    text: str
    events: int


def in_doubt_events(listed: Iterable[tuple[ScoreEvent, str]]) -> Iterator[InDoubtEvents]:
    """Yield events and causes grouped by route and cause, in as many parts as log lines need."""
    groups: defaultdict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    for event, cause in listed:
        record = event.record
        groups[event.route, str(cause)].append((record.topic, record.partition, record.offset))
    for (route, cause), positions in sorted(groups.items()):
        for text, events in _joined(_ranges(sorted(positions))):
            yield InDoubtEvents(route, cause, text, events)


def _ranges(positions: list[tuple[str, int, int]]) -> Iterator[_Range]:
    """Yield the unbroken ranges of offsets; two events of one record have one offset."""
    # Within an unbroken range the offset grows as the index does, so their difference is constant.
    order = {position: index for index, position in enumerate(dict.fromkeys(positions))}
    for _, group in groupby(positions, lambda each: (*each[:2], each[2] - order[each])):
        run = list(group)
        (topic, partition, first), last = run[0], run[-1][2]
        offsets = str(first) if first == last else f"{first}-{last}"
        yield _Range(f"{topic}/{partition}/{offsets}", len(run))


def _joined(ranges: Iterable[_Range]) -> Iterator[_Range]:
    text, events = "", 0
    for each in ranges:
        if text and len(text) + len(each.text) >= _RANGES_CHARACTERS:
            yield _Range(text, events)
            text, events = "", 0
        text = f"{text},{each.text}" if text else each.text
        events += each.events
    if text:
        yield _Range(text, events)


_BALANCE_SECONDS = 1.0
_REASONS = {
    State.STARTING: "The processor is starting.",
    State.JOINING: "No partition is assigned yet.",
    State.IDLE: "Ready, without partitions: the group has more members than partitions.",
    State.RESTORING: "Person state is being restored.",
    State.PAUSED: "Intake is paused.",
    State.READY: "Ready.",
    State.STOPPING: "The processor is stopping.",
}

log = structlog.get_logger()


class TelemetryObserver:
    """Counts batches, keeps health up to date and logs; the observer of the loop."""

    def __init__(self, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._reasons: Mapping[PauseCause, PauseReason] = {}
        self._paused_at: dict[PauseCause, _Began] = {}
        self._checked = clock.monotonic()
        self._state = State.STARTING
        self._balance = Deadline(clock, _BALANCE_SECONDS)

    def loop_turned(self, unsettled: int) -> None:
        """Called at the end of every turn of the loop, with the number of unsettled records."""
        self._health.beat()
        self._metrics.gauge(LOOP_TURN_TIMESTAMP_SECONDS).set(self._clock.now_ms() / 1000)
        self._metrics.gauge(RECORDS_UNSETTLED).set(unsettled)
        if self._balance.over():
            self._balance = Deadline(self._clock, _BALANCE_SECONDS)
            self._metrics.balance()

    def stage_took(self, stage: LoopStage, seconds: float) -> None:
        """Called with the time a stage of the loop took."""
        self._metrics.counter(STAGE_BUSY_SECONDS, stage).inc(seconds)

    def batch_planned(self, batch: Batch) -> None:
        """Called when a batch is planned and its delivery starts."""
        for metric, labels, count in batch.plan.counts:
            self._metrics.counter(metric, *labels).inc(count)
        self._metrics.observe_all(batch.plan.ages, JOIN_MATCH_AGE_SECONDS)

    def batch_settled(self, batch: Batch, revoked: AbstractSet[Partition]) -> None:
        """Called when a batch is settled, except for the records of `revoked` partitions."""
        for (topic, outcome), count in batch.outcomes(revoked).items():
            self._metrics.counter(RECORDS_SETTLED, topic, outcome).inc(count)
        by_route: dict[str, list[ScoreEvent]] = defaultdict(list)
        for event in batch.accepted:
            by_route[event.route].append(event)
        for route, events in by_route.items():
            self._count_scoring_run(route, events)
        _log_in_doubt(batch, revoked)

    def batch_abandoned(self, batch: Batch) -> None:
        """Called with a batch that is not settled when the processor stops; the sink is closed."""
        records = batch.poll.records
        _log_in_doubt(batch, {Partition(each.topic, each.partition) for each in records})

    @contextmanager
    def stop_phase(self, phase: str) -> Iterator[None]:
        """Return a context that measures a phase of the stop."""
        began = self._clock.monotonic()
        yield
        seconds = round(self._clock.monotonic() - began, 3)
        log.info("A stop phase has ended.", code="stop_phase_ended", phase=phase, seconds=seconds)

    def status_checked(self, paused: Mapping[PauseCause, PauseReason], *, state: State) -> None:
        """Called on every turn with the reasons why intake is paused, and the state."""
        now = self._clock.monotonic()
        passed, self._checked = now - self._checked, now
        for cause in self._reasons:
            self._metrics.counter(PAUSED_SECONDS, cause).inc(passed)
        if paused != self._reasons:
            for limit in StopCause:
                self._metrics.gauge(PAUSED_AT_LIMIT, limit).set(PauseCause(limit) in paused)
            self._note_changes(paused, now)
        if state is not self._state:
            self._state = state
            self._health.set_state(state, _REASONS[state])

    def _note_changes(self, paused: Mapping[PauseCause, PauseReason], now: float) -> None:
        """Log what began and ended, and let health and metrics name what is paused since when."""
        now_ms = self._clock.now_ms()
        for cause in paused.keys() - self._reasons.keys():
            reason, partitions, known_ms = paused[cause]
            since_ms = now_ms if known_ms is None else known_ms
            self._paused_at[cause] = _Began(now, rfc3339(since_ms))
            self._metrics.gauge(PAUSED_SINCE_TIMESTAMP_SECONDS, cause).set(since_ms / 1000)
            log.warning(
                "Intake is paused.",
                code="intake_paused",
                part=cause,
                error=reason,
                kind=reason,
                partition_count=partitions,
            )
        for cause in self._reasons.keys() - paused.keys():
            seconds = round(now - self._paused_at.pop(cause).monotonic, 1)
            self._metrics.gauge(PAUSED_SINCE_TIMESTAMP_SECONDS, cause).set(0)
            log.info("Intake has resumed.", code="intake_resumed", part=cause, seconds=seconds)
        self._reasons = dict(paused)
        self._health.set_paused(
            [
                Pause(cause, reason, self._paused_at[cause].time, partitions)
                for cause, (reason, partitions, _) in paused.items()
            ]
        )

    def _count_scoring_run(self, route: str, events: Sequence[ScoreEvent]) -> None:
        """Count delivered scores of a route, and keep the newest score date and the scores."""
        metrics = self._metrics
        metrics.counter(SCORE_RUN_RECORDS, route).inc(len(events))
        metrics.gauge(SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS, route).set(self._clock.now_ms() / 1000)
        newest = max(event.scored_at_ms for event in events) / 1000
        if newest > metrics.value(SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS, route):
            metrics.gauge(SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS, route).set(newest)
        metrics.observe_all((event.score for event in events), SCORE_VALUE, route)


def _log_in_doubt(batch: Batch, uncommitted: AbstractSet[Partition]) -> None:
    for route, cause, ranges, events in in_doubt_events(batch.in_doubt(uncommitted)):
        log.warning(
            "Events may be in the dataset twice.",
            code="events_in_doubt",
            route=route,
            cause=cause,
            ranges=ranges,
            events=events,
            always=True,
        )
