import json
from typing import Any

import pytest

from processor.domain.errors import RejectError
from processor.domain.outcome import ContextStatus, FilterRule, Reason, Reject, Stage
from processor.domain.score import Identity
from tests.support.enriching import (
    AT_MS,
    DAY_MS,
    ECID,
    NOW_MS,
    body_of,
    context_in,
    enricher_with,
    fact,
    model_in,
    person_of,
    score_of,
)
from tests.support.xdm_rules import broken_rules

ENRICHER = enricher_with()
PLACEHOLDER = Identity("CRMID", "anonymous")


def encoded(**changes: Any) -> bytes:  # noqa: ANN401  any field of a score
    prepared = ENRICHER.prepare(score_of(**changes), NOW_MS)
    return body_of(ENRICHER, prepared, None, ContextStatus.OFF)


def refused(**changes: Any) -> Reject:  # noqa: ANN401  likewise
    with pytest.raises(RejectError) as caught:
        encoded(**changes)
    return caught.value.reject


def test_a_score_becomes_exactly_this_event() -> None:
    prepared = ENRICHER.prepare(
        score_of(identities=(Identity("CRMID", "c1"), ECID, PLACEHOLDER)), NOW_MS
    )
    body = body_of(ENRICHER, prepared, None, ContextStatus.OFF)

    assert json.loads(body) == {
        "_id": prepared.id,
        "timestamp": "2026-08-03T00:00:00Z",
        "eventType": "customerAI.scored",
        "producedBy": "system",
        "identityMap": {"ECID": [{"id": ECID.id, "primary": True}], "CRMID": [{"id": "c1"}]},
        "_acme": {
            "CustomerAI": {
                "Likelihoodtoupgradeaccount": {
                    "score": 82.0,
                    "scoreDate": "2026-08-03T00:00:00Z",
                    "probability": 0.412,
                    "percentileScore": 92,
                    "modelType": "Conversion",
                    "influentialFactors": [
                        {"code": "Counts of webVisit", "value": "14", "importance": "high"}
                    ],
                }
            },
            "scoreContext": {
                "predictionName": "Likelihood to upgrade account",
                "scoreBucket": "high",
                "contextStatus": "off",
            },
        },
    }
    assert broken_rules(json.loads(body), "acme") == []


def test_a_prepared_score_has_route_person_and_left_out_namespaces() -> None:
    prepared = ENRICHER.prepare(score_of(identities=(ECID, PLACEHOLDER)), NOW_MS)

    assert (prepared.route, prepared.model_key) == ("upgrade", "Likelihoodtoupgradeaccount")
    assert prepared.score.scored_at_ms == AT_MS
    assert prepared.person == f"ECID|{ECID.id}".encode()
    assert prepared.left_out == ("CRMID",)


def test_a_person_has_the_key_of_their_scores() -> None:
    identities = (PLACEHOLDER, Identity("Email", "a@b"), ECID)

    assert (
        ENRICHER.person(identities)
        == ENRICHER.prepare(score_of(identities=identities), NOW_MS).person
    )
    assert ENRICHER.person((PLACEHOLDER,)) is None


def test_a_score_without_an_identity_is_rejected() -> None:
    assert refused(identities=()).reason is Reason.NO_IDENTITY


def test_a_score_without_a_usable_identity_is_rejected_without_its_ids() -> None:
    reject = refused(identities=(PLACEHOLDER, Identity("ECID", "12345")))

    assert (reject.stage, reject.reason) == (Stage.ENRICH, Reason.BAD_IDENTITY)
    assert "12345" not in repr(reject)


def test_numbers_have_the_types_cja_needs() -> None:
    body = encoded(score=83, probability=1, percentile=92)

    assert b'"score":83.0' in body
    assert b'"probability":1.0' in body
    assert b'"percentileScore":92,' in body


def test_missing_optional_fields_are_left_out() -> None:
    body = encoded(probability=None, percentile=None, model_type=None, factors=())

    assert model_in(body) == {"score": 82.0, "scoreDate": "2026-08-03T00:00:00Z"}


def test_empty_and_undeclared_parts_of_factors_are_left_out() -> None:
    factors: list[dict[str, str]] = [
        {"code": "", "value": "1"},
        {"code": "a", "weight": "2"},
        {"code": ""},
        {},
    ]

    assert model_in(encoded(factors=factors))["influentialFactors"] == [
        {"value": "1"},
        {"code": "a"},
    ]
    assert "influentialFactors" not in model_in(encoded(factors=({"code": ""},)))


def test_a_clean_event_is_accepted_as_it_is_built() -> None:
    prepared = ENRICHER.prepare(score_of(), NOW_MS)

    event = ENRICHER.event(prepared, person_of(fact(1, page="Home")), ContextStatus.COMPLETE)

    assert prepared.route_model.schema.accepts(event)


def test_an_event_too_large_loses_factors_from_the_end() -> None:
    factors = tuple({"code": f"{number} " + "x" * 2_000} for number in range(40))

    body = encoded(factors=factors)

    left = model_in(body)["influentialFactors"]
    assert 9_000 < len(body) <= 10_240
    assert [factor["code"][:512] for factor in left] == [
        factor["code"][:512] for factor in factors[: len(left)]
    ]


def test_an_event_still_too_large_loses_audiences() -> None:
    enricher = enricher_with({"event/max_event_bytes": 1_600})
    person = person_of(fact(1, audiences=tuple(f"audience {n}" for n in range(50)), page="x" * 500))
    prepared = enricher.prepare(score_of(), NOW_MS)

    body = body_of(enricher, prepared, person, ContextStatus.COMPLETE)

    assert len(body) <= 1_600
    assert "influentialFactors" not in model_in(body)
    assert 1 <= len(context_in(body)["audiences"]) < 50


def test_an_event_that_stays_too_large_is_rejected() -> None:
    many = tuple(Identity("Email", f"{n}@" + "x" * 1_000) for n in range(15))

    assert refused(identities=many).reason is Reason.EVENT_TOO_LARGE


def test_a_score_of_an_earlier_day_is_late() -> None:
    assert not ENRICHER.prepare(score_of(scored_at_ms=AT_MS), NOW_MS).late
    assert ENRICHER.prepare(score_of(scored_at_ms=AT_MS - 1), NOW_MS).late


def test_a_route_may_drop_late_scores() -> None:
    dropping = enricher_with({"routes/0/late": "drop"})
    late = score_of(scored_at_ms=AT_MS - DAY_MS)

    assert dropping.prepare(late, NOW_MS).rule is FilterRule.LATE_SUPPRESSED
    assert dropping.prepare(score_of(), NOW_MS).rule is None
    assert ENRICHER.prepare(late, NOW_MS).rule is None


def test_an_invalid_event_is_rejected_at_the_field() -> None:
    reject = refused(percentile=50.5)

    assert (reject.stage, reject.reason) == (Stage.VALIDATE, Reason.SCHEMA_VIOLATION)
    assert reject.pointer == "/_acme/CustomerAI/Likelihoodtoupgradeaccount/percentileScore"
    assert reject.detail == "The value is not of type integer."


def test_a_route_with_a_pattern_takes_any_matching_model() -> None:
    enricher = enricher_with({"routes/0/models": ["*"]})
    prepared = enricher.prepare(score_of(model="Churn Risk 7"), NOW_MS)

    body = body_of(enricher, prepared, None, ContextStatus.OFF)

    assert model_in(body, "ChurnRisk7")["score"] == 82.0
