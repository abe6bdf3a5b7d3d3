import asyncio
import socket
import threading
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from processor.domain.errors import SettingsError
from processor.http.transport import FAULTS, HttpResponse, Reply, Transport, TransportFault
from processor.settings import AepSettings
from tests.support.inlet import FakeInlet, answers, writes

_NOT_RAISED_BY_REQUESTS = {"WSMessageTypeError"}


def _raised_by_aiohttp() -> Iterator[type[BaseException]]:
    for module in (aiohttp, client_exceptions):
        for name in vars(module):
            kind = getattr(module, name)
            if isinstance(kind, type) and issubclass(kind, aiohttp.ClientError | OSError):
                yield kind


def test_every_exception_of_the_client_has_an_explicit_fault() -> None:
    """A new exception class in aiohttp fails here until it is assigned a fault."""
    known = set(FAULTS) | {aiohttp.ClientError}
    unknown = {
        kind.__name__
        for kind in _raised_by_aiohttp()
        if not any(base in known and base is not aiohttp.ClientError for base in kind.__mro__)
        and kind is not aiohttp.ClientError
    }

    assert unknown - _NOT_RAISED_BY_REQUESTS == set()
    assert issubclass(http_exceptions.HttpProcessingError, Exception)


def test_narrow_exceptions_come_before_wide_ones() -> None:
    kinds = list(FAULTS)

    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:index])


def _aep(**more: object) -> AepSettings:
    retry = {"connect_timeout_seconds": 1, "request_deadline_seconds": 2}
    return AepSettings.model_validate(
        {"org_id": "A@AdobeOrg", "allow_hosts": ["*"], "retry": retry} | more
    )


def _post(url: str, aep: AepSettings) -> Reply:
    async def scenario() -> Reply:
        transport = Transport(aep)
        await transport.open()
        try:
            return await transport.post(url, b"{}", {})
        finally:
            await transport.close()

    return asyncio.run(scenario())


def test_nothing_is_sent_to_a_name_that_resolves_to_a_private_address() -> None:
    with FakeInlet() as inlet:
        reply = _post(f"http://localhost:{inlet.port}/collection/a", _aep())

        assert reply is TransportFault.ADDRESS
        assert inlet.requests == []


def test_a_refused_connection_is_a_fault_before_sending() -> None:
    assert _post("http://127.0.0.1:1/collection/a", _aep(allow_http=True)) is TransportFault.CONNECT


def test_a_name_without_an_address_is_a_fault_before_sending() -> None:
    assert _post("http://name.invalid/collection/a", _aep(allow_http=True)) is TransportFault.DNS


def test_plain_http_behind_an_https_address_is_a_tls_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_in_plain_http, args=(server,), daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/collection/a"

        assert _post(url, _aep(allow_http=True)) is TransportFault.TLS


def _answer_in_plain_http(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.recv(1 << 16)


@pytest.mark.parametrize(
    "raw",
    [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 2O7 ok\r\n\r\n", b"\x00\x01\x02\r\n\r\n"],
)
def test_a_response_that_is_not_http_is_not_taken_for_a_400(raw: bytes) -> None:
    with FakeInlet(script=[writes(raw)]) as inlet:
        assert _post(inlet.url, _aep(allow_http=True)) in (
            TransportFault.GARBLED,
            TransportFault.RESET,
        )


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with FakeInlet() as inlet:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

        assert isinstance(_post(inlet.url, _aep(allow_http=True)), HttpResponse)


def test_a_proxy_of_the_settings_is_used_with_its_credentials() -> None:
    with FakeInlet(script=[answers(407)]) as proxy:
        aep = _aep(
            proxy=f"http://127.0.0.1:{proxy.port}",
            proxy_username="u",
            proxy_password="p",
        )

        reply = _post("https://inlet.invalid/collection/a", aep)

        (seen,) = proxy.requests
        assert reply is TransportFault.PROXY
        assert seen.path == "inlet.invalid:443"
        assert seen.headers["proxy-authorization"] == "Basic dTpw"


def test_a_certificate_file_that_cannot_be_read_stops_the_start(tmp_path: object) -> None:
    with pytest.raises(SettingsError, match="ca_file"):
        Transport(_aep(ca_file=f"{tmp_path}/none.pem"))
