"""The facts of experience events of all four inputs."""

from collections.abc import Mapping
from typing import Any

import pytest

from processor.domain.event import Fact
from processor.domain.outcome import FilterRule, Reason
from tests.support.reading import (
    ECID,
    EVENTS,
    a_model,
    a_profile,
    json_record,
    reader_with,
    refusal,
)

READER = reader_with()
AT = "2026-07-31T12:00:00Z"
AT_MS = 1_785_499_200_000


def _event(**more: object) -> dict[str, Any]:
    return {"_id": "e-1", "timestamp": AT, "identityMap": {"ECID": [{"id": ECID}]}, **more}


def _fact(changes: Mapping[str, object] | None = None, **more: object) -> Fact:
    event = reader_with(changes).read(json_record(_event(**more), EVENTS)).event
    assert event is not None
    return event.fact


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"commerce": {"productViews": {"value": 1}}}, "productViews"),
        ({"commerce": {"productListViews": {"value": 0.5}}}, "productListViews"),
        ({"commerce": {"checkouts": {"id": "x", "value": 1}}}, "checkouts"),
        ({"commerce": {"purchases": 1}}, "purchases"),
        ({"commerce": {"purchases": {"value": " 1 "}}}, "purchases"),
        ({"commerce": {"productListOpens": {"value": 1}}}, "productListOpens"),
        ({"commerce": {"productListRemovals": {"value": 1}}}, "productListRemovals"),
        ({"commerce": {"order": {"purchaseID": "W-1"}}}, "order"),
        ({"web": {"webPageDetails": {"name": "home"}}}, "webVisit"),
        ({"web": {"webInteraction": {"linkClicks": {"value": 1}}}}, "webInteraction"),
        ({"application": {"launches": {"value": 1}, "name": "x"}}, "launches"),
        ({"application": {"crashes": {"value": 1}}}, "crashes"),
        ({"application": {"isInstall": True}}, "installs"),
        ({"search": {"keywords": "shoes"}}, "search"),
        ({"eventType": "web - pageview"}, "webVisit"),
        ({"eventType": "web.webpagedetails.pageViews"}, "webVisit"),
        ({"eventType": "web.webinteraction.linkClicks"}, "webInteraction"),
        ({"eventType": "commerce.productViews"}, "productViews"),
        ({"eventType": "commerce.purchases"}, "purchases"),
        ({"eventType": "Purchase"}, "purchases"),
        ({"eventType": "application.launch"}, "launches"),
        ({"eventType": "application.close"}, "applicationCloses"),
    ],
)
def test_standard_event_types_are_recognised(more: dict[str, Any], kind: str) -> None:
    assert _fact(**more).kinds == (kind,)


@pytest.mark.parametrize(
    "more",
    [
        {"commerce": {"productViews": {"value": 0}}},
        {"commerce": {"productViews": {"value": "0"}}},
        {"commerce": {"productViews": {"value": "some"}}},
        {"commerce": {"productViews": {"value": "9e999"}}},
        {"commerce": {"productViews": {"value": None}}},
        {"commerce": {"purchases": None, "order": {"purchaseID": "  "}}},
        {"commerce": []},
        {"application": {"isLaunch": False}},
        {"web": {"webPageDetails": {"name": None}}},
        {"search": {"keywords": ""}},
        {"search": "shoes"},
        {"eventType": "advertising.clicks"},
        {"eventType": 7},
    ],
)
def test_event_without_a_positive_measure_or_text_has_no_kind(more: dict[str, Any]) -> None:
    assert _fact(**more).kinds == ()


def test_kinds_are_sorted_and_once_each_in_any_order_of_keys() -> None:
    commerce = {"purchases": {"value": 1}, "order": {"purchaseID": "W-1"}}
    reversed_ = dict(reversed(commerce.items()))

    one = _fact(eventType="commerce.purchases", commerce=commerce)

    assert one.kinds == ("order", "purchases")
    assert _fact(eventType="commerce.purchases", commerce=reversed_) == one


def test_texts_of_the_event_are_stored_in_the_fact() -> None:
    fact = _fact(
        {"join/cohort": "_acme.loyalty.tier"},
        eventType="commerce.purchases",
        web={"webPageDetails": {"name": "thanks"}},
        marketing={"trackingCode": "em:1", "campaignName": "Spring"},
        commerce={"order": {"purchaseID": 90021}},
        _acme={"loyalty": {"tier": "gold"}},
    )

    assert (fact.time_ms, fact.id, fact.type) == (AT_MS, "e-1", "commerce.purchases")
    assert (fact.page, fact.campaign, fact.order_id) == ("thanks", "Spring", "90021")
    assert (fact.cohort, fact.success) == ("gold", True)


def test_tracking_code_replaces_a_missing_campaign_name() -> None:
    assert _fact(marketing={"campaignName": None, "trackingCode": "em:1"}).campaign == "em:1"


def test_own_event_types_are_paths_in_the_settings() -> None:
    own = {
        "join/own_types": {"redemption": "_acme.redemptions", "visit": "web.webPageDetails.name"},
        "join/success_types": ["redemption"],
    }

    measured = _fact(own, _acme={"redemptions": {"value": 2}})
    text = _fact(own, _acme={"redemptions": "voucher"}, web={"webPageDetails": {"name": "x"}})

    assert (measured.kinds, measured.success) == (("redemption",), True)
    assert text.kinds == ("redemption", "visit", "webVisit")
    assert not _fact(own, eventType="commerce.purchases").success


@pytest.mark.parametrize("success", ["purchases", "commerce.purchases"])
def test_success_is_decided_by_kind_or_event_type(success: str) -> None:
    changes: dict[str, object] = {"join/success_types": [success]}

    assert _fact(changes, eventType="commerce.purchases").success
    assert not _fact(changes, eventType="commerce.checkouts").success


def test_audiences_are_read_from_both_forms_without_exited_ones() -> None:
    fact = _fact(
        segmentMemberships=[
            {"segmentID": {"_id": "b"}, "status": "realized"},
            {"segmentID": {"_id": "a"}, "profileStitchID": {"status": "existing"}},
            {"segmentID": {"_id": "x"}, "status": "exited"},
            {"segmentID": {"_id": "y"}, "profileStitchID": {"status": "exited"}},
            {"segmentID": None},
            None,
        ],
        segmentMembership={"ups": {"c": {"status": "realized"}, "z": {"status": "exited"}}, "x": 1},
    )

    assert fact.audiences == ("a", "b", "c")


def test_texts_and_audiences_are_bounded() -> None:
    many = [{"segmentID": {"_id": f"{index:0200d}"}} for index in range(1_000)]

    fact = _fact(eventType="x" * 10_000, segmentMemberships=many, _id="i" * 10_000)

    assert len(fact.type) == 256
    assert len(fact.id) == 32
    assert len(fact.audiences) <= 50
    assert max(map(len, fact.audiences)) <= 64


@pytest.mark.parametrize("missing", [None, "", 7])
def test_event_without_an_id_has_a_digest_of_its_bytes(missing: object) -> None:
    one, other = _fact(_id=missing, eventType="a"), _fact(_id=missing, eventType="b")

    assert one.id == _fact(_id=missing, eventType="a").id
    assert one.id != other.id


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [(None, Reason.NO_TIMESTAMP), ("soon", Reason.BAD_DATE), ({}, Reason.BAD_DATE)],
)
def test_event_without_a_valid_timestamp_is_rejected(timestamp: object, reason: Reason) -> None:
    reject = refusal(READER, json_record(_event(timestamp=timestamp), EVENTS))

    assert (reject.reason, reject.pointer) == (reason, "/timestamp")


def test_event_without_a_person_is_filtered() -> None:
    event = _event(identityMap={"ECID": [{"id": "0" * 38}], "Email": [{"id": "anonymous"}]})

    reading = READER.read(json_record(event, EVENTS))

    assert (reading.event, reading.rule) == (None, FilterRule.EVENT_WITHOUT_PERSON)


def test_event_with_scores_yields_the_event_and_the_scores() -> None:
    reading = READER.read(json_record({**_event(), **a_profile(Churn=a_model())}, EVENTS))

    assert [score.model for score in reading.scores] == ["Churn"]
    assert reading.event is not None
    assert reading.rule is None


def test_scores_of_a_rejected_event_are_read() -> None:
    event = {**_event(timestamp="soon"), **a_profile(Churn=a_model())}

    reading = READER.read(json_record(event, EVENTS))

    assert [score.model for score in reading.scores] == ["Churn"]
    assert [(one.reason, one.model) for one in reading.rejects] == [(Reason.BAD_DATE, "")]


def test_flat_scores_are_not_read_from_experience_events() -> None:
    flat = {**_event(), "prediction": "Churn", **a_model()}

    assert READER.read(json_record(flat, EVENTS)).scores == ()


def test_control_characters_are_removed_from_texts() -> None:
    fact = _fact(
        eventType="web\x00visit\x7f",
        web={"webPageDetails": {"name": "ho\x1bme\n"}},
        marketing={"campaignName": "\x00\t"},
    )

    assert (fact.type, fact.page, fact.campaign) == ("webvisit", "home", "")


def test_event_time_is_rounded_up_to_milliseconds() -> None:
    assert _fact(timestamp="2026-07-31T12:00:00.0000001Z").time_ms == AT_MS + 1
    assert _fact(timestamp="2026-07-31T12:00:00.000Z").time_ms == AT_MS
