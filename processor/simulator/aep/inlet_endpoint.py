"""The HTTP endpoints of the inlet: size, faults, authentication and headers, then the inlet."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from processor.simulator.aep.accepted_events import AcceptedEvents
from processor.simulator.aep.faults import Endpoint, FaultAction, FaultScript, ScriptedFault
from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.inlet import ItemFaults, SimulatedInlets
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.responses import (
    SimulatedResponse,
    inlet_error,
    refused_item,
    scripted_response,
    send,
    unauthorized,
)

_SCRIPTED = {FaultAction.STATUS, FaultAction.RESPONSE, FaultAction.RESET, FaultAction.HANG}
_Take = Callable[[str, bytes, str, ItemFaults | None], SimulatedResponse]


class InletGuard:
    """Checks inlet, token and headers; `expired_status`, 401 or 403, is for an expired token."""

    def __init__(self, organisation: Organisation, ims: Ims, expired_status: int = 401) -> None:
        self._organisation = organisation
        self._ims = ims
        self._expired_status = expired_status

    def refusal(self, inlet_id: str, headers: Mapping[str, str]) -> SimulatedResponse | None:
        """Return the response that refuses a request, None if it is accepted."""
        inlet = self._organisation.inlet(inlet_id)
        if inlet is None:
            return inlet_error(404, "Not Found", f"inletId: [{inlet_id}] was not found")
        if inlet.authentication_required:
            state = self._ims.state(headers.get("Authorization"))
            if state is TokenState.MISSING:
                return unauthorized(401, "Ims service token is empty")
            if state is not TokenState.VALID:
                return unauthorized(self._expired_status, f"Ims service token is {state}")
        return self._wrong_header(headers)

    def expire_tokens(self) -> None:
        """Make every token expire now."""
        self._ims.expire_all()

    def _wrong_header(self, headers: Mapping[str, str]) -> SimulatedResponse | None:
        if headers.get("x-sandbox-name") != self._organisation.sandbox_name:
            return inlet_error(400, "Bad Request", "Header x-sandbox-name is missing or unknown")
        if headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return inlet_error(
                415, "Unsupported Media Type", "Content-Type is not application/json"
            )
        return None


class InletEndpoint:
    """`POST /collection/{inlet}` and `POST /collection/batch/{inlet}`."""

    def __init__(
        self,
        inlets: SimulatedInlets,
        guard: InletGuard,
        faults: FaultScript,
        accepted_events: AcceptedEvents,
    ) -> None:
        self.inlets = inlets
        self._guard = guard
        self._faults = faults
        self._accepted_events = accepted_events

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Accept many messages."""
        return await self._handle(request, self.inlets.batch)

    async def single(self, request: web.Request) -> web.StreamResponse:
        """Accept one message."""
        query = request.query
        sync = "true" in (query.get("syncValidation"), query.get("synchronousValidation"))

        def take(
            inlet_id: str, body: bytes, request_id: str, _: ItemFaults | None
        ) -> SimulatedResponse:
            return self.inlets.single(inlet_id, body, request_id, sync=sync)

        return await self._handle(request, take)

    async def _handle(self, request: web.Request, take: _Take) -> web.StreamResponse:
        inlet_id = request.match_info["inlet"]
        request_id = secrets.token_hex(8)
        body = await _read(request) if self._faults.by_content else b""
        plan = self._faults.plan(Endpoint.INLET, inlet_id, body)
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.fault and plan.fault.action is FaultAction.EXPIRE:
            self._guard.expire_tokens()
        response = await self._response(request, take, request_id, plan.fault)
        try:
            sent, whole = await send(request, response, plan.fault)
        except (ConnectionError, asyncio.CancelledError):
            self._accepted_events.mark_cut(request_id)
            raise
        if not whole:
            self._accepted_events.mark_cut(request_id)
        self._accepted_events.requests[inlet_id, str(response.status) if whole else "cut"] += 1
        return sent

    async def _response(
        self, request: web.Request, take: _Take, request_id: str, fault: ScriptedFault | None
    ) -> SimulatedResponse:
        inlet_id = request.match_info["inlet"]
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return inlet_error(413, "Payload Too Large", "The payload is larger than 1 MB")
        if fault and fault.action in _SCRIPTED and not fault.accept:
            return scripted_response(fault, self.inlets.clock)
        response = (
            self._guard.refusal(inlet_id, request.headers)
            or self.inlets.count_request(inlet_id)
            or take(inlet_id, body, request_id, self._item_faults(fault, request_id))
        )
        if fault and fault.action in _SCRIPTED:
            self._accepted_events.mark_cut(request_id)
            return scripted_response(fault, self.inlets.clock)
        return response

    def _item_faults(self, fault: ScriptedFault | None, request_id: str) -> ItemFaults | None:
        if fault is None or fault.action is not FaultAction.ITEMS:
            return None

        def refusals(entities: Sequence[bytes]) -> Mapping[int, bytes]:
            chosen = self._faults.refused(fault, entities)
            shape, status, message = fault.item_shape, fault.item_status, fault.item_message
            return {
                index: refused_item(shape, status, message, f"{request_id}-{index}")
                for index in chosen
            }

        return refusals


async def _read(request: web.Request) -> bytes:
    """Return the body, empty where it is too large."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return b""
