"""Who is told what the loop does, and turns it into metrics, once a batch.

What a dataset may hold twice, told completely: which records, by route and cause.

Listed is every event of which a request went out whose answer was not understood (sent again since,
or cut off by a stop), and every event that was accepted but whose record could not be settled here:
its partition left, or the processor stopped. The source tells, likewise completely, of settled
records whose commit was not confirmed.

Not listed is what only a dead process knew. After a kill all that was not committed is read again:
`kafka.max_uncommitted_records` at most. What was remembered of it merges, and is not sent twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import structlog

from processor.batch import Batch
from processor.domain.clock import Clock, Deadline
from processor.domain.event import ScoreEvent
from processor.domain.record import Partition
from processor.telemetry.health import Health, State
from processor.telemetry.metrics import Metrics

_LINE_CHARACTERS = 400
"""A log line is cut at 500 characters; a topic's name has 249 at most."""


class InDoubtEvents(NamedTuple):
    """Some events of one route and cause: `first-last` offsets of their records, and their count.

    `places` is `topic/partition/first-last,...`, a single record `topic/partition/offset`.
    """

    route: str
    cause: str
    places: str
    events: int


class _Run(NamedTuple):
    place: str
    events: int


def in_doubt_events(listed: Iterable[tuple[ScoreEvent, str]]) -> Iterator[InDoubtEvents]:
    """Yield what was listed by route and cause, in as many parts as log lines need."""
    groups: defaultdict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    for event, cause in listed:
        record = event.record
        place = record.topic, record.partition, record.offset
        groups[event.route, str(cause)].append(place)
    for (route, cause), places in sorted(groups.items()):
        for text, events in _lines(_runs(sorted(places))):
            yield InDoubtEvents(route, cause, text, events)


def _runs(places: list[tuple[str, int, int]]) -> Iterator[_Run]:
    """Yield the unbroken runs of offsets; two events of one record stand at one offset."""
    order = {place: at for at, place in enumerate(dict.fromkeys(places))}
    for _, group in groupby(places, lambda place: (*place[:2], place[2] - order[place])):
        run = list(group)
        (topic, number, first), last = run[0], run[-1][2]
        ends = str(first) if first == last else f"{first}-{last}"
        yield _Run(f"{topic}/{number}/{ends}", len(run))


def _lines(runs: Iterable[_Run]) -> Iterator[_Run]:
    text, events = "", 0
    for run in runs:
        if text and len(text) + len(run.place) >= _LINE_CHARACTERS:
            yield _Run(text, events)
            text, events = "", 0
        text = f"{text},{run.place}" if text else run.place
        events += run.events
    if text:
        yield _Run(text, events)


_BALANCE_SECONDS = 1.0
_SENTENCES = {
    State.STARTING: "The processor is starting.",
    State.JOINING: "No partition is assigned yet.",
    State.RESTORING: "What is known of persons is being restored.",
    State.PAUSED: "Intake is held.",
    State.READY: "All is well.",
    State.STOPPING: "The processor is stopping.",
}

log = structlog.get_logger()


class TelemetryObserver:
    """Counts batches and keeps health; the only listener of the loop."""

    def __init__(self, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._held: Mapping[str, str] = {}
        self._state = State.STARTING
        self._balance = Deadline(clock, _BALANCE_SECONDS)

    def turned(self, unsettled: int) -> None:
        """Hear that the loop turned, with so many records under way."""
        self._health.beat()
        self._metrics.gauge("loop_turn_timestamp_seconds").set(self._clock.now_ms() / 1000)
        self._metrics.gauge("records_unsettled").set(unsettled)
        if self._balance.over():
            self._balance = Deadline(self._clock, _BALANCE_SECONDS)
            self._metrics.balance()

    def busy(self, stage: str, seconds: float) -> None:
        """Hear how long a stage took."""
        self._metrics.counter("stage_busy_seconds", stage).inc(seconds)

    def planned(self, batch: Batch) -> None:
        """Hear that a batch is under way."""
        for (name, *labels), count in batch.plan.counts.items():
            self._metrics.counter(name, *labels).inc(count)
        self._metrics.observe_all(batch.plan.ages, "join_match_age_seconds")

    def settled(self, batch: Batch, gone: AbstractSet[Partition]) -> None:
        """Hear that a batch is settled, but for partitions that were no longer ours."""
        for (topic, outcome), count in batch.outcomes(gone).items():
            self._metrics.counter("records_settled", topic, outcome).inc(count)
        for route, events in _by_route(batch.accepted).items():
            self._run(route, events)
        _tell_doubts(batch, gone)

    def abandoned(self, batch: Batch) -> None:
        """Hear that a batch will not be settled here; the sink is closed."""
        records = batch.polled.records
        _tell_doubts(batch, {Partition(each.topic, each.partition) for each in records})

    @contextmanager
    def stopping(self, phase: str) -> Iterator[None]:
        """Hear of a phase of the stop, for as long as it lasts."""
        began = self._clock.monotonic()
        yield
        seconds = round(self._clock.monotonic() - began, 3)
        log.info("A phase of the stop is over.", part=phase, seconds=seconds)

    def stands(self, causes: Mapping[str, str], *, state: State) -> None:
        """Hear where the replica stands, and what intake is held for, by part."""
        if causes != self._held:
            self._tell(causes)
            self._health.paused(causes)
        if state is not self._state:
            self._state = state
            self._health.becomes(state, _SENTENCES[state])

    def _tell(self, causes: Mapping[str, str]) -> None:
        for part in causes.keys() - self._held.keys():
            log.warning("Intake is held.", part=part, reason=causes[part])
        for part in self._held.keys() - causes.keys():
            log.info("Intake goes on.", part=part)
        self._held = dict(causes)

    def _run(self, route: str, events: Sequence[ScoreEvent]) -> None:
        """Show how far the scoring runs of a route have come, and what they say."""
        metrics = self._metrics
        metrics.counter("score_run_records", route).inc(len(events))
        metrics.gauge("score_run_last_seen_timestamp_seconds", route).set(
            self._clock.now_ms() / 1000
        )
        newest = max(event.scored_at_ms for event in events) / 1000
        if newest > metrics.value("score_run_last_date_timestamp_seconds", route):
            metrics.gauge("score_run_last_date_timestamp_seconds", route).set(newest)
        metrics.observe_all((event.score for event in events), "score_value", route)


def _by_route(accepted: Sequence[ScoreEvent]) -> dict[str, list[ScoreEvent]]:
    groups: dict[str, list[ScoreEvent]] = defaultdict(list)
    for event in accepted:
        groups[event.route].append(event)
    return groups


def _tell_doubts(batch: Batch, left: AbstractSet[Partition]) -> None:
    for route, cause, places, events in in_doubt_events(batch.doubts(left)):
        log.warning(
            "Events may be in the dataset twice.",
            route=route,
            cause=cause,
            places=places,
            events=events,
            always=True,
        )
