"""The whole history, week by week, and the bad records at its end."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from processor.domain.clock import rfc3339
from processor.domain.outcome import Reason
from processor.simulator.history.customers import SCORING_WINDOW_MS, Customers, Visits
from processor.simulator.history.scoring_runs import ScoringRuns
from processor.simulator.history.settings import DAY_MS, WEEK_MS, HistorySettings, InputRecord


def history(settings: HistorySettings) -> Iterator[InputRecord]:
    """Yield the records of a history in order of time, keyed by customer on both topics.

    Each week consists of experience events and then the scores of the run at its end; the bad
    records are last. Holds at most one week of planned events and one run of scores in memory.
    """
    customers = Customers(settings.customers, settings.seed)
    visits, runs = Visits(settings, customers), ScoringRuns(settings, customers)
    for run in range(settings.runs):
        rng = random.Random(f"week/{settings.seed}/{run}")  # noqa: S311  repeatable, not secret
        scored_at_ms = settings.run_ms(run)
        yield from visits.week(scored_at_ms - WEEK_MS, rng)
        yield from runs.run(scored_at_ms, rng)
        customers.drift(rng)
    yield from bad_records(settings, settings.last_run_ms + SCORING_WINDOW_MS)


_OVERSIZE = 1_200_000
_DEPTH = 100


class BadRecord(StrEnum):
    """The kinds of bad records."""

    BROKEN_JSON = "broken-json"
    NOT_AN_OBJECT = "not-an-object"
    BAD_FRAME = "bad-frame"
    OVERSIZE = "oversize"
    TOO_DEEP = "too-deep"
    NO_IDENTITY = "no-identity"
    PLACEHOLDER_IDENTITY = "placeholder-identity"
    SCORE_130 = "score-130"
    DATE_NONSENSE = "date-nonsense"
    FUTURE_DATE = "future-date"
    UNKNOWN_PREDICTION = "unknown-prediction"


EXPECTED_REASONS: dict[BadRecord, frozenset[Reason]] = {
    BadRecord.BROKEN_JSON: frozenset({Reason.MALFORMED}),
    BadRecord.NOT_AN_OBJECT: frozenset({Reason.NOT_AN_OBJECT}),
    BadRecord.BAD_FRAME: frozenset({Reason.BAD_FRAME, Reason.UNKNOWN_SCHEMA}),
    BadRecord.OVERSIZE: frozenset({Reason.TOO_LARGE}),
    BadRecord.TOO_DEEP: frozenset({Reason.TOO_DEEP}),
    BadRecord.NO_IDENTITY: frozenset({Reason.NO_IDENTITY}),
    BadRecord.PLACEHOLDER_IDENTITY: frozenset({Reason.BAD_IDENTITY, Reason.NO_IDENTITY}),
    BadRecord.SCORE_130: frozenset({Reason.BAD_SCORE}),
    BadRecord.DATE_NONSENSE: frozenset({Reason.BAD_DATE}),
    BadRecord.FUTURE_DATE: frozenset({Reason.FUTURE_DATE}),
    BadRecord.UNKNOWN_PREDICTION: frozenset({Reason.UNKNOWN_PREDICTION}),
}
"""The reasons with which the processor may reject each kind."""


def bad_records(settings: HistorySettings, at_ms: int) -> Iterator[InputRecord]:
    """Yield every kind of bad score record, `settings.bad_records` times."""
    for round_number in range(settings.bad_records):
        for number, kind in enumerate(BadRecord):
            key = b"BAD%07d" % (round_number * len(BadRecord) + number)
            yield InputRecord(settings.scores_topic, key, _value(kind, settings, at_ms), at_ms)


def _value(kind: BadRecord, settings: HistorySettings, at_ms: int) -> bytes:
    good = _record(settings, at_ms)
    match kind:
        case BadRecord.BROKEN_JSON:
            return good[:-40]
        case BadRecord.NOT_AN_OBJECT:
            return b'["%b"]' % settings.predictions[0].name.encode()
        case BadRecord.BAD_FRAME:
            return b"\x00\x00\x00"
        case BadRecord.OVERSIZE:
            return good[:-1] + b',"note":"%b"}' % (b"x" * _OVERSIZE)
        case BadRecord.TOO_DEEP:
            return good[:-1] + b',"deep":%b1%b}' % (b"[" * _DEPTH, b"]" * _DEPTH)
        case _:
            return _bad_content(kind, settings, at_ms)


def _bad_content(kind: BadRecord, settings: HistorySettings, at_ms: int) -> bytes:
    match kind:
        case BadRecord.NO_IDENTITY:
            return _record(settings, at_ms, identities={})
        case BadRecord.PLACEHOLDER_IDENTITY:
            return _record(settings, at_ms, identities={"ECID": [{"id": "0" * 38}]})
        case BadRecord.SCORE_130:
            return _record(settings, at_ms, score=130.0)
        case BadRecord.DATE_NONSENSE:
            return _record(settings, at_ms, date="the day before yesterday")
        case BadRecord.FUTURE_DATE:
            return _record(settings, at_ms, date=rfc3339(at_ms + 400 * DAY_MS))
        case _:
            return _record(settings, at_ms, model="LikelihoodtobeStruckbyLightning")


def _record(settings: HistorySettings, at_ms: int, **changes: Any) -> bytes:  # noqa: ANN401  JSON
    ecid = [{"id": "31415926535897932384626433832795028841", "primary": True}]
    model = {
        "score": changes.get("score", 61.5),
        "probability": 0.44,
        "percentileScore": 70,
        "modelType": settings.predictions[0].model_type,
        "scoreDate": changes.get("date", rfc3339(at_ms)),
    }
    name = changes.get("model", settings.predictions[0].key)
    return msgspec.json.encode(
        {
            "identityMap": changes.get("identities", {"ECID": ecid}),
            settings.tenant: {"CustomerAI": {name: model}},
        }
    )
