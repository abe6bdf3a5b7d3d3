"""A real stream between fake components, and records to send through it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from processor.app import Processor
from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.components import Components
from processor.dead_letter.sink import DeadLetterLimit
from processor.domain.clock import rfc3339
from processor.domain.control import ControlStore, InMemoryControlStore
from processor.domain.record import Record
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.observer import TelemetryObserver
from processor.planner import Planner
from processor.stream import Stream
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.fakes import (
    FakeDeadLetterSink,
    FakeReader,
    FakeRepartitionSink,
    FakeSink,
    FakeSource,
    FakeStateStore,
    Steps,
)
from tests.support.settings import settings_with

SCORES, EVENTS = "customer-ai-scores", "experience-events"
FACTS = "customer-ai-facts"
"""A repartition topic, where a test sets one."""
NOW_MS = 1_795_000_000_000
_DAY_MS = 86_400_000


class StreamRun:
    """A real loop, planner and batches between fakes, which record every step in one list."""

    def __init__(
        self,
        polls: Iterable[Sequence[Record]] = (),
        changes: Mapping[str, Any] | None = None,
        control: ControlStore | None = None,
    ) -> None:
        settings = settings_with(changes)
        self.steps: Steps = []
        self.clock = ManualClock(NOW_MS)
        self.source = FakeSource(self.steps, polls)
        self.sink = FakeSink(self.steps)
        self.dead_letters = FakeDeadLetterSink(self.steps, DeadLetterLimit(settings.dead_letter))
        self.state_store = FakeStateStore(self.steps)
        self.repartition = FakeRepartitionSink(self.steps)
        self.control = control or InMemoryControlStore()
        self.metrics = Metrics()
        self.health = Health(self.metrics, self.clock, 60)
        self.reader = FakeReader(
            InputReader(settings, schema_source(settings.registry, self.clock))
        )
        enricher = Enricher(settings, compile_schemas(settings))
        self.components = Components(
            self.source,
            self.sink,
            self.dead_letters,
            self.state_store,
            self.repartition,
            self.control,
        )
        self.observer = TelemetryObserver(self.metrics, self.health, self.clock)
        self.stream = Stream(
            self.components,
            Planner(self.reader, enricher, settings.join),
            settings=settings,
            observer=self.observer,
            clock=self.clock,
        )

    def finish(self) -> bool:
        """Run until everything that was queued is settled, then stop; returns whether all is."""
        return self.stream.run(until=lambda: not self.source.polls and not self.stream.unsettled)

    @property
    def processor(self) -> Processor:
        """The stream with all its components, to be run and closed as a whole."""
        return Processor(self.stream, self.components, self.observer, self.clock, 1.0)

    def start(self) -> None:
        """Join the group, for tests that run the loop step by step."""
        self.source.start(self.stream)


def score_record(offset: int, *, person: int = 1, days_ago: int = 7, **leaves: Any) -> Record:  # noqa: ANN401
    """Return a score record as Customer AI writes it, with leaves changed as asked."""
    date = rfc3339((NOW_MS // _DAY_MS - days_ago) * _DAY_MS)
    model = {"score": 82.0, "probability": 0.4, "percentileScore": 92, "scoreDate": date}
    content = {
        "identityMap": {"ECID": [{"id": f"{person:038d}"}]},
        "_acme": {"CustomerAI": {"LikelihoodToUpgradeAccount": {**model, **leaves}}},
    }
    value = json.dumps(content).encode()
    return Record(SCORES, 0, offset, NOW_MS, b"%d" % person, value)


def event_record(
    offset: int, *, person: int = 1, days_ago: float = 8, page: str = "Home"
) -> Record:
    """Return an experience event: a page view."""
    content = {
        "_id": f"event-{offset}",
        "timestamp": rfc3339(round(NOW_MS - days_ago * _DAY_MS)),
        "eventType": "web.webpagedetails.pageViews",
        "identityMap": {"ECID": [{"id": f"{person:038d}"}]},
        "web": {"webPageDetails": {"name": page, "pageViews": {"value": 1}}},
    }
    return Record(EVENTS, 0, offset, NOW_MS, b"%d" % person, json.dumps(content).encode())


def turn(run: StreamRun, times: int = 6) -> None:
    """Turn the loop, with a fifth of a second between turns."""
    for _ in range(times):
        run.stream.run_once()
        run.clock.advance(0.2)


def started(run: StreamRun) -> StreamRun:
    """Start a run and turn it; return it."""
    run.start()
    turn(run)
    return run
