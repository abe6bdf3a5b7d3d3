"""The client of the control APIs of AEP and CJA: token, allowed hosts, limits, retries, errors.

Only the calls that are needed are here. Adobe users' own packages were looked at: aepp 0.6 pulls in
500 MB, knows no timeouts and takes its host from a global; cjapy 0.3 depends on pandas and pytest.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from processor.adobe.recorder import ExchangeRecorder, RecordedMessage
from processor.domain.clock import Clock
from processor.domain.errors import ProcessorError, SettingsError, UnavailableError
from processor.domain.retry import Retry, RetryPolicy
from processor.http.address import address_problems
from processor.http.auth import Auth, Token
from processor.http.transport import HttpResponse, Reply, Transport, TransportFault
from processor.settings import AepSettings
from processor.settings.secrets import read_secret
from processor.sink.response import retry_after_seconds
from processor.telemetry.metrics import Metrics

CONTROL_RETRY: Final = RetryPolicy(first_seconds=0.5, max_seconds=10.0, budget_seconds=60.0)
"""Between attempts at one request that failed with 429, 5xx or no response."""

_OK: Final = frozenset((200, 201, 202, 204, 206, 207))
_AGAIN: Final = frozenset((408, 429, 500, 502, 503, 504))
_REFUSED_TOKEN: Final = frozenset((401, 403))
_CJA: Final = "/data/connections"
_CJA_REQUESTS, _CJA_SECONDS = 12, 6.0
"""12 requests in 6 seconds for each user (CJA API, limits)."""
_NEVER: Final = frozenset(
    (TransportFault.ADDRESS, TransportFault.TLS, TransportFault.TOO_LONG, TransportFault.ENCODED)
)

Sleep = Callable[[float], Awaitable[None]]


class AdobeResponse(NamedTuple):
    """A success of a control API: the decoded JSON, None where there is none."""

    status: int
    document: Any


class AdobeError(ProcessorError):
    """A control API refuses a request, or does not answer.

    `status` is 0 without a response; `sentence` says what, and `fix` what to do. No secret, token
    or identity is in them.
    """

    def __init__(self, status: int, sentence: str, fix: str = "") -> None:
        super().__init__(f"{sentence} {fix}".strip())
        self.status = status
        self.sentence = sentence
        self.fix = fix


class RequestPace:
    """At most `most` requests in any `seconds`, by waiting before a request."""

    def __init__(self, clock: Clock, most: int, seconds: float, sleep: Sleep) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._sleep = sleep
        self._starts: deque[float] = deque(maxlen=most)

    async def wait(self) -> None:
        """Wait until one more request is within the limit, and count it."""
        while len(self._starts) == self._most:
            left = self._starts[0] + self._seconds - self._clock.monotonic()
            if left <= 0:
                break
            await self._sleep(left)
        self._starts.append(self._clock.monotonic())


class AdobeClient:
    """Requests to the control APIs; an async context manager, of one event loop.

    A refused token is renewed once. 429, 5xx and lost connections are tried again for a minute;
    `Retry-After` is honoured. Raises AdobeError for any other answer than a success, SettingsError
    where an address may not be used.
    """

    def __init__(self, aep: AepSettings, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._aep = aep
        self._clock = clock
        self._sleep = sleep
        self._transport = Transport(aep)
        self._auth: Auth | None = None
        self._pace = RequestPace(clock, _CJA_REQUESTS, _CJA_SECONDS, sleep)
        self._recorder: ExchangeRecorder | None = None

    async def __aenter__(self) -> Self:
        _check(self._aep)
        await self._transport.open()
        if self._aep.auth is not None:
            retry = Retry(CONTROL_RETRY, self._clock)
            self._auth = Auth(
                self._aep.auth,
                self._transport.post,
                retry=retry,
                clock=self._clock,
                metrics=Metrics(),
            )
        if self._aep.record_file is not None:
            secrets = _secrets(self._aep)
            self._recorder = ExchangeRecorder(self._aep.record_file, self._clock, secrets)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()
        if self._recorder is not None:
            self._recorder.close()

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AdobeResponse:
        """Return the success of a GET; `path` begins with `/data/`."""
        root = self._aep.cja_url if path.startswith(_CJA) else self._aep.platform_url
        url = root.rstrip("/") + path + (f"?{urlencode(query, safe=',:')}" if query else "")
        retry, renewed = Retry(CONTROL_RETRY, self._clock), False
        while True:
            token = await self._token()
            reply = await self._attempt(url, {**self._headers(path, token), **(headers or {})})
            if isinstance(reply, HttpResponse) and reply.status in _REFUSED_TOKEN and not renewed:
                renewed = True
                if token is not None and self._auth is not None:
                    await self._renew(token)
                    continue
            if not _may_pass(reply) or retry.exhausted:
                return _answer(reply, path)
            await self._sleep(self._delay(reply, retry))

    async def _attempt(self, url: str, headers: Mapping[str, str]) -> Reply:
        if urlsplit(url).path.startswith(_CJA):
            await self._pace.wait()
        reply = await self._transport.get(url, headers)
        if self._recorder is not None:
            request = RecordedMessage(headers)
            if isinstance(reply, HttpResponse):
                answer = RecordedMessage({"Content-Type": reply.content_type}, reply.body)
                self._recorder.record("GET", url, request, reply.status, answer)
            else:
                self._recorder.record("GET", url, request, 0, RecordedMessage({}))
        return reply

    def _delay(self, reply: Reply, retry: Retry) -> float:
        delay = retry.failed()
        header = reply.retry_after if isinstance(reply, HttpResponse) else None
        cap = self._aep.retry.retry_after_cap_seconds
        return max(delay, retry_after_seconds(header, self._clock.now_ms(), cap) or 0.0)

    async def _token(self) -> Token | None:
        try:
            return await self._auth.bearer() if self._auth is not None else None
        except UnavailableError as error:
            raise _no_token(error) from error

    async def _renew(self, token: Token) -> None:
        assert self._auth is not None  # noqa: S101  for the type checker
        try:
            await self._auth.renew(token)
        except UnavailableError as error:
            raise _no_token(error) from error

    def _headers(self, path: str, token: Token | None) -> dict[str, str]:
        headers = dict(token.header) if token is not None else {}
        headers["x-gw-ims-org-id"] = self._aep.org_id
        if self._aep.auth is not None:
            headers["x-api-key"] = self._aep.auth.client_id
        if not path.startswith(_CJA):
            headers["x-sandbox-name"] = self._aep.sandbox_name
        return headers


def _check(aep: AepSettings) -> None:
    urls = {"platform_url": aep.platform_url, "cja_url": aep.cja_url}
    if aep.auth is not None:
        urls["auth.token_url"] = aep.auth.token_url
    problems = [
        f"aep.{key}: {problem}." for key, url in urls.items() for problem in
        address_problems(url, aep)
    ]  # fmt: skip
    if aep.auth is None:
        problems.append("aep.auth is needed for the control APIs.")
    if problems:
        raise SettingsError(problems)


def _secrets(aep: AepSettings) -> list[str]:
    texts = [aep.proxy_password.get_secret_value()] if aep.proxy_password else []
    if aep.auth is not None and aep.auth.client_secret is not None:
        texts.append(aep.auth.client_secret.get_secret_value())
    elif aep.auth is not None and aep.auth.client_secret_file is not None:
        texts.append(read_secret(aep.auth.client_secret_file))
    return texts


def _may_pass(reply: Reply) -> bool:
    if isinstance(reply, TransportFault):
        return reply not in _NEVER
    if reply.body_fault is not None:
        return reply.body_fault not in _NEVER
    return reply.status in _AGAIN


def _answer(reply: Reply, path: str) -> AdobeResponse:
    fault = reply if isinstance(reply, TransportFault) else reply.body_fault
    if isinstance(reply, TransportFault) or fault is not None:
        fix = "Look at the network, aep.proxy and aep.ca_file."
        raise AdobeError(0, f"{_service(path)} was not reached ({fault}).", fix)
    document = _decoded(reply.body)
    if reply.status in _OK:
        if reply.body and document is None:
            raise AdobeError(reply.status, f"{_service(path)} answers with what is not JSON.")
        return AdobeResponse(reply.status, document)
    sentence, fix = _refusal(reply.status, _code(document), path)
    raise AdobeError(reply.status, sentence, fix)


def _refusal(status: int, code: str, path: str) -> tuple[str, str]:
    """Return what a refusal means and what to do.

    Source: error codes of Adobe's API gateway (AEP API authentication, CJA API).
    """
    service, shown = _service(path), f"{status} {code}".strip()
    match status, code:
        case 401 | 403, "403000" | "403003" | "insufficient_scope":
            sentence = f"The developer project has no access to {service} ({shown})."
            fix = (
                f"In the Developer Console: the project > Add API > {_product(path)}; take its "
                "scopes into aep.auth.scopes."
            )
            return sentence, fix
        case 403, _:
            sentence = f"The credential has no permission in {service} ({shown})."
            return sentence, _PERMISSION_FIX[path.startswith(_CJA)]
        case 401, _:
            fix = "Look at aep.auth: client id, secret, scopes; and at aep.org_id."
            return f"{service} refuses the access token ({shown}).", fix
        case 404, _:
            fix = "Look at aep.sandbox_name, and whether the object was deleted."
            return f"{service} has no such object ({shown}).", fix
        case 429, _:
            fix = "Others use the limit of this user; repeat the command later."
            return f"{service} refuses for too many requests ({shown}).", fix
        case _:
            fix = "It is a fault of Adobe's side." if status in _AGAIN else ""
            return f"{service} answers {shown}.", fix


_PERMISSION_FIX: Final = {
    True: "In the Admin Console: Products > Customer Journey Analytics > a product profile > API "
    "credentials: add that of the developer project; product administrators see all connections.",
    False: "In AEP: Permissions > Roles: add the API credential to a role with this sandbox "
    "(aep.sandbox_name) and View Datasets, View Schemas.",
}


def _service(path: str) -> str:
    return "CJA" if path.startswith(_CJA) else "AEP"


def _product(path: str) -> str:
    return "Customer Journey Analytics" if path.startswith(_CJA) else "Experience Platform API"


def _no_token(error: UnavailableError) -> AdobeError:
    fix = "Look at aep.auth: client id, secret, scopes, and that the credential is alive."
    return AdobeError(0, f"No access token was granted: {error.detail}.", fix)


def _decoded(body: bytes) -> Any:  # noqa: ANN401  JSON
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _code(document: object) -> str:
    """Return the error code of an answer; nothing else of it is shown."""
    if not isinstance(document, dict):
        return ""
    code = document.get("error_code") or document.get("errorCode")
    return code if isinstance(code, str) and code.replace("_", "").isalnum() else ""
