"""The HTTP client: one POST in, a response or a fault out; aiohttp is not used elsewhere.

Redirects are not followed (they would carry the token), proxy variables of the environment are not
read, responses are not decompressed and are read to a cap, host names that resolve to private
addresses are refused, and one deadline covers the whole exchange, however slowly bytes arrive.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from processor.domain.errors import SettingsError
from processor.http.address import is_public
from processor.settings import AepSettings


class TransportFault(StrEnum):
    """What went wrong instead of a response, or in the middle of one."""

    CONNECT = "connect"
    """The connection was not accepted."""
    DNS = "dns"
    """The host has no address."""
    ADDRESS = "address"
    """The host resolves to addresses to which requests may not be sent."""
    TLS = "tls"
    """No trusted, encrypted connection."""
    TOKEN = "token"  # noqa: S105  a word
    """There is no access token to send the request with."""
    PROXY = "proxy"
    """The configured proxy did not let the request through."""
    TIMEOUT = "timeout"
    """The total deadline passed; part or all of the request had been sent."""
    RESET = "reset"
    """The connection ended before the response did."""
    GARBLED = "garbled"
    """What came is not HTTP."""
    TOO_LONG = "too_long"
    """The response's body is longer than the cap."""
    ENCODED = "encoded"
    """The response's body is compressed, which was not asked for."""


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response. `body_fault` is why `body` is missing; the status was read all the same.

    `retry_after` is the raw header.
    """

    status: int
    body: bytes = b""
    retry_after: str | None = None
    body_fault: TransportFault | None = None
    content_type: str = ""


Reply: TypeAlias = HttpResponse | TransportFault

Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], Awaitable[Reply]]
"""Sends a body and headers to a URL once; `Transport.post`."""

FAULTS: dict[type[BaseException], TransportFault] = {
    aiohttp.ClientConnectorDNSError: TransportFault.DNS,
    aiohttp.ClientProxyConnectionError: TransportFault.PROXY,
    aiohttp.ClientHttpProxyError: TransportFault.PROXY,
    aiohttp.ClientSSLError: TransportFault.TLS,
    aiohttp.ServerFingerprintMismatch: TransportFault.TLS,
    aiohttp.ClientConnectorError: TransportFault.CONNECT,
    aiohttp.ConnectionTimeoutError: TransportFault.CONNECT,
    aiohttp.ServerTimeoutError: TransportFault.TIMEOUT,
    TimeoutError: TransportFault.TIMEOUT,
    aiohttp.ClientResponseError: TransportFault.GARBLED,
    aiohttp.InvalidURL: TransportFault.GARBLED,
    aiohttp.RedirectClientError: TransportFault.GARBLED,
    aiohttp.NonHttpUrlClientError: TransportFault.GARBLED,
    aiohttp.ClientPayloadError: TransportFault.RESET,
    aiohttp.UploadAbortedError: TransportFault.RESET,
    aiohttp.ServerDisconnectedError: TransportFault.RESET,
    aiohttp.ClientConnectionError: TransportFault.RESET,
    OSError: TransportFault.RESET,
}
"""The first entry that an exception is an instance of, from the top, is its fault."""

_FOREIGN = (aiohttp.ClientError, TimeoutError, OSError)
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_IDLE_SECONDS = 15.0
_CLOSE_SECONDS = 0.5


class _AddressError(OSError):
    """A host resolves to addresses to which requests may not be sent."""


class _PublicResolver(AbstractResolver):
    """The system's resolver, less hosts that resolve to private or local addresses."""

    def __init__(self, *, proxy_host: str | None) -> None:
        self._system = ThreadedResolver()
        self._proxy_host = proxy_host

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        if host != self._proxy_host and not is_public(result["host"] for result in found):
            raise _AddressError("The host resolves to a private address.")
        return found

    async def close(self) -> None:
        await self._system.close()


class Transport:
    """A pool of connections; `open` and `close` belong to the event loop that posts.

    Raises SettingsError at once where the certificate file cannot be used.
    """

    def __init__(self, settings: AepSettings) -> None:
        self._settings = settings
        self._tls = _tls(settings)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the pool."""
        aep = self._settings
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls,
            keepalive_timeout=_IDLE_SECONDS,
            resolver=None if aep.allow_http else _PublicResolver(proxy_host=_host(aep.proxy)),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            skip_auto_headers=("User-Agent",),
            timeout=aiohttp.ClientTimeout(total=None, connect=aep.retry.connect_timeout_seconds),
            trust_env=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send one request and return its response or fault; raises nothing but cancellation."""
        return await self.send("POST", url, body, headers)

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Ask for a document, otherwise as `post`; `url` is sent as it is written.

        aiohttp sends a GET once more by itself where the connection is lost before a response.
        """
        return await self.send("GET", URL(url, encoded=True), None, headers)

    async def send(
        self, method: str, url: str | URL, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        """Send one request of any method, otherwise as `post`."""
        assert self._session is not None  # noqa: S101  for the type checker: open comes first
        aep = self._settings
        request = self._session.request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy=aep.proxy,
            proxy_headers=_proxy_headers(aep),
        )
        try:
            async with asyncio.timeout(aep.retry.request_deadline_seconds):
                return await self._exchange(request)
        except _FOREIGN as error:
            return _fault(error)

    async def close(self) -> None:
        """Drop every connection, within half a second whatever the other side does."""
        if self._session is None:
            return
        with suppress(*_FOREIGN):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._session.close()
        await asyncio.sleep(0)  # one turn of the event loop, in which closed sockets are freed

    async def _exchange(
        self, request: AbstractAsyncContextManager[aiohttp.ClientResponse]
    ) -> HttpResponse:
        async with request as response:
            retry_after = response.headers.get("Retry-After")
            try:
                body, fault = await _read(response, self._settings.retry.max_response_bytes)
            except _FOREIGN as error:
                body, fault = b"", _fault(error)
            if fault is not None:
                response.close()
            content_type = response.headers.get("Content-Type", "")
            return HttpResponse(response.status, body, retry_after, fault, content_type)


async def _read(response: aiohttp.ClientResponse, cap: int) -> tuple[bytes, TransportFault | None]:
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return b"", TransportFault.ENCODED
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > cap:
            return b"", TransportFault.TOO_LONG
    return bytes(body), None


def _fault(error: BaseException) -> TransportFault:
    if isinstance(error.__cause__, _AddressError):
        return TransportFault.ADDRESS
    return next(fault for kind, fault in FAULTS.items() if isinstance(error, kind))


def _tls(settings: AepSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(["aep.ca_file: it cannot be read as PEM certificates."]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _host(url: str | None) -> str | None:
    return None if url is None else urlsplit(url).hostname


def _proxy_headers(aep: AepSettings) -> dict[str, str] | None:
    if aep.proxy is None or aep.proxy_username is None:
        return None
    password = aep.proxy_password.get_secret_value() if aep.proxy_password else ""
    pair = base64.b64encode(f"{aep.proxy_username}:{password}".encode()).decode("ascii")
    return {"Proxy-Authorization": f"Basic {pair}"}
