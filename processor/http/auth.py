"""The access token: OAuth server-to-server, fetched by one request at a time, renewed early.

Source: AEP API authentication page; `POST` of a form to IMS, answered with `access_token` and
`expires_in` in seconds.
"""

import asyncio
import random
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import msgspec
import structlog

from processor.domain.clock import Clock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.retry import Retry
from processor.http.transport import Post, Reply, TransportFault
from processor.settings import AuthSettings
from processor.settings.secrets import read_secret
from processor.telemetry.catalogue import TOKEN_EXPIRY_TIMESTAMP_SECONDS, TOKEN_REFRESHES
from processor.telemetry.labels import AttemptResult
from processor.telemetry.metrics import Metrics

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_USABLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_CODE = re.compile(r"[a-z_]{1,40}", re.ASCII)
_OK, _CREDENTIALS = 200, frozenset((400, 401, 403))
_DEFAULT_LIFE_SECONDS = 3600.0
_MILLISECONDS_ABOVE = 1_000_000
_MIN_RENEWAL_SECONDS = 1.0
_RENEW_AFTER = (0.75, 0.85)


class Token(msgspec.Struct, frozen=True, eq=False):
    """A token that was granted, and the monotonic times at which to renew it and at which it ends.

    One grant equals no other, whatever its text.
    """

    header: dict[str, str]
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "Token(***)"


class Auth:
    """The token of one client. Raises UnavailableError while there is none that could work.

    A refused secret counts as an outage: it can be corrected while the sink waits. The token in use
    stays until another one is granted. After a failure no token is requested until `retry` is due;
    until then every caller gets the same error.
    """

    def __init__(
        self,
        settings: AuthSettings,
        post: Post,
        *,
        retry: Retry,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._post = post
        self._retry = retry
        self._clock = clock
        self._metrics = metrics
        self._token: Token | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._error = ""

    async def bearer(self) -> Token:
        """Return a token that has not ended."""
        token = self._token
        if token is not None and self._clock.monotonic() < token.ends_at:
            return token
        return await self._single_fetch()

    async def renew(self, refused: Token) -> Token:
        """Return another token than the one that was refused: a newer one, if there is one."""
        token = self._token
        if token is not None and token is not refused:
            return await self.bearer()
        return await self._single_fetch()

    async def keep(self) -> None:
        """Renew the token before its end, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._idle_seconds())
                if self._idle_seconds() == 0:
                    with suppress(UnavailableError):  # logged already; the old token is still there
                        await self._single_fetch()
        finally:
            if self._fetching is not None:
                self._fetching.cancel()

    def _idle_seconds(self) -> float:
        renew_in = self._token.renew_at - self._clock.monotonic() if self._token else 0.0
        return max(renew_in, self._retry.wait_seconds)

    async def _single_fetch(self) -> Token:
        """Return a new token, of the fetch in progress where there is one."""
        if self._fetching is None:
            if not self._retry.due:
                raise UnavailableError("ims", self._error)
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)
        if self._token is None or self._error:
            raise UnavailableError("ims", self._error)
        return self._token

    async def _fetch(self) -> None:
        try:
            form = urlencode(self._form()).encode("ascii")
            reply = await self._post(self._settings.token_url, form, _FORM)
            self._grant(reply)
        except UnavailableError as error:
            self._fail(error.detail)
        finally:
            self._fetching = None

    def _form(self) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": _secret(self._settings),
            "scope": self._settings.scopes,
        }

    def _grant(self, reply: Reply) -> None:
        text, life = _granted(reply)
        now = self._clock.monotonic()
        renew_after = random.uniform(*_RENEW_AFTER)  # noqa: S311  jitter
        header = {"Authorization": f"Bearer {text}"}
        self._token = Token(header, now + max(renew_after * life, _MIN_RENEWAL_SECONDS), now + life)
        self._error = ""
        self._retry.succeeded()
        self._metrics.counter(TOKEN_REFRESHES, AttemptResult.OK).inc()
        ends = self._clock.now_ms() / 1000 + life
        self._metrics.gauge(TOKEN_EXPIRY_TIMESTAMP_SECONDS).set(ends)

    def _fail(self, error: str) -> None:
        if error != self._error:
            log = structlog.get_logger()
            log.warning("No new access token was granted.", code="token_not_granted", error=error)
        self._error = error
        self._retry.failed()
        self._metrics.counter(TOKEN_REFRESHES, AttemptResult.FAILED).inc()


def _secret(settings: AuthSettings) -> str:
    if settings.client_secret_file is not None:
        try:
            return read_secret(settings.client_secret_file)
        except SettingsError as error:
            raise UnavailableError("ims", f"the client secret {error}") from error
    return settings.client_secret.get_secret_value() if settings.client_secret else ""


def _granted(reply: Reply) -> tuple[str, float]:
    """Return token and seconds of life, or raise UnavailableError with the reason."""
    if isinstance(reply, TransportFault):
        raise UnavailableError("ims", f"the token service cannot be reached ({reply})")
    answer = _object(reply.body)
    if reply.status in _CREDENTIALS:
        code = answer.get("error")
        known = code if isinstance(code, str) and _CODE.fullmatch(code) else str(reply.status)
        raise UnavailableError("ims", f"the token service refuses the credentials ({known})")
    if reply.status != _OK:
        raise UnavailableError("ims", f"the token service answers {reply.status}")
    text = answer.get("access_token")
    if not isinstance(text, str) or not _USABLE.fullmatch(text):
        raise UnavailableError("ims", "the token service's answer holds no usable token")
    return text, _life(answer.get("expires_in"))


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _life(value: object) -> float:
    """Return seconds; the old JWT exchange gave milliseconds, which are far larger numbers."""
    try:
        life = float(value) if isinstance(value, int | float | str) else _DEFAULT_LIFE_SECONDS
    except (ValueError, OverflowError):
        return _DEFAULT_LIFE_SECONDS
    if not life > 0 or life == float("inf"):
        return _DEFAULT_LIFE_SECONDS
    return life / 1000 if life > _MILLISECONDS_ABOVE else life
