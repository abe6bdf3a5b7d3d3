"""The token endpoint, and the APIs of platform.adobe.io that a sender uses.

Source: AEP Catalog, Data Access, Flow Service and Schema Registry APIs (OpenAPI).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.data_lake import DataLake, FailedBatch
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript
from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.organisation import CatalogBatch, Dataset, Flow, Organisation
from processor.simulator.aep.responses import (
    SimulatedResponse,
    gateway_error,
    json_response,
    scripted_response,
    send,
)

_CLIENT = "acp_foundation_push"
_BASE_CONNECTION_SPEC = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
_FLOW_SPEC = {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"}


class PlatformApi:
    """Responses of catalog, data access, flow service and schema registry for one organisation."""

    def __init__(self, organisation: Organisation, data_lake: DataLake, clock: Clock) -> None:
        self._organisation = organisation
        self._data_lake = data_lake
        self._created_ms = clock.now_ms()

    def dataset(self, dataset_id: str) -> SimulatedResponse:
        """Look a dataset up in the catalog."""
        dataset = self._organisation.datasets.get(dataset_id)
        if dataset is None:
            return _not_found(f"Dataset {dataset_id}")
        return json_response(200, {dataset_id: self._dataset(dataset)})

    def datasets(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List datasets; at most 100 at a time (specified), 20 unless asked (documented)."""
        name = query.get("name")
        found = [each for each in self._organisation.datasets.values() if name in (None, each.name)]
        shown = {each.id: self._dataset(each) for each in _page(found, query)}
        kept = set(filter(None, query.get("properties", "").split(",")))
        if kept:
            shown = {
                key: {n: v for n, v in each.items() if n in kept} for key, each in shown.items()
            }
        return json_response(200, shown)

    def batches(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List batches, oldest first unless `orderBy` is `desc:created` (documented)."""
        wanted = set(filter(None, query.get("status", "").split(",")))
        dataset_id, client = query.get("dataSet"), query.get("createdClient", _CLIENT)
        stored = self._organisation.batches.values()
        found = [
            (at, key, document)
            for at, key, document in [
                *((b.created_ms, b.id, self._batch(b)) for b in self._data_lake.failed()),
                *((b.created_ms, b.id, self._stored_batch(b)) for b in stored),
            ]
            if (not wanted or document["status"] in wanted)
            and dataset_id in (None, document["relatedObjects"][0]["id"])
            and client == _CLIENT
        ]
        found.sort(key=lambda each: each[0], reverse=query.get("orderBy") == "desc:created")
        return json_response(200, {key: document for _, key, document in _page(found, query)})

    def batch(self, batch_id: str) -> SimulatedResponse:
        """Look one batch up in the catalog."""
        stored, found = self._organisation.batches.get(batch_id), self._find(batch_id)
        if stored is not None:
            return json_response(200, {batch_id: self._stored_batch(stored)})
        if found is None:
            return _not_found(f"Batch {batch_id}")
        return json_response(200, {batch_id: self._batch(found)})

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
        return json_response(200, {"data": entries, "_page": {"limit": 100, "count": len(entries)}})

    def flow(self, flow_id: str) -> SimulatedResponse:
        """Look a flow up."""
        flow = self._organisation.flows.get(flow_id)
        if flow is None:
            return _not_found(f"Flow {flow_id}")
        return json_response(200, {"items": [self._flow(flow)]})

    def schema(self, schema_id: str) -> SimulatedResponse:
        """Look a schema up by its `$id`."""
        for dataset in self._organisation.datasets.values():
            if dataset.schema_id == schema_id:
                schema = dataset.schema or {"type": "object"}
                header = {"$id": schema_id, "title": f"{dataset.name} schema", "version": "1.0"}
                header |= {"meta:class": dataset.class_id}
                return json_response(200, {**schema, **header})
        return _not_found(f"Schema {schema_id}")

    def _find(self, batch_id: str) -> FailedBatch | None:
        return next((batch for batch in self._data_lake.failed() if batch.id == batch_id), None)

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

    def _stored_batch(self, batch: CatalogBatch) -> dict[str, Any]:
        """Return a batch as the guide to the download of scores shows it (documented)."""
        document = {
            **self._stamp(),
            "created": batch.created_ms,
            "started": batch.created_ms,
            "completed": batch.created_ms,
            "status": batch.status,
            "version": "1.0.5",
            "inputFormat": {"format": "parquet"},
            "metrics": {"outputRecordCount": batch.rows},
            "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        }
        if batch.predecessors:
            document["replay"] = {
                "predecessors": list(batch.predecessors),
                "reason": "Replacing the scores of the run before",
                "predecessorListingType": "IMMEDIATE",
            }
        return document

    def _flow(self, flow: Flow) -> dict[str, Any]:
        dataset = self._organisation.datasets[flow.dataset_id]
        return {
            "id": flow.id,
            "createdAt": self._created_ms,
            "updatedAt": self._created_ms,
            "name": f"{dataset.name} flow",
            "imsOrgId": self._organisation.org_id,
            "sandboxName": self._organisation.sandbox_name,
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
            "imsOrg": self._organisation.org_id,
            "created": self._created_ms,
            "createdClient": _CLIENT,
            "createdUser": f"{_CLIENT}@AdobeID",
            "updatedUser": f"{_CLIENT}@AdobeID",
            "updated": self._created_ms,
        }


def gateway_refusal(
    organisation: Organisation, ims: Ims, headers: Mapping[str, str]
) -> SimulatedResponse | None:
    """Return the API gateway's refusal, None if the request is accepted."""
    match ims.state(headers.get("Authorization")):
        case TokenState.MISSING:
            return gateway_error(403, "403010", "Oauth token is missing.")
        case TokenState.EXPIRED | TokenState.UNKNOWN:
            return gateway_error(401, "401013", "Oauth token is not valid")
        case TokenState.VALID:
            pass
    if headers.get("x-api-key") is None:
        return gateway_error(403, "403000", "Api Key is required")
    if headers.get("x-api-key") != organisation.credentials.client_id:
        return gateway_error(403, "403003", "Api Key is invalid")
    if headers.get("x-gw-ims-org-id") != organisation.org_id:
        return gateway_error(403, "403025", "Profile is not valid")
    return None


def as_count(text: str | None, otherwise: int) -> int:
    """Return a query parameter as a number, `otherwise` if it is missing or not a number."""
    return int(text) if text and text.isdecimal() else otherwise


_Item = TypeVar("_Item")


def _page(found: Sequence[_Item], query: Mapping[str, str]) -> Sequence[_Item]:
    """Return the items of a page; the catalog takes at most 100 (specified)."""
    start = as_count(query.get("start"), 0)
    return found[start : start + min(100, as_count(query.get("limit"), 20))]


def _not_found(what: str) -> SimulatedResponse:
    title = f"{what} was not found"
    return json_response(404, {"type": "about:blank", "status": 404, "title": title})


_Decide = Callable[[web.Request], SimulatedResponse]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ROOT = "/data/foundation"


class PlatformEndpoint:
    """Tokens and look-ups for one organisation, with faults."""

    def __init__(
        self, organisation: Organisation, ims: Ims, faults: FaultScript, clock: Clock
    ) -> None:
        self._organisation = organisation
        self._ims = ims
        self._faults = faults
        self._clock = clock

    def routes(self, platform: PlatformApi) -> list[web.RouteDef]:
        """Return the paths of IMS and of platform.adobe.io."""
        lookups: dict[str, _Decide] = {
            "/catalog/dataSets": lambda r: platform.datasets(r.query),
            "/catalog/dataSets/{id}": lambda r: platform.dataset(r.match_info["id"]),
            "/catalog/batches": lambda r: platform.batches(r.query),
            "/catalog/batches/{id}": lambda r: platform.batch(r.match_info["id"]),
            "/export/batches/{id}/failed": lambda r: platform.failed(
                r.match_info["id"], r.query.get("path"), str(r.url.origin())
            ),
            "/flowservice/flows/{id}": lambda r: platform.flow(r.match_info["id"]),
            "/schemaregistry/tenant/schemas/{id:.+}": lambda r: platform.schema(
                unquote(r.match_info["id"])
            ),
        }
        lookup_routes = [
            web.get(_ROOT + path, self._behind_gateway(lookups[path])) for path in lookups
        ]
        return [web.post("/ims/token/v3", self._token), *lookup_routes]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(text) for name, text in (await request.post()).items()}
        parameters = {**request.query, **form}
        return await self._handle(
            request, Endpoint.IMS, lambda _: json_response(*self._ims.token_response(parameters))
        )

    def _behind_gateway(self, look_up: _Decide) -> _Handler:
        def decide(request: web.Request) -> SimulatedResponse:
            refusal = gateway_refusal(self._organisation, self._ims, request.headers)
            return refusal or self._other_sandbox(request) or look_up(request)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, Endpoint.PLATFORM, decide)

        return handle

    def _other_sandbox(self, request: web.Request) -> SimulatedResponse | None:
        """Refuse a sandbox without a role for the credential (status and body inferred)."""
        if request.headers.get("x-sandbox-name", "prod") == self._organisation.sandbox_name:
            return None
        title = "The sandbox does not exist, or access to it is not permitted"
        return json_response(403, {"type": "about:blank", "status": 403, "title": title})

    async def _handle(
        self, request: web.Request, endpoint: Endpoint, decide: _Decide
    ) -> web.StreamResponse:
        plan = self._faults.plan(endpoint)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.fault and plan.fault.action in {FaultAction.STATUS, FaultAction.RESPONSE}:
            response = scripted_response(plan.fault, self._clock)
        else:
            response = decide(request)
        sent, _ = await send(request, response, plan.fault)
        return sent
