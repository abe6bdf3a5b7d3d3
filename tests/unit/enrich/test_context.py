from typing import Any

import pytest

from processor.domain.event import Fact
from processor.domain.outcome import ContextStatus
from processor.enrich.context import movement
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


def context(known: Person | None, status: ContextStatus = ContextStatus.COMPLETE) -> dict[str, Any]:
    body = body_of(ENRICHER, ENRICHER.prepare(score_of(), NOW_MS), known, status)
    return context_in(body)


def test_nothing_known_says_so_and_nothing_else() -> None:
    assert context(None) == {
        "predictionName": "Likelihood to upgrade account",
        "scoreBucket": "high",
        "contextStatus": "none",
    }
    assert context(Person()) == context(None)


def test_history_is_the_newest_score_with_an_earlier_date() -> None:
    known = person_of(
        delivered(14, 10.0, "low"), delivered(7, 41.7, "medium"), delivered(0, 99.0, "high")
    )

    assert context(known) == {
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


def test_behaviour_is_told_by_the_newest_event_that_knows() -> None:
    known = person_of(
        fact(
            40, kinds=("order", "purchases"), type="Purchase", success=True, order_id="O-1",
            cohort="gold", campaign="Winter",
        ),
        fact(2.5, kinds=("productViews", "webVisit"), page="Plans", audiences=("Loyal",)),
        fact(1.5, kinds=("webVisit",), type="web - pageview", page="Home", campaign="Spring"),
    )  # fmt: skip

    assert context(known) == {
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


def test_an_event_without_a_type_is_told_by_what_it_counts_for() -> None:
    assert context(person_of(fact(1, kinds=("search",))))["lastEventType"] == "search"
    assert "lastEventType" not in context(person_of(fact(1)))


@pytest.mark.parametrize(
    ("declared", "kinds", "told"),
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
def test_a_declared_type_gives_way_to_a_standard_one_unless_it_is_a_standard_spelling(
    declared: str, kinds: tuple[str, ...], told: str
) -> None:
    assert context(person_of(fact(1, type=declared, kinds=kinds)))["lastEventType"] == told


@pytest.mark.parametrize(
    ("declared", "kinds", "told"),
    [
        ("web - pageview", ("purchases", "webVisit"), "purchases"),
        ("commerce.purchases", ("productViews", "purchases"), "purchases"),
        ("Subscribed", ("webVisit",), "Subscribed"),
        ("commerce.purchases", ("webVisit",), "commerce.purchases"),
        ("web - pageview", ("webVisit",), "webVisit"),
    ],
)
def test_a_success_is_told_by_what_makes_it_one(
    declared: str, kinds: tuple[str, ...], told: str
) -> None:
    enricher = enricher_with({"join/success_types": ["purchases", "Subscribed"]})
    known = person_of(fact(1, type=declared, kinds=kinds, success=True))
    prepared = enricher.prepare(score_of(), NOW_MS)

    body = body_of(enricher, prepared, known, ContextStatus.COMPLETE)

    assert context_in(body)["lastSuccessEventType"] == told


def test_own_event_types_are_not_counted_among_the_standard_ones() -> None:
    known = person_of(fact(1, kinds=("ownType", "search")))

    assert context(known)["eventCounts"] == {"search": 1}
    assert "eventCounts" not in context(person_of(fact(1, kinds=("ownType",))))


def test_both_ends_of_the_look_back_are_in_it() -> None:
    inside = person_of(fact(45, page="oldest"), fact(0, campaign="newest"))
    outside = person_of(fact(45.001, page="older"), fact(-0.001, campaign="newer"))

    assert context(inside)["lastPageName"] == "oldest"
    assert context(inside)["lastCampaign"] == "newest"
    assert context(outside) == context(None)


def test_what_was_forgotten_makes_a_context_partial() -> None:
    dropped = Person(
        person_of(fact(1)).facts, cut=sort_key_of(encode_fact(Fact(AT_MS - 1, "dropped")))
    )
    older_than_kept = person_of(fact(50), fact(-50))

    assert context(dropped)["contextStatus"] == "partial"
    assert context(older_than_kept)["contextStatus"] == "partial"


def test_a_score_that_did_not_wait_is_partial_even_if_nothing_is_known() -> None:
    assert context(None, ContextStatus.PARTIAL)["contextStatus"] == "partial"


def test_with_the_join_off_nothing_is_looked_up() -> None:
    known = person_of(fact(1, page="Home"), delivered(7, 41.7, "medium"))

    assert context(known, ContextStatus.OFF) == {**context(None), "contextStatus": "off"}


def test_text_from_outside_is_cut() -> None:
    known = person_of(fact(1, page="x" * 1_000, audiences=("y" * 1_000,) * 2))

    assert context(known)["lastPageName"] == "x" * 512
    assert context(known)["audiences"] == ["y" * 512] * 2


def test_movements_are_nine() -> None:
    buckets = ("low", "medium", "high")

    assert len({movement(one, other) for one in buckets for other in buckets}) == 9
    assert movement("low", "low") == "stayed low"
