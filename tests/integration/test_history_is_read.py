"""The generated history is read as expected: good records are accepted, bad ones rejected."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.domain.clock import SystemClock
from processor.domain.errors import RejectError, UnavailableError
from processor.domain.outcome import ContextStatus, Reason
from processor.domain.record import Record
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.settings import Settings
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import SimulatedEnvironment
from processor.simulator.history.history import EXPECTED_REASONS, BadRecord, history
from processor.simulator.history.settings import HistorySettings, InputRecord
from tests.support.enriching import body_of


class CodecAndEnrich:
    """Codec and enrich with the settings of a simulated environment."""

    def __init__(self, settings: Settings, now_ms: int) -> None:
        self.reader = InputReader(settings, schema_source(settings.registry, SystemClock()))
        self.enricher = Enricher(settings, compile_schemas(settings))
        self.now_ms = now_ms

    def events(self, sent: InputRecord) -> list[str]:
        """Return the routes of a score record's events; RejectError where anything is bad."""
        record = Record(sent.topic, 0, 0, sent.timestamp_ms, sent.key, sent.value)
        self.reader.fetch_schemas([record])
        reading = self.reader.read(record)
        assert reading.rejects == () or len(reading.scores) == 0
        if reading.rejects:
            first = reading.rejects[0]
            raise RejectError(first.stage, first.reason, first.detail)
        prepared = [self.enricher.prepare(score, self.now_ms) for score in reading.scores]
        for one in prepared:
            assert body_of(self.enricher, one, None, ContextStatus.OFF)
        return [one.route for one in prepared]

    def person(self, sent: InputRecord) -> tuple[bytes | None, set[str]]:
        """Return the person key of an experience event, and its standard event types."""
        record = Record(sent.topic, 0, 0, sent.timestamp_ms, sent.key, sent.value)
        event = self.reader.read(record).event
        assert event is not None
        return self.enricher.person(event.identities), set(event.fact.kinds)


@pytest.fixture(scope="module")
def figures() -> HistorySettings:
    last_run_ms = HistorySettings.last_monday(SystemClock().now_ms())
    return HistorySettings(last_run_ms=last_run_ms, customers=60, runs=2)


@pytest.fixture(scope="module")
def parts() -> CodecAndEnrich:
    with SimulatedEnvironment(AepSimulator()) as environment:
        settings = Settings.model_validate(environment.settings(Path("state")))
    return CodecAndEnrich(settings, SystemClock().now_ms())


def test_every_good_score_becomes_an_event_of_its_route(
    parts: CodecAndEnrich, figures: HistorySettings
) -> None:
    unrepeated = HistorySettings(
        last_run_ms=figures.last_run_ms, customers=60, runs=2, repeated=0.0, bad_records=0
    )
    routes: Counter[str] = Counter()

    for sent in history(unrepeated):
        if sent.topic == figures.scores_topic:
            routes.update(parts.events(sent))

    assert routes == {"upgrade-account": 120, "churn": 120, "purchase": 120}


def test_every_experience_event_is_about_the_customer_of_its_key(
    parts: CodecAndEnrich, figures: HistorySettings
) -> None:
    persons: dict[bytes, set[bytes | None]] = defaultdict(set)
    kinds: set[str] = set()
    for sent in history(figures):
        if sent.topic == figures.events_topic:
            person, found = parts.person(sent)
            persons[sent.key].add(person)
            kinds |= found

    assert all(len(found) == 1 and None not in found for found in persons.values())
    assert {"webVisit", "productViews", "search", "webInteraction"} <= kinds


@pytest.mark.parametrize("kind", list(BadRecord))
def test_every_kind_of_bad_record_is_rejected_for_the_expected_reason(
    parts: CodecAndEnrich, figures: HistorySettings, kind: BadRecord
) -> None:
    sent = list(history(figures))[-len(BadRecord) :][list(BadRecord).index(kind)]

    reason: Reason | None = None
    try:
        parts.events(sent)
    except RejectError as error:
        reason = error.reject.reason
    except UnavailableError as error:
        pytest.fail(f"{kind} was reported as an outage: {error}")

    assert reason in EXPECTED_REASONS[kind]
