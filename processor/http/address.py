"""Where requests may go: inlet and token addresses are checked before anything is sent to them."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from processor.domain.errors import SettingsError
from processor.settings import AepSettings, RouteSettings

# Narrow on purpose: what two parsers could read differently (user parts, backslashes, spaces,
# control characters, non-ASCII hosts) is not an address.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:\d{1,5})?"
    r"(?P<path>/[A-Za-z0-9._~%/-]*)?(?P<query>\?[A-Za-z0-9._~%/=&+:-]*)?",
    re.ASCII,
)
_INLET = re.compile(r"(?P<before>.*/collection)/(?:batch/)?(?P<id>[^/]+)/?")
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_DEVELOPMENT_ONLY = frozenset(("syncValidation", "synchronousValidation"))


def batch_url(inlet_url: str) -> str:
    """Return the address for requests of many messages, of a connection's `inletUrl`.

    Source: AEP Streaming Ingestion API, `/collection/{id}` and `/collection/batch/{id}`. A query is
    kept, except for synchronous validation, which is limited to 60 single messages a minute. Raises
    ValueError where the path is not that of an inlet.
    """
    parts = urlsplit(inlet_url)
    found = _INLET.fullmatch(parts.path)
    if found is None or found["id"] == "batch":
        raise ValueError("the path is not `/collection/<inlet id>`")
    query = [pair for pair in parse_qsl(parts.query, True) if pair[0] not in _DEVELOPMENT_ONLY]
    path = f"{found['before']}/batch/{found['id']}"
    return parts._replace(path=path, query=urlencode(query), fragment="").geturl()


def check_addresses(aep: AepSettings, routes: Sequence[RouteSettings]) -> None:
    """Raise SettingsError with every address and header that may not be used."""
    problems = [
        f"routes.{route.name}.inlet_url: {problem}."
        for route in routes
        for problem in _inlet_problems(route.inlet_url, aep)
    ]
    if aep.auth is not None:
        problems += [
            f"aep.auth.token_url: {problem}."
            for problem in address_problems(aep.auth.token_url, aep)
        ]
    if not _HEADER.fullmatch(aep.sandbox_name):
        problems.append("aep.sandbox_name: it cannot be sent as a header.")
    if problems:
        raise SettingsError(problems)


def address_problems(url: str, aep: AepSettings) -> list[str]:
    """Return why requests may not be sent to this address, one phrase each; empty if they may."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        return ["it is not a plain http(s) address"]
    problems = []
    host = found["host"].strip("[]").rstrip(".").lower()
    if found["scheme"] != "https" and not aep.allow_http:
        problems.append("it must be https (`aep.allow_http` is for a simulator)")
    if not any(_matches(host, allowed.lower()) for allowed in aep.allow_hosts):
        problems.append(f"the host {host} is not in `aep.allow_hosts`")
    if not aep.allow_http and _is_local(host):
        problems.append("the host is a private or local address")
    return problems


def is_public(addresses: Iterable[str]) -> bool:
    """Return whether none of these IP addresses is private, loopback or otherwise special."""
    return all(_is_global(ipaddress.ip_address(address.split("%")[0])) for address in addresses)


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (inner or address).is_global and not address.is_multicast


def _inlet_problems(url: str, aep: AepSettings) -> list[str]:
    problems = address_problems(url, aep)
    if not problems:
        try:
            batch_url(url)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _is_local(host: str) -> bool:
    try:
        return not is_public([host])
    except ValueError:
        # No top-level domain begins with a digit, but a C library reads 127.1 as an address.
        return host.rpartition(".")[2][:1].isdigit()
