from typing import Any

import pytest

from processor.domain.event import Fact
from processor.domain.outcome import ContextStatus
from processor.enrich.context import bucket_movement
from processor.state.format.fact import encode_fact, sort_key_of
from processor.state.person import Person
from tests.support.enriching import (
    AT_MS,
    NOW_MS,
    body_of,
    context_in,
    delivered,
    enricher_with,
    fact,
    person_of,
    score_of,
)

ENRICHER = enricher_with()


def context(
    person: Person | None, status: ContextStatus = ContextStatus.COMPLETE
) -> dict[str, Any]:
    body = body_of(ENRICHER, ENRICHER.prepare(score_of(), NOW_MS), person, status)
    return context_in(body)


def test_context_of_an_unknown_person_has_status_none_only() -> None:
    assert context(None) == {
        "predictionName": "Likelihood to upgrade account",
        "scoreBucket": "high",
        "contextStatus": "none",
    }
    assert context(Person()) == context(None)


def test_history_is_the_newest_score_with_an_earlier_date() -> None:
    person = person_of(
        delivered(14, 10.0, "low"), delivered(7, 41.7, "medium"), delivered(0, 99.0, "high")
    )

    assert context(person) == {
        "predictionName": "Likelihood to upgrade account",
        "scoreBucket": "high",
        "previousScore": 41.7,
        "previousBucket": "medium",
        "previousScoreDate": "2026-07-27T00:00:00Z",
        "scoreChange": 40.3,
        "bucketMovement": "medium to high",
        "contextStatus": "complete",
    }


def test_history_is_of_the_same_prediction_only() -> None:
    other = person_of(delivered(7, 41.7, "medium"), model="Churn")

    assert "previousScore" not in context(other)


def test_each_behaviour_field_is_that_of_the_newest_event_that_has_it() -> None:
    person = person_of(
        fact(
            40, kinds=("order", "purchases"), type="Purchase", success=True, order_id="O-1",
            cohort="gold", campaign="Winter",
        ),
        fact(2.5, kinds=("productViews", "webVisit"), page="Plans", audiences=("Loyal",)),
        fact(1.5, kinds=("webVisit",), type="web - pageview", page="Home", campaign="Spring"),
    )  # fmt: skip

    assert context(person) == {
        "predictionName": "Likelihood to upgrade account",
        "scoreBucket": "high",
        "lastEventType": "webVisit",
        "lastEventTimestamp": "2026-08-01T12:00:00Z",
        "daysSinceLastEvent": 1,
        "lastPageName": "Home",
        "lastCampaign": "Spring",
        "lastOrderId": "O-1",
        "cohort": "gold",
        "lastSuccessEventType": "order",
        "lastSuccessEventTimestamp": "2026-06-24T00:00:00Z",
        "eventCounts": {"webVisit": 2, "productViews": 1, "order": 1, "purchases": 1},
        "audiences": ["Loyal"],
        "contextStatus": "complete",
    }


def test_an_event_without_a_type_has_the_type_of_its_kind() -> None:
    assert context(person_of(fact(1, kinds=("search",))))["lastEventType"] == "search"
    assert "lastEventType" not in context(person_of(fact(1)))


@pytest.mark.parametrize(
    ("declared", "kinds", "expected"),
    [
        ("web - pageview", ("webVisit",), "webVisit"),
        ("Page View", ("ownType", "webVisit"), "webVisit"),
        ("web.webpagedetails.pageViews", ("webVisit",), "web.webpagedetails.pageViews"),
        ("search", ("productViews", "search"), "search"),
        ("store visit", (), "store visit"),
        ("store visit", ("ownType",), "store visit"),
        ("", ("ownType",), "ownType"),
    ],
)
def test_a_declared_type_is_replaced_by_a_standard_one_unless_its_spelling_is_standard(
    declared: str, kinds: tuple[str, ...], expected: str
) -> None:
    assert context(person_of(fact(1, type=declared, kinds=kinds)))["lastEventType"] == expected


@pytest.mark.parametrize(
    ("declared", "kinds", "expected"),
    [
        ("web - pageview", ("purchases", "webVisit"), "purchases"),
        ("commerce.purchases", ("productViews", "purchases"), "purchases"),
        ("Subscribed", ("webVisit",), "Subscribed"),
        ("commerce.purchases", ("webVisit",), "commerce.purchases"),
        ("web - pageview", ("webVisit",), "webVisit"),
    ],
)
def test_the_success_type_is_what_makes_the_event_a_success(
    declared: str, kinds: tuple[str, ...], expected: str
) -> None:
    enricher = enricher_with({"join/success_types": ["purchases", "Subscribed"]})
    person = person_of(fact(1, type=declared, kinds=kinds, success=True))
    prepared = enricher.prepare(score_of(), NOW_MS)

    body = body_of(enricher, prepared, person, ContextStatus.COMPLETE)

    assert context_in(body)["lastSuccessEventType"] == expected


def test_own_event_types_are_not_counted() -> None:
    person = person_of(fact(1, kinds=("ownType", "search")))

    assert context(person)["eventCounts"] == {"search": 1}
    assert "eventCounts" not in context(person_of(fact(1, kinds=("ownType",))))


def test_the_look_back_includes_both_ends() -> None:
    inside = person_of(fact(45, page="oldest"), fact(0, campaign="newest"))
    outside = person_of(fact(45.001, page="older"), fact(-0.001, campaign="newer"))

    assert context(inside)["lastPageName"] == "oldest"
    assert context(inside)["lastCampaign"] == "newest"
    assert context(outside) == context(None)


def test_dropped_facts_make_a_context_partial() -> None:
    cut = sort_key_of(encode_fact(Fact(AT_MS - 1, "dropped")))
    dropped = Person(person_of(fact(1)).facts, cut=cut)
    older_than_stored = person_of(fact(50), fact(-50))

    assert context(dropped)["contextStatus"] == "partial"
    assert context(older_than_stored)["contextStatus"] == "partial"


def test_a_context_is_partial_if_the_score_did_not_wait() -> None:
    assert context(None, ContextStatus.PARTIAL)["contextStatus"] == "partial"


def test_a_context_without_the_join_has_no_past_fields() -> None:
    person = person_of(fact(1, page="Home"), delivered(7, 41.7, "medium"))

    assert context(person, ContextStatus.OFF) == {**context(None), "contextStatus": "off"}


def test_text_from_outside_is_cut() -> None:
    person = person_of(fact(1, page="x" * 1_000, audiences=("y" * 1_000,) * 2))

    assert context(person)["lastPageName"] == "x" * 512
    assert context(person)["audiences"] == ["y" * 512] * 2


def test_there_are_nine_bucket_movements() -> None:
    buckets = ("low", "medium", "high")

    assert len({bucket_movement(one, other) for one in buckets for other in buckets}) == 9
    assert bucket_movement("low", "low") == "stayed low"
