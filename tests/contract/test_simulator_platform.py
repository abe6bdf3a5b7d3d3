"""IMS, catalog, data access, flow service and schema registry against Adobe's documentation."""

from collections.abc import Iterator
from urllib.parse import quote, urlencode

import msgspec
import pytest

from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from tests.support.aep_caller import CLOSED, AepCaller, message, row, with_dataset

FOUNDATION = "/data/foundation"
FULL = "application/vnd.adobe.xed-full+json; version=1"
GRANT = {
    "grant_type": "client_credentials",
    "client_id": "simulator-client",
    "client_secret": "simulator-secret",
    "scope": "openid,AdobeID,read_organizations",
}


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


@pytest.fixture
def aep(simulator: AepSimulator) -> AepCaller:
    return AepCaller(simulator)


def request_token(aep: AepCaller, **form: str) -> tuple[int, dict[str, object]]:
    response = aep.call(
        "POST",
        "/ims/token/v3",
        urlencode({**GRANT, **form}),
        Content_Type="application/x-www-form-urlencoded",
    )
    return response.status, response.json


def test_a_token_response_has_its_lifetime_in_seconds(aep: AepCaller) -> None:
    status, token = request_token(aep)

    assert status == 200
    assert (token["token_type"], token["expires_in"]) == ("bearer", 86_399)
    response = aep.single(message(), Authorization=f"Bearer {token['access_token']}")
    assert response.status == 200


def test_a_token_with_a_lifetime_of_zero_is_expired() -> None:
    with with_dataset(AepSimulator(settings=SimulatorSettings(token_seconds=0))) as simulator:
        assert AepCaller(simulator).single(message()).status == 401


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"client_secret": "x"}, "invalid_client", "invalid client_secret parameter"),
        ({"client_id": "x"}, "invalid_client", "invalid client_id parameter"),
        ({"grant_type": "password"}, "unsupported_grant_type", "unsupported grant_type"),
        ({"scope": "x"}, "invalid_scope", "invalid scope parameter"),
    ],
)
def test_a_wrong_token_request_is_a_400(
    aep: AepCaller, changes: dict[str, str], error: str, description: str
) -> None:
    assert request_token(aep, **changes) == (
        400,
        {"error": error, "error_description": description},
    )


def test_a_dataset_is_an_object_keyed_by_its_id(aep: AepCaller) -> None:
    response = aep.get(f"{FOUNDATION}/catalog/dataSets/ds")

    assert response.status == 200
    assert response.json["ds"]["schemaRef"] == message()["header"]["schemaRef"]
    assert response.json["ds"]["name"] == "Scores"


def test_a_flow_is_an_item_in_a_list(aep: AepCaller) -> None:
    flow = aep.get(f"{FOUNDATION}/flowservice/flows/flow").json["items"][0]

    assert (flow["id"], flow["state"]) == ("flow", "enabled")
    target = flow["inheritedAttributes"]["targetConnections"][0]
    assert target["params"]["dataSetId"] == "ds"


def test_a_schema_is_found_by_its_encoded_id(aep: AepCaller) -> None:
    name = "https://ns.adobe.com/acme/schemas/1"

    path = f"{FOUNDATION}/schemaregistry/tenant/schemas/{quote(name, safe='')}"
    schema = aep.call("GET", path, Accept=FULL).json

    assert schema["$id"] == name
    assert schema["properties"] == CLOSED["properties"]


def test_failed_rows_are_found_by_catalog_and_data_access(aep: AepCaller) -> None:
    aep.batch(message(row(1)), message(row(2, extra=1)), message(row(3, extra=1)))

    batches = aep.get(f"{FOUNDATION}/catalog/batches?dataSet=ds&status=failed").json
    (name, batch), *rest = batches.items()
    files = aep.get(f"{FOUNDATION}/export/batches/{name}/failed").json
    part = files["data"][1]
    href = part["_links"]["self"]["href"].removeprefix(aep.simulator.url)
    rows = [msgspec.json.decode(line) for line in aep.get(href).body.splitlines()]

    assert rest == []
    assert (batch["status"], batch["failedRecordCount"]) == ("failed", 2)
    assert batch["relatedObjects"] == [{"type": "dataSet", "id": "ds"}]
    assert [file["name"] for file in files["data"]] == ["_SUCCESS", part["name"]]
    assert files["_page"] == {"limit": 100, "count": 2}
    assert int(part["length"]) == len(aep.get(href).body)
    assert [one["body"]["xdmEntity"]["_id"] for one in rows] == [f"{2:064x}", f"{3:064x}"]


def test_other_datasets_and_statuses_have_no_failed_batches(aep: AepCaller) -> None:
    aep.batch(message(row(2, extra=1)))

    assert aep.get(f"{FOUNDATION}/catalog/batches?dataSet=other&status=failed").json == {}
    assert aep.get(f"{FOUNDATION}/catalog/batches?dataSet=ds&status=success").json == {}


@pytest.mark.parametrize(
    "path",
    [
        "catalog/dataSets/x",
        "catalog/batches/x",
        "export/batches/x/failed",
        "flowservice/flows/x",
        "schemaregistry/tenant/schemas/x",
    ],
)
def test_an_unknown_object_is_a_404(aep: AepCaller, path: str) -> None:
    assert aep.call("GET", f"{FOUNDATION}/{path}", Accept=FULL).status == 404


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": None}, 403, "403010"),
        ({"Authorization": "Bearer nonsense"}, 401, "401013"),
        ({"x_api_key": None}, 403, "403000"),
        ({"x_api_key": "other"}, 403, "403003"),
        ({"x_gw_ims_org_id": "other"}, 403, "403025"),
    ],
)
def test_the_gateway_refuses_with_its_own_codes(
    aep: AepCaller, headers: dict[str, str | None], status: int, code: str
) -> None:
    response = aep.call("GET", f"{FOUNDATION}/catalog/dataSets/ds", **headers)

    assert (response.status, response.json["error_code"]) == (status, code)
