"""What comes back from a POST: an answer with a status, or the fault that took its place."""

from enum import StrEnum
from http import HTTPStatus
from typing import TypeAlias

import msgspec


class TransportFault(StrEnum):
    """What went wrong instead of an answer, or in the middle of one."""

    CONNECT = "connect"
    """Nobody took the connection."""
    DNS = "dns"
    """The host has no address."""
    ADDRESS = "address"
    """The host resolves to addresses that may not be talked to."""
    TLS = "tls"
    """No trusted, encrypted connection."""
    TOKEN = "token"  # noqa: S105  a word
    """There is no access token to send the request with."""
    PROXY = "proxy"
    """The configured proxy did not let the request through."""
    TIMEOUT = "timeout"
    """The total deadline passed; part or all of the request had been sent."""
    RESET = "reset"
    """The connection ended before the answer did."""
    GARBLED = "garbled"
    """What came is not HTTP."""
    TOO_LONG = "too_long"
    """The answer's body is longer than we read."""
    ENCODED = "encoded"
    """The answer's body is compressed, which we had not asked for."""


class InletResponse(msgspec.Struct, frozen=True, gc=False):
    """An HTTP answer. `flaw` says why `body` is missing or cut; the status was read all the same.

    `retry_after` is the raw header.
    """

    status: int
    body: bytes = b""
    retry_after: str | None = None
    flaw: TransportFault | None = None


Reply: TypeAlias = InletResponse | TransportFault

_COUNTED = frozenset(status.value for status in HTTPStatus)


def code_of(reply: Reply) -> str:
    """Name a reply for a metric: a known status, the class of an unknown one, or the fault."""
    if isinstance(reply, TransportFault):
        return reply.value
    return str(reply.status) if reply.status in _COUNTED else f"{reply.status // 100}xx"
