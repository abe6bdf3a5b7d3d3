"""The judgement of CJA connections: what is right, and each state that is wrong."""

from datetime import UTC, datetime
from typing import Any

import pytest

from processor.adobe.cja import ConnectionJudge, Delivered, ExpectedDataset
from processor.adobe.connection import Connection, read_connection
from processor.domain.check_result import CheckResult, CheckStatus

NOW_MS = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EXPECTED = ExpectedDataset("churn", "ds-1", "prod")
OK, WARN, FAIL, SKIP = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL, CheckStatus.SKIP
SCORES: dict[str, Any] = {
    "dataSetId": "ds-1", "name": "Customer AI Scores - churn (events)", "type": "event",
    "timestampId": "timestamp", "identityMap": True, "usePrimaryIdNamespace": True,
    "streaming": True, "backfillSummary": {"total": 1, "failed": 0, "completed": 1},
    "lastIngestedTime": "2026-11-25T11:30:00Z",
}  # fmt: skip
WEB: dict[str, Any] = {**SCORES, "dataSetId": "ds-9", "name": "Web"}
DELIVERED = Delivered(1_000, NOW_MS - HOUR_MS, NOW_MS - HOUR_MS)


def connection(*datasets: dict[str, Any], **fields: object) -> Connection:
    return read_connection(
        {
            "id": "dg_1", "name": "Main", "sandboxName": "prod",
            "dataSets": list(datasets or (SCORES, WEB)), **fields,
        }
    )  # fmt: skip


def judged(
    *connections: Connection,
    delivered: Delivered | None = DELIVERED,
    order: tuple[str, ...] = ("Email", "ECID"),
) -> dict[str, CheckResult]:
    judge = ConnectionJudge([EXPECTED], order, NOW_MS)
    found = list(judge.results(connections, {"churn": delivered}))
    assert len({result.name for result in found}) == len(found)
    return {result.name: result for result in found}


def scores(**changes: object) -> Connection:
    return connection({**SCORES, **changes}, WEB)


def one(
    name: str,
    connected: Connection,
    delivered: Delivered | None = DELIVERED,
    order: tuple[str, ...] = ("Email", "ECID"),
) -> CheckResult:
    return judged(connected, delivered=delivered, order=order)[name]


def test_a_complete_connection_passes() -> None:
    found = judged(connection())

    assert {result.mark for result in found.values()} == {OK}
    assert len(found) == 8


def test_a_dataset_in_no_connection_is_said_with_its_clicks() -> None:
    found = judged(connection(WEB))

    assert {name: result.mark for name, result in found.items()} == {"connection of churn": FAIL}
    fix = found["connection of churn"].fix
    assert "Add datasets > Dataset ID ds-1" in fix
    assert "Use primary identity namespace" in fix
    assert "product administration" in fix


def test_a_dataset_in_two_connections_is_judged_in_both() -> None:
    found = judged(connection(), connection(id="dg_2", name="Other", sandboxName="dev"))

    assert found["sandbox of churn in Main"].mark is OK
    assert found["sandbox of churn in Other"].mark is FAIL
    assert "dev" in found["sandbox of churn in Other"].sentence


@pytest.mark.parametrize(
    "changes", [{"type": "profile"}, {"timestampId": "_acme.when"}, {"timestampId": None}]
)
def test_a_dataset_that_is_no_event_dataset_by_timestamp_fails(changes: dict[str, Any]) -> None:
    found = judged(scores(**changes))

    assert found["dataset of churn in Main"].mark is FAIL
    assert "Delete dataset" in found["dataset of churn in Main"].fix
    assert "person id of churn in Main" not in found


@pytest.mark.parametrize(
    ("changes", "order", "mark"),
    [
        ({"identityMap": False, "visitorId": "_acme.crm"}, ("Email",), FAIL),
        ({"usePrimaryIdNamespace": False, "identityNamespace": "email"}, ("Email",), OK),
        ({"usePrimaryIdNamespace": False, "identityNamespace": "ECID"}, ("Email", "ECID"), WARN),
        ({"usePrimaryIdNamespace": False, "identityNamespace": "Phone"}, ("Email",), FAIL),
        ({"usePrimaryIdNamespace": False}, ("Email",), FAIL),
    ],
)
def test_the_person_id_has_to_be_in_every_event(
    changes: dict[str, Any], order: tuple[str, ...], mark: CheckStatus
) -> None:
    found = one("person id of churn in Main", scores(**changes), order=order)

    assert found.mark is mark
    assert mark is OK or "Edit dataset > Person ID: Identity Map" in found.fix


def test_new_data_that_is_not_imported_fails() -> None:
    off, unknown = (
        one("new data of churn in Main", scores(streaming=each)) for each in (False, None)
    )

    assert off.mark is unknown.mark is FAIL
    assert "Import new data: On > Apply > Save" in off.fix


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"backfillSummary": {"total": 3, "failed": 1, "inProgress": 1}}, FAIL),
        ({"backfillSummary": None, "backfills": [{"status": "FAILED"}]}, FAIL),
        ({"backfillSummary": {"total": 1, "inProgress": 1}}, WARN),
        ({"backfillSummary": None, "backfills": [{"status": "IN_QUEUE"}]}, WARN),
        ({"backfillSummary": None}, OK),
    ],
)
def test_backfills_are_counted_from_summary_and_list(
    changes: dict[str, Any], mark: CheckStatus
) -> None:
    assert one("backfills of churn in Main", scores(**changes)).mark is mark


@pytest.mark.parametrize(
    ("last", "delivered", "mark"),
    [
        ("2026-11-25T11:30:00Z", DELIVERED, OK),
        ("2026-11-25T10:30:00Z", DELIVERED, WARN),  # within 150 minutes
        ("2026-11-25T08:30:00+00:00", Delivered(1, NOW_MS - 3 * HOUR_MS, NOW_MS), FAIL),
        ("2026-11-01T08:30:00", Delivered(1, NOW_MS - 3 * HOUR_MS, NOW_MS - 2 * DAY_MS), WARN),
        (None, Delivered(1, NOW_MS - 31 * DAY_MS, NOW_MS - 40 * DAY_MS), FAIL),
        (None, Delivered(0, 0, 0), SKIP),
        (None, None, WARN),
        ("2026-11-25T11:30:00Z", None, OK),
        ("yesterday", DELIVERED, WARN),
    ],
)
def test_what_cja_ingested_is_compared_with_what_was_delivered(
    last: str | None, delivered: Delivered | None, mark: CheckStatus
) -> None:
    changed = scores(lastIngestedTime=last)

    assert one("ingestion of churn in Main", changed, delivered=delivered).mark is mark


def test_scores_without_behaviour_fail() -> None:
    profile = {**WEB, "type": "profile"}

    found = one("behaviour in Main", connection(SCORES, profile))

    assert found.mark is FAIL
    assert "Add datasets" in found.fix


@pytest.mark.parametrize(
    ("changes", "order", "mark"),
    [
        ({"identityMap": False, "identityNamespace": "Email"}, ("email",), OK),
        ({"identityMap": False, "identityNamespace": "ECID"}, ("Email", "ECID"), WARN),
        ({"identityMap": False, "identityNamespace": "CRMID"}, ("Email", "ECID"), FAIL),
        ({"identityMap": False, "visitorId": "_id"}, ("Email",), FAIL),
    ],
)
def test_behaviour_has_the_person_id_of_the_scores(
    changes: dict[str, Any], order: tuple[str, ...], mark: CheckStatus
) -> None:
    web = {**WEB, "usePrimaryIdNamespace": False, **changes}

    found = one("behaviour in Main", connection(SCORES, web), order=order)

    assert found.mark is mark
    assert mark is OK or "Edit dataset > Person ID" in found.fix


def test_the_same_chosen_namespace_is_the_same_person_id() -> None:
    chosen = {"usePrimaryIdNamespace": False, "identityNamespace": "ECID"}
    both = connection({**SCORES, **chosen}, {**WEB, **chosen})
    one_only = connection({**SCORES, **chosen}, WEB)

    assert one("behaviour in Main", both).mark is OK
    assert one("behaviour in Main", one_only).mark is FAIL


def test_customer_ai_s_own_event_dataset_beside_ours_counts_twice() -> None:
    native = {**WEB, "dataSetId": "ds-7", "name": "Customer AI Scores in EE Format - churn"}

    found = judged(connection(SCORES, WEB, native))

    assert found["double rows in Main"].mark is FAIL
    assert found["behaviour in Main"].mark is OK


def test_errors_that_cja_finds_itself_are_passed_on() -> None:
    error = {"errorCode": "SCHEMA_UNAVAILABLE", "dataSetName": "Web"}

    found = one("validation of Main", connection(connectionValidationErrors=[error]))

    assert found.mark is FAIL
    assert "SCHEMA_UNAVAILABLE in Web" in found.sentence


def test_behaviour_is_judged_by_the_score_dataset_that_fits_worst() -> None:
    expected = [EXPECTED, ExpectedDataset("upgrade", "ds-2", "prod")]
    chosen = {"usePrimaryIdNamespace": False, "identityNamespace": "ECID"}
    both = connection(SCORES, {**SCORES, **chosen, "dataSetId": "ds-2"}, WEB)

    found = list(ConnectionJudge(expected, ["ECID"], NOW_MS).results([both], {}))

    (behaviour,) = [result for result in found if result.name == "behaviour in Main"]
    assert behaviour.mark is FAIL
