"""The HTTP doors beside the inlet: IMS tokens, and the platform behind Adobe's API gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.account import Organisation
from processor.simulator.aep.answers import SimulatedResponse, json_answer
from processor.simulator.aep.connection import deliver
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript
from processor.simulator.aep.ims import Ims
from processor.simulator.aep.inlet import scripted
from processor.simulator.aep.platform import Platform, gate

_Decide = Callable[[web.Request], SimulatedResponse]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ROOT = "/data/foundation"


class Gateway:
    """Tokens and look-ups for one account, with faults."""

    def __init__(self, account: Organisation, ims: Ims, faults: FaultScript, clock: Clock) -> None:
        self._account = account
        self._ims = ims
        self._faults = faults
        self._clock = clock

    def routes(self, platform: Platform) -> list[web.RouteDef]:
        """Return the paths of IMS and of platform.adobe.io."""
        answers: dict[str, _Decide] = {
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
        looked_up = [web.get(_ROOT + path, self._gated(answers[path])) for path in answers]
        return [web.post("/ims/token/v3", self._token), *looked_up]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(text) for name, text in (await request.post()).items()}
        asked = {**request.query, **form}
        return await self._answer(
            request, Endpoint.IMS, lambda _: json_answer(*self._ims.answer(asked))
        )

    def _gated(self, look_up: _Decide) -> _Handler:
        def decide(request: web.Request) -> SimulatedResponse:
            return gate(self._account, self._ims, request.headers) or look_up(request)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, Endpoint.PLATFORM, decide)

        return handle

    async def _answer(
        self, request: web.Request, door: Endpoint, decide: _Decide
    ) -> web.StreamResponse:
        plan = self._faults.plan(door)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.fault and plan.fault.act in {FaultAction.STATUS, FaultAction.ANSWER}:
            answer = scripted(plan.fault, self._clock)
        else:
            answer = decide(request)
        sent, _ = await deliver(request, answer, plan.fault)
        return sent
