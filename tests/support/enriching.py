"""Scores, persons and an enricher for tests of score events."""

import json
from collections.abc import Mapping
from typing import Any

from processor.domain.errors import RejectError
from processor.domain.event import Fact
from processor.domain.outcome import ContextStatus, Reject
from processor.domain.record import Record
from processor.domain.score import Identity, Score
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.enrich.prepared_score import PreparedScore
from processor.settings import JoinSettings
from processor.state.format.score_history import DeliveredScore
from processor.state.person import Person, PersonLimits, with_fact, with_score
from tests.support.settings import settings_with

DAY_MS = 86_400_000
AT_MS = 1_785_715_200_000
"""2026-08-03T00:00:00Z, the date of the scoring run."""
NOW_MS = AT_MS + DAY_MS // 2
ECID = Identity("ECID", "09876543210987654321098765432109876543")
MODEL_KEY = "Likelihoodtoupgradeaccount"
RECORD = Record("customer-ai-scores", 0, 7, NOW_MS, b"k", b"v")
_LIMITS: PersonLimits = PersonLimits.of(JoinSettings())


def enricher_with(changes: Mapping[str, Any] | None = None) -> Enricher:
    """Return an enricher of the minimal settings, changed at paths such as `routes/0/name`."""
    settings = settings_with(changes)
    return Enricher(settings, compile_schemas(settings))


def body_of(
    enricher: Enricher, prepared: PreparedScore, person: Person | None, status: ContextStatus
) -> bytes:
    """Return the encoded event of a prepared score; RejectError where it is rejected."""
    event = enricher.event(prepared, person, status)
    (body,) = enricher.encode([(prepared, event)])
    if isinstance(body, Reject):
        reject = body
        raise RejectError(
            reject.stage, reject.reason, reject.detail, pointer=reject.pointer, model=reject.model
        )
    return body


def score_of(**changes: Any) -> Score:  # noqa: ANN401  any field of a score
    """Return a score with all fields, with these changes."""
    fields: dict[str, Any] = {
        "model": "Likelihood to upgrade account",
        "identities": (ECID,),
        "score": 82.0,
        "scored_at_ms": AT_MS,
        "probability": 0.412,
        "percentile": 92,
        "model_type": "Conversion",
        "factors": ({"code": "Counts of webVisit", "value": "14", "importance": "high"},),
    }
    return Score(**{**fields, **changes})


def fact(days_before: float, name: str = "", **fields: Any) -> Fact:  # noqa: ANN401  likewise
    """Return a fact so many days before the score."""
    time_ms = AT_MS - round(days_before * DAY_MS)
    return Fact(time_ms, name or f"e{days_before}", **fields)


def delivered(days_before: float, score: float, bucket: str) -> DeliveredScore:
    """Return a score delivered so many days before the score."""
    return DeliveredScore(
        AT_MS - round(days_before * DAY_MS), "ab" * 32, b"8 bytes.", score, bucket
    )


def person_of(*stored: Fact | DeliveredScore, model: str = MODEL_KEY) -> Person:
    """Return a person with these facts and delivered scores."""
    person = Person()
    for one in stored:
        if isinstance(one, Fact):
            person = with_fact(person, one, _LIMITS)
        else:
            person = with_score(person, model, one, _LIMITS)
    return person


def context_in(body: bytes) -> dict[str, Any]:
    """Return the scoreContext of an encoded event."""
    context: dict[str, Any] = json.loads(body)["_acme"]["scoreContext"]
    return context


def model_in(body: bytes, key: str = MODEL_KEY) -> dict[str, Any]:
    """Return the prediction's own fields of an encoded event."""
    fields: dict[str, Any] = json.loads(body)["_acme"]["CustomerAI"][key]
    return fields
