"""The paths of cja.adobe.io in the simulator."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.cja_api import CjaApi, CjaState
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript
from processor.simulator.aep.ims import Ims
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.platform_api import gateway_refusal
from processor.simulator.aep.responses import SimulatedResponse, scripted_response, send

_Decide = Callable[[web.Request], SimulatedResponse]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ROOT = "/data/connections"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class CjaEndpoint:
    """The paths of cja.adobe.io behind the API gateway, with faults."""

    def __init__(
        self, organisation: Organisation, ims: Ims, faults: FaultScript, clock: Clock
    ) -> None:
        self._organisation = organisation
        self._ims = ims
        self._faults = faults
        self._clock = clock

    def routes(self, cja: CjaApi) -> list[web.RouteDef]:
        """Return the paths of the API, and the one by which connections are made here."""
        lookups: dict[str, _Decide] = {
            _ROOT: lambda r: cja.list(r.query),
            f"{_ROOT}/search": lambda r: cja.search(r.query),
            f"{_ROOT}/{{id}}": lambda r: cja.one(r.match_info["id"], r.query),
            f"{_ROOT}/{{id}}/datasets/{{dataset}}/backfills": lambda r: cja.backfills(
                r.match_info["id"], r.match_info["dataset"]
            ),
        }
        refused = [
            web.route(method, path, self._handler(cja, lambda _: cja.refused_method()))
            for method in _WRITES
            for path in (_ROOT, f"{_ROOT}/{{id}}")
        ]
        return [
            *(web.get(path, self._handler(cja, lookups[path])) for path in lookups),
            *refused,
            web.put("/_simulator/cja", partial(_replace, cja)),
        ]

    def _handler(self, cja: CjaApi, look_up: _Decide) -> _Handler:
        def decide(request: web.Request) -> SimulatedResponse:
            gateway = gateway_refusal(self._organisation, self._ims, request.headers)
            return gateway or cja.refusal() or look_up(request)

        async def handle(request: web.Request) -> web.StreamResponse:
            plan = self._faults.plan(Endpoint.CJA)
            if plan.delay:
                await asyncio.sleep(plan.delay)
            if plan.fault and plan.fault.action in {FaultAction.STATUS, FaultAction.RESPONSE}:
                response = scripted_response(plan.fault, self._clock)
            else:
                response = decide(request)
            sent, _ = await send(request, response, plan.fault)
            return sent

        return handle


async def _replace(cja: CjaApi, request: web.Request) -> web.Response:
    """Do what a person does in CJA's UI, all at once: put these connections in place."""
    try:
        cja.replace(msgspec.json.decode(await request.read(), type=CjaState))
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({})
