"""The client of the control APIs of AEP and CJA: token, allowed hosts, limits, retries, errors.

Only the calls that are needed are here. Adobe users' own packages were looked at: aepp 0.6 pulls in
500 MB, knows no timeouts and takes its host from a global; cjapy 0.3 depends on pandas and pytest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Self
from urllib.parse import urlencode

import msgspec
from yarl import URL

from processor.adobe.answer import (
    CJA_PATH,
    AdobeError,
    AdobeResponse,
    SentRequest,
    answer_to,
    next_page,
    no_token,
)
from processor.adobe.recorder import ExchangeRecorder, RecordedMessage
from processor.domain.clock import Clock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.retry import Retry, RetryPolicy
from processor.http.address import address_problems
from processor.http.auth import Auth, Token
from processor.http.transport import HttpResponse, Reply, Transport
from processor.settings import AepSettings
from processor.settings.secrets import read_secret
from processor.sink.response import retry_after_seconds
from processor.telemetry.metrics import Metrics

CONTROL_RETRY: Final = RetryPolicy(first_seconds=0.5, max_seconds=10.0, budget_seconds=60.0)
"""Between attempts at one request that failed with 429, 5xx or no response."""

_REFUSED_TOKEN: Final = frozenset((401, 403))
_CJA_REQUESTS, _CJA_SECONDS = 12, 6.0
"""12 requests in 6 seconds for each user (CJA API, limits)."""
_MOST_PAGES: Final = 1_000

Sleep = Callable[[float], Awaitable[None]]


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
        url = self._url(path) + (f"?{urlencode(query, safe=',:')}" if query else "")
        return await self._exchange(SentRequest("GET", url, dict(headers or {})))

    async def pages(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """Yield the documents of a listing, page by page, following `_links.next`.

        The service chooses the sizes. Raises AdobeError above 1,000 pages.
        """
        asked = dict(query or {})
        for _ in range(_MOST_PAGES):
            document = (await self.get(path, asked, headers)).document
            yield document
            following = next_page(document)
            if not following:
                return
            asked = {**asked, **following}
        raise AdobeError(200, f"A listing has more than {_MOST_PAGES:,} pages.")

    async def post(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        """Return the success of a POST.

        Where it is not known whether it was taken it is not repeated: AdobeError with `in_doubt`.
        """
        return await self._write("POST", path, document, headers)

    async def patch(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        """Return the success of a PATCH; see `post`."""
        return await self._write("PATCH", path, document, headers)

    async def _write(
        self, method: str, path: str, document: object, headers: Mapping[str, str] | None
    ) -> AdobeResponse:
        body = msgspec.json.encode(document)
        given = {"Content-Type": "application/json", **(headers or {})}
        return await self._exchange(SentRequest(method, self._url(path), given, body))

    def _url(self, path: str) -> str:
        key = "cja_url" if path.startswith(CJA_PATH) else "platform_url"
        root: str = getattr(self._aep, key)
        problems = address_problems(root, self._aep)
        if problems:
            raise SettingsError([f"aep.{key}: {problem}." for problem in problems])
        return root.rstrip("/") + path

    async def _exchange(self, sent: SentRequest) -> AdobeResponse:
        retry, renewed = Retry(CONTROL_RETRY, self._clock), False
        while True:
            token = await self._token()
            reply = await self._attempt(sent, {**self._headers(sent.path, token), **sent.headers})
            if isinstance(reply, HttpResponse) and reply.status in _REFUSED_TOKEN and not renewed:
                renewed = True
                if token is not None and self._auth is not None:
                    await self._renew(token)
                    continue
            if not sent.may_be_repeated(reply) or retry.exhausted:
                return answer_to(sent, reply)
            await self._sleep(self._delay(reply, retry))

    async def _attempt(self, sent: SentRequest, headers: Mapping[str, str]) -> Reply:
        if sent.path.startswith(CJA_PATH):
            await self._pace.wait()
        address = URL(sent.url, encoded=True)
        reply = await self._transport.send(sent.method, address, sent.body, headers)
        if self._recorder is not None:
            request = RecordedMessage(headers, sent.body or b"")
            if isinstance(reply, HttpResponse):
                answer = RecordedMessage({"Content-Type": reply.content_type}, reply.body)
                self._recorder.record(sent.method, sent.url, request, reply.status, answer)
            else:
                self._recorder.record(sent.method, sent.url, request, 0, RecordedMessage({}))
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
            raise no_token(error) from error

    async def _renew(self, token: Token) -> None:
        assert self._auth is not None  # noqa: S101  for the type checker
        try:
            await self._auth.renew(token)
        except UnavailableError as error:
            raise no_token(error) from error

    def _headers(self, path: str, token: Token | None) -> dict[str, str]:
        headers = dict(token.header) if token is not None else {}
        headers["x-gw-ims-org-id"] = self._aep.org_id
        if self._aep.auth is not None:
            headers["x-api-key"] = self._aep.auth.client_id
        if not path.startswith(CJA_PATH):
            headers["x-sandbox-name"] = self._aep.sandbox_name
        return headers


def _check(aep: AepSettings) -> None:
    if aep.auth is None:
        raise SettingsError(["aep.auth is needed for the control APIs."])
    problems = address_problems(aep.auth.token_url, aep)
    if problems:
        raise SettingsError([f"aep.auth.token_url: {problem}." for problem in problems])


def _secrets(aep: AepSettings) -> list[str]:
    texts = [aep.proxy_password.get_secret_value()] if aep.proxy_password else []
    if aep.auth is not None and aep.auth.client_secret is not None:
        texts.append(aep.auth.client_secret.get_secret_value())
    elif aep.auth is not None and aep.auth.client_secret_file is not None:
        texts.append(read_secret(aep.auth.client_secret_file))
    return texts
