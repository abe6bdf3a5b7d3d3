"""The token endpoint and the paths of platform.adobe.io, behind its gateway and with faults."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.catalog_api import CatalogApi
from processor.simulator.aep.data_access_api import DataAccessApi
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript
from processor.simulator.aep.flow_service_api import FlowServiceApi
from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.responses import (
    SimulatedResponse,
    gateway_error,
    json_response,
    scripted_response,
    send,
)
from processor.simulator.aep.schema_registry_api import SchemaRegistryApi


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


_Decide = Callable[[web.Request, bytes], SimulatedResponse]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ROOT = "/data/foundation"
_ANSWERS = frozenset((FaultAction.STATUS, FaultAction.RESPONSE))
_INSTEAD = _ANSWERS | {FaultAction.RESET, FaultAction.HANG}


class PlatformApis(NamedTuple):
    """The APIs of platform.adobe.io."""

    registry: SchemaRegistryApi
    catalog: CatalogApi
    flow_service: FlowServiceApi
    data_access: DataAccessApi


class PlatformEndpoint:
    """Tokens and look-ups for one organisation, with faults."""

    def __init__(
        self, organisation: Organisation, ims: Ims, faults: FaultScript, clock: Clock
    ) -> None:
        self._organisation = organisation
        self._ims = ims
        self._faults = faults
        self._clock = clock

    def routes(self, apis: PlatformApis) -> list[web.RouteDef]:
        """Return the paths of IMS and of platform.adobe.io."""
        reads = {**_catalog_reads(apis), **_registry_reads(apis), **_flow_reads(apis)}
        return [
            web.post("/ims/token/v3", self._token),
            *(web.get(_ROOT + path, self._behind_gateway(reads[path])) for path in reads),
            *(
                web.route(method, _ROOT + path, self._behind_gateway(decide))
                for method, path, decide in _writes(apis)
            ),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(text) for name, text in (await request.post()).items()}
        parameters = {**request.query, **form}
        return await self._handle(
            request, Endpoint.IMS, lambda *_: json_response(*self._ims.token_response(parameters))
        )

    def _behind_gateway(self, look_up: _Decide) -> _Handler:
        def decide(request: web.Request, body: bytes) -> SimulatedResponse:
            refusal = gateway_refusal(self._organisation, self._ims, request.headers)
            refusal = refusal or self._other_sandbox(request)
            try:
                return refusal or look_up(request, body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                title = "The body is not JSON"
                return json_response(400, {"type": "about:blank", "status": 400, "title": title})

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
        body = await request.read()
        line = f"{request.method} {request.path}\n".encode()
        plan = self._faults.plan(endpoint, body=line + body)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        fault = plan.fault
        if fault and fault.action in _INSTEAD and not fault.accept:
            response = scripted_response(fault, self._clock)
        else:
            response = decide(request, body)
            if fault and fault.action in _ANSWERS:
                response = scripted_response(fault, self._clock)
        sent, _ = await send(request, response, fault)
        return sent


def _catalog_reads(apis: PlatformApis) -> dict[str, _Decide]:
    return {
        "/catalog/dataSets": lambda r, _: apis.catalog.datasets(r.query),
        "/catalog/dataSets/{id}": lambda r, _: apis.catalog.dataset(r.match_info["id"]),
        "/catalog/batches": lambda r, _: apis.catalog.batches(r.query),
        "/catalog/batches/{id}": lambda r, _: apis.catalog.batch(r.match_info["id"]),
        "/export/batches/{id}/failed": lambda r, _: apis.data_access.failed(
            r.match_info["id"], r.query.get("path"), str(r.url.origin())
        ),
    }


def _registry_reads(apis: PlatformApis) -> dict[str, _Decide]:
    return {
        "/schemaregistry/stats": lambda _, __: apis.registry.stats(),
        "/schemaregistry/tenant/{folder:fieldgroups|schemas}": lambda r, _: apis.registry.list(
            r.match_info["folder"], r.query, r.headers.get("Accept", "")
        ),
        "/schemaregistry/tenant/{folder:fieldgroups|schemas}/{id:.+}": lambda r, _: (
            apis.registry.look_up(
                r.match_info["folder"], unquote(r.match_info["id"]), r.headers.get("Accept", "")
            )
        ),
    }


_FLOWS = "{folder:connections|sourceConnections|targetConnections|flows}"


def _flow_reads(apis: PlatformApis) -> dict[str, _Decide]:
    return {
        f"/flowservice/{_FLOWS}": lambda r, _: apis.flow_service.list(
            r.match_info["folder"], r.query, str(r.url.origin())
        ),
        f"/flowservice/{_FLOWS}/{{id}}": lambda r, _: apis.flow_service.look_up(
            r.match_info["folder"], r.match_info["id"], str(r.url.origin())
        ),
    }


def _writes(apis: PlatformApis) -> list[tuple[str, str, _Decide]]:
    registry = "/schemaregistry/tenant/{folder:fieldgroups|schemas}"
    return [
        (
            "POST",
            registry,
            lambda r, body: apis.registry.create(r.match_info["folder"], body),
        ),
        (
            "PATCH",
            registry + "/{id:.+}",
            lambda r, body: apis.registry.patch(
                r.match_info["folder"], unquote(r.match_info["id"]), body
            ),
        ),
        ("POST", "/catalog/dataSets", lambda _, body: apis.catalog.create(body)),
        (
            "POST",
            f"/flowservice/{_FLOWS}",
            lambda r, body: apis.flow_service.create(r.match_info["folder"], body),
        ),
    ]
