"""Do IMS and the inlets take us in? Questions for `check --online`; no event is sent.

An inlet is reached with a request that holds no message: it is authenticated, refused, and nothing
comes of it. What is refused for its emptiness has been reached.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.settings import AepSettings, RouteSettings
from processor.sink.address import batch_url
from processor.sink.auth import Auth
from processor.sink.backoff import Backoff
from processor.sink.reply import InletResponse, Reply, TransportFault
from processor.sink.transport import Transport
from processor.telemetry.metrics import Metrics

_NOTHING: Final = b'{"messages":[]}'
_GRANT_FIX: Final = "Look at aep.auth: client id, secret, scopes, and that the credential is alive."
_ROUTE_FIX: Final = "Copy inlet_url anew from the streaming connection of this dataset."
_AUTH_FIX: Final = "Give the credential the permissions of the sandbox and the source."
_NETWORK_FIX: Final = "Look at the network, aep.proxy and aep.ca_file."


def inlet_results(
    aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock, seconds: float
) -> list[CheckResult]:
    """Return what IMS and each route's inlet say, each within so many seconds."""
    retry = aep.retry.model_copy(
        update={"connect_timeout_seconds": seconds, "request_deadline_seconds": seconds}
    )
    return asyncio.run(_ask(aep.model_copy(update={"retry": retry}), routes, clock))


async def _ask(
    aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock
) -> list[CheckResult]:
    transport = Transport(aep)
    await transport.open()
    try:
        token, result = await _token(aep, transport, clock)
        if result.mark is CheckStatus.FAIL:
            return [result]
        asked = (_inlet(aep, route, transport, token) for route in routes)
        return [result, *await asyncio.gather(*asked)]
    finally:
        await transport.close()


async def _token(
    aep: AepSettings, transport: Transport, clock: Clock
) -> tuple[dict[str, str], CheckResult]:
    if aep.auth is None:
        return {}, CheckResult(
            "access token", CheckStatus.SKIP, "aep.auth is not set; none is sent."
        )
    backoff = Backoff(aep.retry.first_seconds, aep.retry.max_seconds)
    auth = Auth(aep.auth, transport.post, clock=clock, metrics=Metrics(), backoff=backoff)
    try:
        token = await auth.bearer()
    except UnavailableError as error:
        sentence = f"None was granted: {error.detail}."
        return {}, CheckResult("access token", CheckStatus.FAIL, sentence, _GRANT_FIX)
    return token.header, CheckResult("access token", CheckStatus.OK, "IMS granted one.")


async def _inlet(
    aep: AepSettings, route: RouteSettings, transport: Transport, token: dict[str, str]
) -> CheckResult:
    headers = {"Content-Type": "application/json", "x-sandbox-name": aep.sandbox_name} | token
    reply = await transport.post(batch_url(route.inlet_url), _NOTHING, headers)
    return reached(f"inlet of {route.name}", reply)


def reached(name: str, reply: Reply) -> CheckResult:
    """Judge what an inlet makes of a request without messages."""
    if isinstance(reply, TransportFault):
        return CheckResult(name, CheckStatus.FAIL, f"It was not reached ({reply}).", _NETWORK_FIX)
    return _answered(name, reply)


def _answered(name: str, answer: InletResponse) -> CheckResult:
    match answer.status:
        case 200 | 202 | 207 | 400 | 422:
            return CheckResult(
                name, CheckStatus.OK, f"It answers ({answer.status} to an empty request)."
            )
        case 401 | 403:
            sentence = f"It refuses our token ({answer.status})."
            return CheckResult(name, CheckStatus.FAIL, sentence, _AUTH_FIX)
        case 429 | 500 | 502 | 503 | 504:
            sentence = f"It is there and not well ({answer.status})."
            return CheckResult(
                name, CheckStatus.WARN, sentence, "The processor would hold and try again."
            )
        case _:
            sentence = f"It answers {answer.status}, as no inlet does."
            return CheckResult(name, CheckStatus.FAIL, sentence, _ROUTE_FIX)
