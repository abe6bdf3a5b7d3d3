"""Sending: one attempt to see a parcel through, and what is left to do after it."""

import asyncio
from itertools import groupby
from typing import assert_never

import msgspec
from msgspec.structs import replace

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError, UnavailableError
from processor.settings import RetrySettings
from processor.sink.assess import Assessment, assess
from processor.sink.auth import Auth, Post, Token
from processor.sink.backoff import Backoff, asked_delay
from processor.sink.breaker import Admission
from processor.sink.envelope import Envelope
from processor.sink.gate import AdmissionGate
from processor.sink.inlet import Inlet
from processor.sink.packer import InletRequest
from processor.sink.reply import InletResponse, Reply, TransportFault
from processor.sink.tally import RouteMetrics
from processor.sink.verdict import Action, Cause, Verdict

_TOO_LARGE = InletResponse(413)
_AUTH_SECONDS = 4.5


class RouteTransport(msgspec.Struct, frozen=True):
    """How a route's requests leave: client, token (None: the inlet wants none), headers, limits."""

    post: Post
    auth: Auth | None
    headers: dict[str, str]
    envelope: Envelope
    request_bytes: int
    retry: RetrySettings


class _Sent(msgspec.Struct, frozen=True):
    """An attempt that is over. `seconds` is None where no request was made of it."""

    parcel: InletRequest
    ticket: Admission
    reply: Reply
    token: Token | None = None
    seconds: float | None = None


class Sender:
    """Sends the parcels of one lane. Nothing is given up but what the inlet refuses for good."""

    def __init__(
        self,
        way: RouteTransport,
        inlet: Inlet,
        gate: AdmissionGate,
        *,
        clock: Clock,
        tally: RouteMetrics,
    ) -> None:
        self._way = way
        self._inlet = inlet
        self._gate = gate
        self._clock = clock
        self._tally = tally
        self._backoff = Backoff(way.retry.first_seconds, way.retry.max_seconds)

    async def send(self, parcel: InletRequest, ticket: Admission) -> list[InletRequest]:
        """Send a parcel once and return what remains of it, when it is time to try that again.

        The gate gave `ticket`, and is left here. While the breaker probes, one event goes first.
        What failed stands last in what remains.
        """
        parcel, *later = parcel.cut(1) if ticket.probe and len(parcel) > 1 else [parcel]
        try:
            sent = await self._attempt(parcel, ticket)
            found = assess(sent.reply, parcel.events)
            self._learn(sent, found)
        finally:
            self._gate.leave()
        self._settle(parcel, found)
        if sent.seconds is None:
            self._gate.returned(ticket)
        elif found.moved:
            self._gate.succeeded(ticket)
        left: list[InletRequest] = []
        for verdict, places in found.again.items():
            left += await self._again(sent, parcel.pick(places), verdict, moved=found.moved)
        return later + left

    async def _attempt(self, parcel: InletRequest, ticket: Admission) -> _Sent:
        body = self._way.envelope.wrap(parcel.events)
        if len(body) > self._way.request_bytes:
            return _Sent(parcel, ticket, _TOO_LARGE)
        try:
            token = await self._way.auth.bearer() if self._way.auth else None
        except UnavailableError:
            return _Sent(parcel, ticket, TransportFault.TOKEN)
        start = self._clock.monotonic()
        reply = await self._post(parcel, body, token)
        return _Sent(parcel, ticket, reply, token, self._clock.monotonic() - start)

    async def _post(self, parcel: InletRequest, body: bytes, token: Token | None) -> Reply:
        headers = self._way.headers | (token.header if token else {})
        self._tally.leaving(len(parcel), len(body), again=parcel.in_doubt)
        try:
            return await self._way.post(self._inlet.url, body, headers)
        except asyncio.CancelledError:
            self._doubt(parcel, Cause.STOPPED)
            raise
        finally:
            self._tally.back()

    def _learn(self, sent: _Sent, found: Assessment) -> None:
        if sent.seconds is None:
            return
        failed = not found.moved and any(v.action is Action.RETRY for v in found.again)
        self._inlet.slots.learn(sent.seconds, good=not failed)
        self._tally.answered(sent.reply, sent.seconds, found, self._inlet.slots.limit)

    def _settle(self, parcel: InletRequest, found: Assessment) -> None:
        """Tell each owner what became of its events, all of one owner's in a row at once."""
        events, owners = parcel.events, parcel.owners
        if found.accepted:
            self._tally.accepted([events[place] for place in found.accepted])
            for owner, places in groupby(found.accepted, owners.__getitem__):
                owner.accept([events[place] for place in places])
        if found.refused:
            self._tally.refused([reject for _, reject in found.refused])
            for place, reject in found.refused:
                owners[place].refuse(events[place], reject)

    async def _again(
        self, sent: _Sent, part: InletRequest, verdict: Verdict, *, moved: bool
    ) -> list[InletRequest]:
        """Do what the verdict asks before these events are sent again, and return them."""
        if verdict.doubt:
            part = self._doubt(part, verdict.cause)
        self._tally.retried(verdict.cause)
        match verdict.action:
            case Action.SPLIT:
                self._gate.succeeded(sent.ticket)
                return part.cut(len(part) // 2)
            case Action.RETRY:
                return await self._rested(sent, part, verdict.cause, moved=moved)
            case Action.RENEW:
                return [await self._renewed(sent, part)]
            case Action.HOLD:
                self._hold(sent.ticket, verdict.cause)
                return [part]
            case Action.ACCEPT | Action.ITEMS | Action.REFUSE:
                raise InvariantError(f"An event that was judged {verdict.action} is sent again.")
            case _:
                assert_never(verdict.action)

    async def _rested(
        self, sent: _Sent, part: InletRequest, cause: Cause, *, moved: bool
    ) -> list[InletRequest]:
        """Wait as long as the inlet asks for, or by back-off unless the gate does the waiting.

        What fails again and again is halved: one event that makes the inlet fail, or a size that it
        will not even answer to, does not keep the others back.
        """
        header = sent.reply.retry_after if isinstance(sent.reply, InletResponse) else None
        cap = self._way.retry.retry_after_cap_seconds
        asked = asked_delay(header, self._clock.now_ms(), cap)
        if asked is not None:
            self._gate.hold(sent.ticket, cause, self._backoff.spread(asked))
            return [part]
        if not moved:
            self._gate.failed(sent.ticket, cause)
        if self._gate.unavailable_reason is None:
            await asyncio.sleep(self._backoff.delay(part.attempts))
        part = replace(part, attempts=part.attempts + 1)
        return part.cut(len(part) // 2) if part.attempts > 1 and len(part) > 1 else [part]

    async def _renewed(self, sent: _Sent, part: InletRequest) -> InletRequest:
        if self._way.auth is None or sent.token is None or part.renewed:
            self._hold(sent.ticket, Cause.AUTH)
            return replace(part, renewed=False)
        try:
            await self._way.auth.renew(sent.token)
        except UnavailableError:
            self._hold(sent.ticket, Cause.TOKEN)
            return part
        self._gate.returned(sent.ticket)
        return replace(part, renewed=True)

    def _hold(self, ticket: Admission, cause: Cause) -> None:
        """Hold by back-off, but look often for what costs the inlet next to nothing to be asked."""
        retry = self._way.retry
        often = {
            Cause.TOKEN: retry.first_seconds,
            Cause.AUTH: min(retry.max_seconds, _AUTH_SECONDS),
        }
        seconds = often.get(cause)
        self._gate.hold(ticket, cause, None if seconds is None else self._backoff.spread(seconds))

    def _doubt(self, parcel: InletRequest, cause: Cause) -> InletRequest:
        """Count events whose answer is unknown, and list those that were not in doubt before."""
        self._tally.in_doubt(len(parcel), cause)
        if not parcel.in_doubt:
            for event, owner in zip(parcel.events, parcel.owners, strict=True):
                owner.in_doubt.append((event, cause))
        return replace(parcel, in_doubt=True)
