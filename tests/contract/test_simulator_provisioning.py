"""The simulated schema registry, catalog and flow service, by the rules of Adobe's documents."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from tests.support.aep_caller import AepCaller, AepResponse
from tests.support.waiting import until

REGISTRY = "/data/foundation/schemaregistry"
FLOWS = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"
EVENT = "https://ns.adobe.com/xdm/context/experienceevent"
FULL = "application/vnd.adobe.xed-full+json; version=1"
IDS = "application/vnd.adobe.xed-id+json"
STREAMING = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
LAKE = {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"}
XDM_FLOW = {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"}
SCORE = {"type": "number"}


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with AepSimulator(settings=SimulatorSettings(page_size=1)) as running:
        yield running


@pytest.fixture
def aep(simulator: AepSimulator) -> AepCaller:
    return AepCaller(simulator)


def post(aep: AepCaller, path: str, body: object) -> AepResponse:
    return aep.call("POST", path, json.dumps(body))


def group(tenant: str = "_acme", **fields: Any) -> dict[str, Any]:  # noqa: ANN401  XDM
    own = {"type": "object", "properties": fields or {"score": SCORE}}
    return {
        "type": "object",
        "title": "Group",
        "meta:intendedToExtend": [EVENT],
        "definitions": {"customFields": {"type": "object", "properties": {tenant: own}}},
        "allOf": [{"$ref": "#/definitions/customFields"}],
    }


def schema_of(aep: AepCaller, group_id: str) -> str:
    body = {
        "type": "object",
        "title": "Scores",
        "description": "Scores.",
        "allOf": [{"$ref": EVENT}, {"$ref": group_id}],
    }
    made: str = post(aep, f"{REGISTRY}/tenant/schemas", body).json["$id"]
    return made


class Path:
    """One flow from an inlet into a dataset, made through the APIs."""

    def __init__(self, aep: AepCaller) -> None:
        self.group = post(aep, f"{REGISTRY}/tenant/fieldgroups", group()).json["$id"]
        self.schema = schema_of(aep, self.group)
        self.reference = {"id": self.schema, "contentType": "application/vnd.adobe.xed+json"}
        answer = post(aep, f"{CATALOG}/dataSets", {"name": "D", "schemaRef": self.reference})
        self.dataset = answer.json[0].removeprefix("@/dataSets/")
        self.connection = self._make(aep, "connections", auth=_auth(), connectionSpec=STREAMING)
        source = self._make(
            aep,
            "sourceConnections",
            baseConnectionId=self.connection,
            connectionSpec=STREAMING,
            data={"format": "json"},
        )
        target = self._make(
            aep,
            "targetConnections",
            data={"schema": {"id": self.schema}},
            params={"dataSetId": self.dataset},
            connectionSpec=LAKE,
        )
        self.flow = self._make(
            aep,
            "flows",
            flowSpec=XDM_FLOW,
            sourceConnectionIds=[source],
            targetConnectionIds=[target],
        )
        document = aep.get(f"{FLOWS}/connections/{self.connection}").json["items"][0]
        self.inlet = document["auth"]["params"]["inletUrl"].removeprefix(aep.simulator.url)

    def send(self, aep: AepCaller, **fields: Any) -> int:  # noqa: ANN401  XDM
        entity = {"_id": "1", "timestamp": "2026-11-02T00:00:00Z", "_acme": fields}
        message = {
            "header": {
                "schemaRef": self.reference,
                "imsOrgId": aep.simulator.organisation.org_id,
                "datasetId": self.dataset,
                "flowId": self.flow,
                "source": {"name": "test"},
            },
            "body": {"xdmMeta": {"schemaRef": self.reference}, "xdmEntity": entity},
        }
        return aep.call("POST", self.inlet, json.dumps(message)).status

    def _make(self, aep: AepCaller, kind: str, **body: Any) -> str:  # noqa: ANN401  JSON
        made: str = post(aep, f"{FLOWS}/{kind}", {"name": "N", **body}).json["id"]
        return made


def _auth() -> dict[str, Any]:
    params = {"sourceId": "s", "dataType": "xdm", "name": "s", "authenticationRequired": True}
    return {"specName": "Streaming Connection", "params": params}


def test_stats_name_organisation_and_tenant(aep: AepCaller) -> None:
    stats = aep.get(f"{REGISTRY}/stats").json

    assert (stats["imsOrg"], stats["tenantId"]) == (aep.simulator.organisation.org_id, "acme")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{REGISTRY}/tenant/fieldgroups", {"type": "object", "title": "no class"}),
        (f"{REGISTRY}/tenant/fieldgroups", group("_other")),
        (f"{REGISTRY}/tenant/schemas", {"type": "object", "title": "S", "allOf": []}),
        (f"{CATALOG}/dataSets", {"name": "D", "schemaRef": {"id": "nothing"}}),
        (f"{FLOWS}/connections", {"name": "C"}),
        (f"{FLOWS}/sourceConnections", {"name": "S", "connectionSpec": STREAMING}),
        (f"{FLOWS}/flows", {"flowSpec": XDM_FLOW, "sourceConnectionIds": ["nothing"]}),
    ],
)
def test_a_body_that_lacks_something_is_a_400(aep: AepCaller, path: str, body: object) -> None:
    assert post(aep, path, body).status == 400


def test_the_registry_wants_an_accept_header_with_a_version_for_one_and_without_for_a_list(
    aep: AepCaller,
) -> None:
    path = f"{REGISTRY}/tenant/fieldgroups"
    made = post(aep, path, group()).json["meta:altId"]

    assert aep.call("GET", f"{path}/{made}").status == 400
    assert aep.call("GET", path, Accept=FULL).status == 400
    assert aep.call("GET", path, Accept=IDS).json["results"][0]["title"] == "Group"
    full = aep.call("GET", f"{path}/{made}", Accept=FULL).json
    assert full["properties"]["_acme"]["properties"]["score"]["meta:xdmType"] == "number"


def test_two_objects_may_have_one_name_and_pages_are_as_long_as_the_service_likes(
    aep: AepCaller,
) -> None:
    body = {"name": "C", "auth": _auth(), "connectionSpec": STREAMING}
    for _ in range(2):
        post(aep, f"{FLOWS}/connections", body)

    first = aep.get(f"{FLOWS}/connections?property=name==C&limit=50").json
    token = first["_links"]["next"]["href"].partition("?")[2]
    second = aep.get(f"{FLOWS}/connections?{token}").json

    assert [len(page["items"]) for page in (first, second)] == [1, 1]
    assert "_links" not in second


def test_fields_are_added_and_never_changed(aep: AepCaller) -> None:
    path = (
        f"{REGISTRY}/tenant/fieldgroups/"
        + post(aep, f"{REGISTRY}/tenant/fieldgroups", group()).json["meta:altId"]
    )
    place = "/definitions/customFields/properties/_acme/properties"

    def patch(operation: str, name: str, value: object) -> int:
        body = [{"op": operation, "path": f"{place}/{name}", "value": value}]
        return aep.call("PATCH", path, json.dumps(body)).status

    assert patch("add", "other", {"type": "string"}) == 200
    assert patch("add", "score", {"type": "string"}) == 400
    assert patch("remove", "score", None) == 400


def test_what_is_made_takes_events_and_validates_them_later(
    aep: AepCaller, simulator: AepSimulator
) -> None:
    path = Path(aep)

    assert path.send(aep, score=1.5) == 200
    assert path.send(aep, score="1.5") == 200
    assert len(simulator.failed_rows(path.dataset)) == 1


def test_a_new_flow_loses_events_without_an_error() -> None:
    with AepSimulator(settings=SimulatorSettings(time_scale=0.001)) as simulator:
        aep = AepCaller(simulator)
        path = Path(aep)

        assert path.send(aep, score=1.0) == 200
        assert simulator.accepted_events.total() == 0
        assert simulator.summary()["dropped"] == 1

        def arrives() -> bool:
            path.send(aep, score=1.0)
            return simulator.accepted_events.total() > 0

        until(arrives, seconds=5, what="the flow is ready")


def test_new_objects_are_in_lists_later() -> None:
    with AepSimulator(settings=SimulatorSettings(time_scale=0.02)) as simulator:
        aep = AepCaller(simulator)
        body = {"name": "C", "auth": _auth(), "connectionSpec": STREAMING}
        made = post(aep, f"{FLOWS}/connections", body).json["id"]

        assert aep.get(f"{FLOWS}/connections").json["items"] == []
        assert aep.get(f"{FLOWS}/connections/{made}").status == 200
        until(
            lambda: aep.get(f"{FLOWS}/connections").json["items"] != [],
            seconds=5,
            what="the connection is listed",
        )


def test_a_changed_schema_is_used_later() -> None:
    with AepSimulator(settings=SimulatorSettings(time_scale=0.001)) as simulator:
        aep = AepCaller(simulator)
        path = Path(aep)
        body = simulator.registry.body(path.group)
        own = body["definitions"]["customFields"]["properties"]["_acme"]["properties"]
        own["added"] = {"type": "string"}
        simulator.registry.replace(path.group, body)

        until(
            lambda: path.send(aep, score=1.0) == 200 and simulator.accepted_events.total() > 0,
            seconds=5,
            what="the flow is ready",
        )
        path.send(aep, added="x")
        assert len(simulator.failed_rows(path.dataset)) == 1

        def accepted() -> bool:
            before = len(simulator.failed_rows(path.dataset))
            path.send(aep, added="x")
            return len(simulator.failed_rows(path.dataset)) == before

        until(accepted, seconds=5, what="the new schema is used")
