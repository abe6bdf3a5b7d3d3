"""Do IMS and the inlets take us in? Questions for `check --online`; no event is sent.

An inlet is reached with a request that holds no message: it is authenticated, refused, and nothing
comes of it. What is refused for its emptiness has been reached.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from processor.clock import Clock
from processor.errors import UnavailableError
from processor.finding import Finding, Mark
from processor.settings import AepSettings, RouteSettings
from processor.sink.address import batch_url
from processor.sink.auth import Auth
from processor.sink.backoff import Backoff
from processor.sink.reply import Answer, Fault, Reply
from processor.sink.transport import Transport
from processor.telemetry.metrics import Metrics

__all__ = ["inlet_findings", "reached"]

_NOTHING: Final = b'{"messages":[]}'
_GRANT_FIX: Final = "Look at aep.auth: client id, secret, scopes, and that the credential is alive."
_ROUTE_FIX: Final = "Copy inlet_url anew from the streaming connection of this dataset."
_AUTH_FIX: Final = "Give the credential the permissions of the sandbox and the source."
_NETWORK_FIX: Final = "Look at the network, aep.proxy and aep.ca_file."


def inlet_findings(
    aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock, seconds: float
) -> list[Finding]:
    """Return what IMS and each route's inlet say, each within so many seconds."""
    retry = aep.retry.model_copy(
        update={"connect_timeout_seconds": seconds, "request_deadline_seconds": seconds}
    )
    return asyncio.run(_ask(aep.model_copy(update={"retry": retry}), routes, clock))


async def _ask(aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock) -> list[Finding]:
    transport = Transport(aep)
    await transport.open()
    try:
        token, finding = await _token(aep, transport, clock)
        if finding.mark is Mark.FAIL:
            return [finding]
        asked = (_inlet(aep, route, transport, token) for route in routes)
        return [finding, *await asyncio.gather(*asked)]
    finally:
        await transport.close()


async def _token(
    aep: AepSettings, transport: Transport, clock: Clock
) -> tuple[dict[str, str], Finding]:
    if aep.auth is None:
        return {}, Finding("access token", Mark.SKIP, "aep.auth is not set; none is sent.")
    backoff = Backoff(aep.retry.first_seconds, aep.retry.max_seconds)
    auth = Auth(aep.auth, transport.post, clock=clock, metrics=Metrics(), backoff=backoff)
    try:
        token = await auth.bearer()
    except UnavailableError as error:
        sentence = f"None was granted: {error.detail}."
        return {}, Finding("access token", Mark.FAIL, sentence, _GRANT_FIX)
    return token.header, Finding("access token", Mark.OK, "IMS granted one.")


async def _inlet(
    aep: AepSettings, route: RouteSettings, transport: Transport, token: dict[str, str]
) -> Finding:
    headers = {"Content-Type": "application/json", "x-sandbox-name": aep.sandbox_name} | token
    reply = await transport.post(batch_url(route.inlet_url), _NOTHING, headers)
    return reached(f"inlet of {route.name}", reply)


def reached(name: str, reply: Reply) -> Finding:
    """Judge what an inlet makes of a request without messages."""
    if isinstance(reply, Fault):
        return Finding(name, Mark.FAIL, f"It was not reached ({reply}).", _NETWORK_FIX)
    return _answered(name, reply)


def _answered(name: str, answer: Answer) -> Finding:
    match answer.status:
        case 200 | 202 | 207 | 400 | 422:
            return Finding(name, Mark.OK, f"It answers ({answer.status} to an empty request).")
        case 401 | 403:
            sentence = f"It refuses our token ({answer.status})."
            return Finding(name, Mark.FAIL, sentence, _AUTH_FIX)
        case 429 | 500 | 502 | 503 | 504:
            sentence = f"It is there and not well ({answer.status})."
            return Finding(name, Mark.WARN, sentence, "The processor would hold and try again.")
        case _:
            sentence = f"It answers {answer.status}, as no inlet does."
            return Finding(name, Mark.FAIL, sentence, _ROUTE_FIX)
