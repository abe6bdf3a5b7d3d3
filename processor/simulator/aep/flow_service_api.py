"""The flow service: connections, source and target connections, and flows.

Source: AEP Flow Service API (OpenAPI) and the guide to streaming connections over HTTP.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.catalog_api import not_found
from processor.simulator.aep.listing import Listing, as_count, property_filter
from processor.simulator.aep.organisation import Flow, Organisation, StreamingConnection
from processor.simulator.aep.responses import SimulatedResponse, json_response

FLOW_SECONDS: Final = 300.0
"""What is sent to a younger flow may be lost (documented: at least 5 minutes)."""

_STREAMING = "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb"
_DATA_LAKE = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
_XDM_FLOW = "d8a6f005-7eaf-4153-983e-e8574508b877"
_VERSION = {"version": "1.0"}
_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "connections": ("connectionSpec",),
    "sourceConnections": ("connectionSpec", "data", "name"),
    "targetConnections": ("connectionSpec", "data"),
    "flows": ("flowSpec",),
}
"""Required members of a body (specified)."""
_MOST_LISTED = 100


class _Stored(msgspec.Struct):
    id: str
    folder: str
    body: dict[str, Any]
    created_ms: int
    inlet_id: str = ""
    state: str = "enabled"


class FlowServiceApi:
    """Responses of the flow service; `changed` is called when inlets or flows have changed.

    Two objects may have one name (documented by example: names are no keys). `flow_seconds` is for
    how long a new flow loses what it is sent.
    """

    def __init__(
        self, organisation: Organisation, listing: Listing, clock: Clock, flow_seconds: float
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._organisation = organisation
        self._listing = listing
        self._clock = clock
        self._flow_ms = int(flow_seconds * 1000)
        self._started_ms = clock.now_ms()
        self._stored: dict[str, _Stored] = {}

    def create(self, folder: str, body: bytes) -> SimulatedResponse:
        """Create an object; the answer has only `id` and `etag` (specified)."""
        document = msgspec.json.decode(body)
        problem = self._problem(folder, document)
        if problem:
            return _bad_request(problem)
        made = _Stored(str(uuid4()), folder, document, self._clock.now_ms())
        if folder == "connections":
            made.inlet_id = secrets.token_hex(32)
            needs_token = document["auth"]["params"].get("authenticationRequired", False)
            self._organisation.inlets[made.inlet_id] = StreamingConnection(
                made.inlet_id, needs_token
            )
        self._stored[made.id] = made
        if folder == "flows":
            self._connect(made)
        self.changed()
        return json_response(201, {"id": made.id, "etag": f'"{secrets.token_hex(8)}"'})

    def list(self, folder: str, query: Mapping[str, str], base_url: str) -> SimulatedResponse:
        """List objects, following a `continuationToken` (specified); the page size is its own."""
        name = property_filter(query, "name")
        found = [
            each
            for each in self._stored.values()
            if each.folder == folder
            and name in (None, each.body.get("name"))
            and self._listing.is_listed(each.created_ms)
        ]
        start = as_count(query.get("continuationToken"), 0)
        page = self._listing.page(found, start, as_count(query.get("limit"), _MOST_LISTED))
        answer: dict[str, Any] = {"items": [self._document(each, base_url) for each in page]}
        if start + len(page) < len(found):
            address = f"/{folder}?continuationToken={start + len(page)}"
            answer["_links"] = {"next": {"href": address}}
        return json_response(200, answer)

    def look_up(self, folder: str, object_id: str, base_url: str) -> SimulatedResponse:
        """Look one up; the answer is a list of one (specified)."""
        stored = self._stored.get(object_id)
        if stored is not None and stored.folder == folder:
            return json_response(200, {"items": [self._document(stored, base_url)]})
        flow = self._organisation.flows.get(object_id) if folder == "flows" else None
        if flow is None:
            return not_found(f"Object {object_id}")
        return json_response(200, {"items": [self._registered(flow)]})

    def disable(self, flow_id: str) -> None:
        """Disable a flow, as a person could in the UI; it then loses what it is sent (inferred)."""
        self._stored[flow_id].state = "disabled"
        flow = self._organisation.flows[flow_id]
        self._organisation.flows[flow_id] = msgspec.structs.replace(flow, enabled=False)

    def delete(self, object_id: str) -> None:
        """Delete an object, as a person could in the UI."""
        del self._stored[object_id]
        self._organisation.flows.pop(object_id, None)

    def count(self, folder: str) -> int:
        """Return how many objects there are."""
        return sum(each.folder == folder for each in self._stored.values())

    def _problem(self, folder: str, body: Any) -> str | None:  # noqa: ANN401  JSON
        if not isinstance(body, dict):
            return "The body is not an object"
        missing = [key for key in _REQUIRED[folder] if not body.get(key)]
        if missing:
            return f"Required: {', '.join(missing)}"
        check = {
            "connections": self._connection_problem,
            "sourceConnections": self._source_problem,
            "targetConnections": self._target_problem,
            "flows": self._flow_problem,
        }[folder]
        return check(body)

    def _connection_problem(self, body: dict[str, Any]) -> str | None:
        params = body.get("auth", {}).get("params", {})
        if body["connectionSpec"].get("id") != _STREAMING:
            return "This simulator has streaming connections only"
        lacking = [key for key in ("sourceId", "dataType", "name") if not params.get(key)]
        return f"auth.params lacks {lacking}" if lacking else None

    def _source_problem(self, body: dict[str, Any]) -> str | None:
        found = self._of("connections", body.get("baseConnectionId"))
        return None if found else "The base connection does not exist"

    def _target_problem(self, body: dict[str, Any]) -> str | None:
        if body["connectionSpec"].get("id") != _DATA_LAKE:
            return "The target is not the data lake"
        dataset = self._organisation.datasets.get(body.get("params", {}).get("dataSetId"))
        if dataset is None:
            return "The dataset does not exist"
        same = body["data"].get("schema", {}).get("id") == dataset.schema_id
        return None if same else "The schema is not that of the dataset"

    def _flow_problem(self, body: dict[str, Any]) -> str | None:
        if body["flowSpec"].get("id") != _XDM_FLOW:
            return "The flow specification does not fit a streaming source of XDM"
        for folder, key in (
            ("sourceConnections", "sourceConnectionIds"),
            ("targetConnections", "targetConnectionIds"),
        ):
            ids = body.get(key, [])
            if len(ids) != 1 or not self._of(folder, ids[0]):
                return f"{key} has to name one connection that exists"
        return None

    def _of(self, folder: str, object_id: object) -> _Stored | None:
        found = self._stored.get(str(object_id))
        return found if found is not None and found.folder == folder else None

    def _connect(self, made: _Stored) -> None:
        source = self._stored[made.body["sourceConnectionIds"][0]]
        target = self._stored[made.body["targetConnectionIds"][0]]
        connection = self._stored[source.body["baseConnectionId"]]
        self._organisation.flows[made.id] = Flow(
            made.id,
            connection.inlet_id,
            target.body["params"]["dataSetId"],
            ready_ms=made.created_ms + self._flow_ms,
        )

    def _document(self, stored: _Stored, base_url: str) -> dict[str, Any]:
        body = msgspec.json.decode(msgspec.json.encode(stored.body))
        if stored.inlet_id:
            inlet = {
                "inletUrl": f"{base_url}/collection/{stored.inlet_id}",
                "inletId": stored.inlet_id,
            }
            body["auth"]["params"] |= inlet
        if stored.folder == "flows":
            body["inheritedAttributes"] = self._inherited(stored)
        return {
            **body,
            "id": stored.id,
            "createdAt": stored.created_ms,
            "updatedAt": stored.created_ms,
            "sandboxName": self._organisation.sandbox_name,
            "imsOrgId": self._organisation.org_id,
            "state": stored.state,
            "version": '"1"',
            "etag": '"1"',
        }

    def _inherited(self, flow: _Stored) -> dict[str, Any]:
        source = self._stored[flow.body["sourceConnectionIds"][0]]
        target = self._stored[flow.body["targetConnectionIds"][0]]
        specification = {"id": _STREAMING, **_VERSION}
        return {
            "sourceConnections": [
                {
                    "id": source.id,
                    "baseConnection": {
                        "id": source.body["baseConnectionId"],
                        "connectionSpec": specification,
                    },
                }
            ],
            "targetConnections": [{"id": target.id, "params": target.body["params"]}],
        }

    def _registered(self, flow: Flow) -> dict[str, Any]:
        """Return a flow that was not made through the API."""
        base = {"id": flow.inlet_id, "connectionSpec": {"id": _STREAMING, **_VERSION}}
        return {
            "id": flow.id,
            "createdAt": self._started_ms,
            "updatedAt": self._started_ms,
            "name": f"{self._organisation.datasets[flow.dataset_id].name} flow",
            "imsOrgId": self._organisation.org_id,
            "sandboxName": self._organisation.sandbox_name,
            "flowSpec": {"id": _XDM_FLOW, **_VERSION},
            "state": "enabled",
            "inheritedAttributes": {
                "sourceConnections": [{"baseConnection": base}],
                "targetConnections": [{"params": {"dataSetId": flow.dataset_id}}],
            },
        }


def _bad_request(title: str) -> SimulatedResponse:
    return json_response(400, {"type": "about:blank", "status": 400, "title": title})
