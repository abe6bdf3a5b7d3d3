"""The inlet's HTTP door: guard, size, faults, then the collection."""

import asyncio
import secrets
from collections.abc import Callable, Mapping

from aiohttp import web

from processor.domain.clock import Clock
from processor.simulator.aep.account import Organisation
from processor.simulator.aep.answers import SimulatedResponse, item, problem, unauthorized
from processor.simulator.aep.collection import Collection, Spoil
from processor.simulator.aep.connection import deliver, retry_after
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript, ScriptedFault
from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.ledger import AcceptedEvents

_SCRIPTED = {FaultAction.STATUS, FaultAction.ANSWER, FaultAction.RESET, FaultAction.HANG}
_Take = Callable[[str, bytes, str, Spoil | None], SimulatedResponse]


class InletGuard:
    """Who may enter an inlet; an expired token is answered with `expired_status`, 401 or 403."""

    def __init__(self, account: Organisation, ims: Ims, expired_status: int = 401) -> None:
        self._account = account
        self._ims = ims
        self._expired_status = expired_status

    def refusal(self, inlet_id: str, headers: Mapping[str, str]) -> SimulatedResponse | None:
        """Return the answer to a request that may not enter, None where it may."""
        inlet = self._account.inlet(inlet_id)
        if inlet is None:
            return problem(404, "Not Found", f"inletId: [{inlet_id}] was not found")
        if inlet.authentication_required:
            state = self._ims.state(headers.get("Authorization"))
            if state is TokenState.MISSING:
                return unauthorized(401, "Ims service token is empty")
            if state is not TokenState.VALID:
                return unauthorized(self._expired_status, f"Ims service token is {state}")
        return self._wrong_header(headers)

    def expire_tokens(self) -> None:
        """End every token now."""
        self._ims.expire_all()

    def _wrong_header(self, headers: Mapping[str, str]) -> SimulatedResponse | None:
        if headers.get("x-sandbox-name") != self._account.sandbox_name:
            return problem(400, "Bad Request", "Header x-sandbox-name is missing or unknown")
        if headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return problem(415, "Unsupported Media Type", "Content-Type must be application/json")
        return None


class InletEndpoint:
    """`POST /collection/{inlet}` and `POST /collection/batch/{inlet}`."""

    def __init__(
        self, collection: Collection, guard: InletGuard, faults: FaultScript, ledger: AcceptedEvents
    ) -> None:
        self.collection = collection
        self._guard = guard
        self._faults = faults
        self._ledger = ledger

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Take many messages."""
        return await self._answer(request, self.collection.batch)

    async def single(self, request: web.Request) -> web.StreamResponse:
        """Take one message."""
        query = request.query
        sync = "true" in (query.get("syncValidation"), query.get("synchronousValidation"))

        def take(inlet_id: str, body: bytes, request_id: str, _: Spoil | None) -> SimulatedResponse:
            return self.collection.single(inlet_id, body, request_id, sync=sync)

        return await self._answer(request, take)

    async def _answer(self, request: web.Request, take: _Take) -> web.StreamResponse:
        inlet_id = request.match_info["inlet"]
        request_id = secrets.token_hex(8)
        plan = self._faults.plan(Endpoint.INLET, inlet_id)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.fault and plan.fault.act is FaultAction.EXPIRE:
            self._guard.expire_tokens()
        answer = await self._decide(request, take, request_id, plan.fault)
        try:
            sent, whole = await deliver(request, answer, plan.fault)
        except (ConnectionError, asyncio.CancelledError):
            self._ledger.cut(request_id)
            raise
        if not whole:
            self._ledger.cut(request_id)
        self._ledger.requests[inlet_id, str(answer.status) if whole else "cut"] += 1
        return sent

    async def _decide(
        self, request: web.Request, take: _Take, request_id: str, fault: ScriptedFault | None
    ) -> SimulatedResponse:
        inlet_id = request.match_info["inlet"]
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "Payload Too Large", "The payload is larger than 1 MB")
        if fault and fault.act in _SCRIPTED and not fault.accept:
            return scripted(fault, self.collection.clock)
        answer = (
            self._guard.refusal(inlet_id, request.headers)
            or self.collection.too_fast(inlet_id)
            or take(inlet_id, body, request_id, self._spoil(fault, request_id))
        )
        if fault and fault.act in _SCRIPTED:
            self._ledger.cut(request_id)
            return scripted(fault, self.collection.clock)
        return answer

    def _spoil(self, fault: ScriptedFault | None, request_id: str) -> Spoil | None:
        if fault is None or fault.act is not FaultAction.ITEMS:
            return None

        def refusals(count: int) -> Mapping[int, bytes]:
            chosen = self._faults.refused(fault.share, count)
            shape, status, words = fault.item_shape, fault.item_status, fault.item_message
            return {index: item(shape, status, words, f"{request_id}-{index}") for index in chosen}

        return refusals


def scripted(fault: ScriptedFault, clock: Clock) -> SimulatedResponse:
    """Return the answer a fault puts in place of the real one."""
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = retry_after(fault.retry_after, clock.now_ms())
    if fault.act is FaultAction.ANSWER:
        return SimulatedResponse(fault.status, fault.body.encode(), headers)
    if fault.status in (401, 403):
        return unauthorized(fault.status, "Ims service token is not allowed")
    answer = problem(
        fault.status, "Scripted fault", f"The simulator was told to say {fault.status}"
    )
    return SimulatedResponse(fault.status, answer.body, headers)
