"""The simulated connections API of CJA against Adobe's specification and guide."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from processor.simulator.aep.cja_api import (
    CjaAccess,
    CjaApi,
    CjaBackfill,
    CjaConnection,
    CjaDataset,
    CjaState,
    RequestWindow,
)
from processor.simulator.aep.faults import read_script
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.simulator import AepSimulator
from tests.support.aep_caller import AepCaller, message, row, with_dataset
from tests.support.clock import ManualClock

IDS = [f"7110bb3e-76ce-4201-90bb-3e76561000{number:02d}" for number in range(30)]
BACKFILLS = tuple(
    CjaBackfill(f"b{n}", status)
    for n, status in enumerate(["COMPLETED", "FAILED", "IN_PROGRESS", "IN_QUEUE"])
)
MAIN = CjaConnection(
    IDS[0], "Main", (CjaDataset("ds", "Scores", backfills=BACKFILLS), CjaDataset("web", "Web"))
)
OTHERS = tuple(
    CjaConnection(each, f"Number {n}", sandbox_name="dev") for n, each in enumerate(IDS[1:25])
)


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        running.cja.replace(CjaState(connections=(MAIN, *OTHERS)))
        yield running


@pytest.fixture
def aep(simulator: AepSimulator) -> AepCaller:
    return AepCaller(simulator)


def listed(aep: AepCaller, query: str = "") -> dict[str, Any]:
    response = aep.get(f"/data/connections{query}")
    assert response.status == 200, response.body
    page: dict[str, Any] = response.json
    return page


def test_without_expansions_there_are_only_ids(aep: AepCaller) -> None:
    page = listed(aep, "?connectionIds=dg_" + IDS[0])

    assert page["content"] == [{"id": f"dg_{IDS[0]}", "idWithoutPrefix": IDS[0]}]


def test_pages_are_counted_from_zero_and_have_ten_items(aep: AepCaller) -> None:
    pages = [listed(aep, f"?page={number}") for number in range(3)]

    ids = [each["id"] for page in pages for each in page["content"]]
    assert ids == [f"dg_{each}" for each in IDS[:25]]
    assert [page["numberOfElements"] for page in pages] == [10, 10, 5]
    assert [page["last"] for page in pages] == [False, False, True]
    assert (pages[0]["totalElements"], pages[0]["totalPages"]) == (25, 3)
    assert listed(aep, "?sortDirection=DESC&limit=1")["content"][0]["id"] == f"dg_{IDS[24]}"


def test_connections_are_filtered_by_dataset_and_sandbox(aep: AepCaller) -> None:
    assert [c["id"] for c in listed(aep, "?dataSetIds=web,x")["content"]] == [f"dg_{IDS[0]}"]
    assert listed(aep, "?dataSetIds=x")["content"] == []
    assert listed(aep, "?sandboxName=dev")["totalElements"] == 24


def test_expansions_add_what_they_name(aep: AepCaller) -> None:
    plain = listed(aep, "?dataSetIds=ds&expansion=dataSets")["content"][0]["dataSets"][0]
    query = "name,dataSets,backfillsSummaryDataSets,granularBackfills,dataSetLastIngested"
    aep.batch(message(row()))
    full = listed(aep, f"?dataSetIds=ds&expansion={query}")["content"][0]
    dataset = full["dataSets"][0]

    assert {"backfillSummary", "backfills", "lastIngestedTime"} & plain.keys() == set()
    assert full["name"] == "Main"
    assert (dataset["type"], dataset["timestampId"]) == ("event", "timestamp")
    assert (dataset["identityMap"], dataset["usePrimaryIdNamespace"]) == (True, True)
    assert dataset["backfillSummary"] == {
        "total": 4, "failed": 1, "inProgress": 2, "completed": 1, "invalid": False,
    }  # fmt: skip
    assert [each["status"] for each in dataset["backfills"]] == [b.status for b in BACKFILLS]
    assert dataset["lastIngestedTime"].endswith("Z")
    assert "lastIngestedTime" not in full["dataSets"][1]


def test_schema_information_is_known_for_one_connection_but_not_for_the_list(
    aep: AepCaller,
) -> None:
    one = aep.get(f"/data/connections/dg_{IDS[0]}?expansion=dataSets,schemaInfo").json

    assert one["dataSets"][0]["schemaInfo"]["schemaId"] == "https://ns.adobe.com/acme/schemas/1"
    assert aep.get("/data/connections?expansion=dataSets,schemaInfo").status == 400


def test_a_search_finds_names_and_ids(aep: AepCaller) -> None:
    found = aep.get("/data/connections/search?query=main&expansion=name").json

    assert [each["name"] for each in found["content"]] == ["Main"]
    assert aep.get(f"/data/connections/search?query={IDS[3]}").json["totalElements"] == 1


def test_backfills_are_listed_as_the_guide_has_them(aep: AepCaller) -> None:
    page = aep.get(f"/data/connections/dg_{IDS[0]}/datasets/ds/backfills").json

    assert [each["status"] for each in page["content"]] == [b.status for b in BACKFILLS]
    assert aep.get(f"/data/connections/dg_{IDS[0]}/datasets/x/backfills").status == 404


@pytest.mark.parametrize("path", [IDS[0], f"dg_{IDS[29]}"])
def test_an_unknown_connection_is_a_404(aep: AepCaller, path: str) -> None:
    response = aep.get(f"/data/connections/{path}")

    assert (response.status, response.json["errorCode"]) == (404, "resource_not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_connections_cannot_be_changed(aep: AepCaller, method: str) -> None:
    for path in ("/data/connections", f"/data/connections/dg_{IDS[0]}"):
        response = aep.call(method, path, "{}")

        assert (response.status, response.json["errorCode"]) == (405, "method_not_allowed")
    assert listed(aep)["totalElements"] == 25


def test_the_thirteenth_request_in_six_seconds_is_refused(aep: AepCaller) -> None:
    statuses = [aep.get("/data/connections").status for _ in range(13)]
    refused = aep.get("/data/connections")

    assert statuses == [200] * 12 + [429]
    assert refused.json == {"error_code": "429050", "message": "Too many requests"}


def test_the_limit_is_over_after_six_seconds() -> None:
    clock = ManualClock()
    window = RequestWindow(clock)
    first = [window.admits() for _ in range(13)]

    clock.advance(6)

    assert first == [True] * 12 + [False]
    assert window.admits()


@pytest.mark.parametrize(
    ("access", "status", "code"),
    [
        (CjaAccess.NO_API, 403, "403003"),
        (CjaAccess.NO_PROFILE, 403, "403025"),
        (CjaAccess.NO_SCOPE, 401, "insufficient_scope"),
    ],
)
def test_what_the_credential_may_do_is_set_over_http(
    aep: AepCaller, access: CjaAccess, status: int, code: str
) -> None:
    state = msgspec.json.encode(CjaState(access, (MAIN,)))
    assert aep.call("PUT", "/_simulator/cja", state).status == 200

    response = aep.get("/data/connections")

    assert response.status == status
    assert code in response.json.values()


def test_without_product_administration_there_is_nothing_to_see(
    simulator: AepSimulator, aep: AepCaller
) -> None:
    simulator.cja.replace(CjaState(CjaAccess.OWN_ONLY, (MAIN,)))

    assert listed(aep)["totalElements"] == 0


def test_a_state_that_cannot_be_is_refused(aep: AepCaller) -> None:
    for state in (b'{"connections": [{"id": "x", "name": "y"}]}', b'{"nonsense": 1}', b"{"):
        assert aep.call("PUT", "/_simulator/cja", state).status == 400


def test_the_gateway_wants_a_token(aep: AepCaller) -> None:
    response = aep.call("GET", "/data/connections", Authorization=None)

    assert (response.status, response.json["error_code"]) == (403, "403010")


def test_faults_are_scripted_for_cja_alone(simulator: AepSimulator, aep: AepCaller) -> None:
    simulator.add_faults(*read_script(b'{"action": "status", "on": "cja", "status": 503}'))

    assert aep.get("/data/connections").status == 503
    assert aep.get("/data/foundation/catalog/dataSets/ds").status == 200


def test_the_last_ingested_time_can_be_set() -> None:
    dataset = CjaDataset("ds", "Scores", last_ingested="2026-11-02T03:04:05Z")
    state = CjaState(connections=(CjaConnection(IDS[0], "Main", (dataset,)),))
    api = CjaApi(Organisation(), state, RequestWindow(ManualClock()), lambda _: 1)

    answer = api.list({"expansion": "dataSets,dataSetLastIngested"})

    shown = msgspec.json.decode(answer.body)["content"][0]["dataSets"][0]
    assert shown["lastIngestedTime"] == "2026-11-02T03:04:05Z"
