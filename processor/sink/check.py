"""Whether IMS grants a token and the inlets accept it, for `check --online`; no event is sent.

Each inlet gets a request without messages: it authenticates the request, refuses it as empty, and
stores nothing. An inlet that refuses it as empty has been reached.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.domain.retry import NO_DELAY_RETRY, Retry
from processor.http.address import batch_url
from processor.http.auth import Auth
from processor.http.transport import Reply, Transport, TransportFault
from processor.settings import AepSettings, RouteSettings
from processor.telemetry.metrics import Metrics

_NO_MESSAGES: Final = b'{"messages":[]}'
_GRANT_FIX: Final = "Look at aep.auth: client id, secret, scopes, and that the credential is alive."
_ROUTE_FIX: Final = "Copy inlet_url again from the streaming connection of this dataset."
_AUTH_FIX: Final = "Give the credential the permissions of the sandbox and the source."
_NETWORK_FIX: Final = "Look at the network, aep.proxy and aep.ca_file."


def inlet_results(
    aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock, seconds: float
) -> list[CheckResult]:
    """Return the answers of IMS and of each route's inlet, each within `seconds`."""
    retry = aep.retry.model_copy(
        update={"connect_timeout_seconds": seconds, "request_deadline_seconds": seconds}
    )
    return asyncio.run(_check(aep.model_copy(update={"retry": retry}), routes, clock))


def inlet_result(name: str, reply: Reply) -> CheckResult:
    """Judge the reply of an inlet to a request without messages."""
    if isinstance(reply, TransportFault):
        return CheckResult(name, CheckStatus.FAIL, f"It was not reached ({reply}).", _NETWORK_FIX)
    match reply.status:
        case 200 | 202 | 207 | 400 | 422:
            sentence = f"It answers ({reply.status} to an empty request)."
            return CheckResult(name, CheckStatus.OK, sentence)
        case 401 | 403:
            sentence = f"It refuses the access token ({reply.status})."
            return CheckResult(name, CheckStatus.FAIL, sentence, _AUTH_FIX)
        case 429 | 500 | 502 | 503 | 504:
            sentence = f"It is reached but unavailable ({reply.status})."
            fix = "The processor would pause and try again."
            return CheckResult(name, CheckStatus.WARN, sentence, fix)
        case _:
            sentence = f"It answers {reply.status}, which no inlet does."
            return CheckResult(name, CheckStatus.FAIL, sentence, _ROUTE_FIX)


async def _check(
    aep: AepSettings, routes: Sequence[RouteSettings], clock: Clock
) -> list[CheckResult]:
    transport = Transport(aep)
    await transport.open()
    try:
        token, result = await _check_token(aep, transport, clock)
        if result.mark is CheckStatus.FAIL:
            return [result]
        checks = (_check_inlet(aep, route, transport, token) for route in routes)
        return [result, *await asyncio.gather(*checks)]
    finally:
        await transport.close()


async def _check_token(
    aep: AepSettings, transport: Transport, clock: Clock
) -> tuple[dict[str, str], CheckResult]:
    name = "access token"
    if aep.auth is None:
        return {}, CheckResult(name, CheckStatus.SKIP, "aep.auth is not set; none is sent.")
    retry = Retry(NO_DELAY_RETRY, clock)
    auth = Auth(aep.auth, transport.post, retry=retry, clock=clock, metrics=Metrics())
    try:
        token = await auth.bearer()
    except UnavailableError as error:
        sentence = f"None was granted: {error.detail}."
        return {}, CheckResult(name, CheckStatus.FAIL, sentence, _GRANT_FIX)
    return token.header, CheckResult(name, CheckStatus.OK, "IMS granted one.")


async def _check_inlet(
    aep: AepSettings, route: RouteSettings, transport: Transport, token: dict[str, str]
) -> CheckResult:
    headers = {"Content-Type": "application/json", "x-sandbox-name": aep.sandbox_name} | token
    reply = await transport.post(batch_url(route.inlet_url), _NO_MESSAGES, headers)
    return inlet_result(f"inlet of {route.name}", reply)
