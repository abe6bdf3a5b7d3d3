"""The parts of platform.adobe.io that a sender asks: catalog, data access, flows, schemas.

Source: AEP Catalog, Data Access, Flow Service and Schema Registry APIs (OpenAPI).
"""

from collections.abc import Mapping
from typing import Any

from processor.domain.clock import Clock
from processor.simulator.aep.account import Dataset, Flow, Organisation
from processor.simulator.aep.answers import SimulatedResponse, gateway_problem, json_answer
from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.lake import FailedBatch, Lake

_CLIENT = "acp_foundation_push"
_BASE_CONNECTION_SPEC = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
_FLOW_SPEC = {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"}


class Platform:
    """Answers for one account; paths are the caller's business."""

    def __init__(self, account: Organisation, lake: Lake, clock: Clock) -> None:
        self._account = account
        self._lake = lake
        self._created_ms = clock.now_ms()

    def dataset(self, dataset_id: str) -> SimulatedResponse:
        """Look a dataset up in the catalog."""
        dataset = self._account.datasets.get(dataset_id)
        if dataset is None:
            return _not_found(f"Dataset {dataset_id}")
        return json_answer(200, {dataset_id: self._dataset(dataset)})

    def batches(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List failed batches, newest first: the only kind the simulator keeps."""
        wanted = query.get("status", "failed").split(",")
        batches = self._lake.failed(query.get("dataSet")) if "failed" in wanted else []
        most = as_count(query.get("limit"), 100)
        return json_answer(200, {batch.id: self._batch(batch) for batch in batches[:most]})

    def batch(self, batch_id: str) -> SimulatedResponse:
        """Look one batch up in the catalog."""
        found = self._find(batch_id)
        if found is None:
            return _not_found(f"Batch {batch_id}")
        return json_answer(200, {batch_id: self._batch(found)})

    def failed(self, batch_id: str, path: str | None, base_url: str) -> SimulatedResponse:
        """List the files of a failed batch, or return one as NDJSON."""
        batch = self._find(batch_id)
        if batch is None:
            return _not_found(f"Batch {batch_id}")
        rows = b"\n".join(batch.lines) + b"\n"
        files = {"_SUCCESS": b"", batch.file_name: rows}
        if path is not None:
            if path not in files:
                return _not_found(f"File {path}")
            return SimulatedResponse(200, files[path], {"Content-Type": "application/octet-stream"})
        address = f"{base_url}/data/foundation/export/batches/{batch_id}/failed?path="
        entries = [
            {"name": name, "length": str(len(body)), "_links": {"self": {"href": address + name}}}
            for name, body in files.items()
        ]
        return json_answer(200, {"data": entries, "_page": {"limit": 100, "count": len(entries)}})

    def flow(self, flow_id: str) -> SimulatedResponse:
        """Look a flow up."""
        flow = self._account.flows.get(flow_id)
        if flow is None:
            return _not_found(f"Flow {flow_id}")
        return json_answer(200, {"items": [self._flow(flow)]})

    def schema(self, schema_id: str) -> SimulatedResponse:
        """Look a schema up by its `$id`."""
        for dataset in self._account.datasets.values():
            if dataset.schema_id == schema_id:
                schema = dataset.schema or {"type": "object"}
                about = {"$id": schema_id, "title": f"{dataset.name} schema", "version": "1.0"}
                return json_answer(200, {**schema, **about})
        return _not_found(f"Schema {schema_id}")

    def _find(self, batch_id: str) -> FailedBatch | None:
        return next((batch for batch in self._lake.failed() if batch.id == batch_id), None)

    def _dataset(self, dataset: Dataset) -> dict[str, Any]:
        return {
            **self._stamp(),
            "name": dataset.name,
            "version": "1.0.0",
            "tags": {"adobe/pqs/table": [dataset.id]},
            "files": f"@/dataSetFiles?dataSetId={dataset.id}",
            "schemaRef": {"id": dataset.schema_id, "contentType": dataset.content_type},
        }

    def _batch(self, batch: FailedBatch) -> dict[str, Any]:
        return {
            **self._stamp(),
            "created": batch.created_ms,
            "status": "failed",
            "version": "1.0.0",
            "failedRecordCount": len(batch.lines),
            "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        }

    def _flow(self, flow: Flow) -> dict[str, Any]:
        dataset = self._account.datasets[flow.dataset_id]
        return {
            "id": flow.id,
            "createdAt": self._created_ms,
            "updatedAt": self._created_ms,
            "name": f"{dataset.name} flow",
            "imsOrgId": self._account.org_id,
            "sandboxName": self._account.sandbox_name,
            "flowSpec": _FLOW_SPEC,
            "state": "enabled",
            "inheritedAttributes": {
                "sourceConnections": [
                    {
                        "baseConnection": {
                            "id": flow.inlet_id,
                            "connectionSpec": _BASE_CONNECTION_SPEC,
                        }
                    }
                ],
                "targetConnections": [{"params": {"dataSetId": flow.dataset_id}}],
            },
        }

    def _stamp(self) -> dict[str, Any]:
        return {
            "imsOrg": self._account.org_id,
            "created": self._created_ms,
            "createdClient": _CLIENT,
            "createdUser": f"{_CLIENT}@AdobeID",
            "updatedUser": f"{_CLIENT}@AdobeID",
            "updated": self._created_ms,
        }


def gate(account: Organisation, ims: Ims, headers: Mapping[str, str]) -> SimulatedResponse | None:
    """Return the API gateway's refusal, None where a request may pass."""
    match ims.state(headers.get("Authorization")):
        case TokenState.MISSING:
            return gateway_problem(403, "403010", "Oauth token is missing.")
        case TokenState.EXPIRED | TokenState.UNKNOWN:
            return gateway_problem(401, "401013", "Oauth token is not valid")
        case TokenState.VALID:
            pass
    if headers.get("x-api-key") is None:
        return gateway_problem(403, "403000", "Api Key is required")
    if headers.get("x-api-key") != account.credentials.client_id:
        return gateway_problem(403, "403003", "Api Key is invalid")
    if headers.get("x-gw-ims-org-id") != account.org_id:
        return gateway_problem(403, "403025", "Profile is not valid")
    return None


def as_count(text: str | None, otherwise: int) -> int:
    """Return a query parameter as a number, `otherwise` where it is missing or not one."""
    return int(text) if text and text.isdecimal() else otherwise


def _not_found(what: str) -> SimulatedResponse:
    title = f"{what} was not found"
    return json_answer(404, {"type": "about:blank", "status": 404, "title": title})
