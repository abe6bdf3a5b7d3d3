import pytest

from processor.domain.errors import SettingsError
from processor.http.address import address_problems, batch_url, check_addresses, is_public
from tests.support.settings import settings_with

_AEP = settings_with().aep


@pytest.mark.parametrize(
    ("inlet", "batch"),
    [
        ("https://h/collection/abc", "https://h/collection/batch/abc"),
        ("https://h/collection/abc/", "https://h/collection/batch/abc"),
        ("https://h/collection/batch/abc", "https://h/collection/batch/abc"),
        ("https://h:8443/collection/abc", "https://h:8443/collection/batch/abc"),
        ("https://h/eu/collection/abc", "https://h/eu/collection/batch/abc"),
        ("https://h/collection/abc?a=b&c=", "https://h/collection/batch/abc?a=b&c="),
        ("https://h/collection/abc?syncValidation=true&a=b", "https://h/collection/batch/abc?a=b"),
        ("https://h/collection/abc?synchronousValidation=true", "https://h/collection/batch/abc"),
    ],
)
def test_the_batch_address_is_made_from_the_inlet_address(inlet: str, batch: str) -> None:
    assert batch_url(inlet) == batch


@pytest.mark.parametrize(
    "path", ["", "/", "/collection", "/collection/", "/collection/batch", "/collection/a/b", "/x/a"]
)
def test_a_path_that_is_not_that_of_an_inlet_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="collection"):
        batch_url(f"https://dcs.adobedc.net{path}")


@pytest.mark.parametrize(
    "url",
    [
        "http://dcs.adobedc.net/collection/a",
        "https://evil.example/collection/a",
        "https://adobedc.net.evil.example/collection/a",
        "https://evil-adobedc.net/collection/a",
        "https://adobedc.net/collection/a",
        "https://user:pass@dcs.adobedc.net/collection/a",
        "https://evil.example\\@dcs.adobedc.net/collection/a",
        "https://evil.example#@dcs.adobedc.net/collection/a",
        "https://dcs.adobedc.net /collection/a",
        "https://dcs.adobedc.net/collection/a\r\nX: y",
        "https://dcs.adobedc.net/collection/a\n",
        "https://dcs.adobedc.net/coll\u0435ction/a",
        "https://dcs.\u0430dobedc.net/collection/a",
        "//dcs.adobedc.net/collection/a",
        "ftp://dcs.adobedc.net/collection/a",
        "https:///collection/a",
        "https://127.0.0.1/collection/a",
        "https://[::1]/collection/a",
        "https://169.254.169.254/collection/a",
    ],
)
def test_unsafe_addresses_are_refused(url: str) -> None:
    assert address_problems(url, _AEP)


def test_addresses_of_adobe_are_allowed() -> None:
    for url in ("https://dcs.adobedc.net/collection/a?x=1", "https://DCS.AdobeDC.net:443/a"):
        assert address_problems(url, _AEP) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "[::ffff:127.0.0.1]", "127.1", "0x7f.1"])
def test_a_private_address_is_refused_even_if_it_is_an_allowed_host(host: str) -> None:
    aep = _AEP.model_copy(update={"allow_hosts": [host.strip("[]")]})

    assert address_problems(f"https://{host}/a", aep)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  the point
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public([address])
    assert not is_public(["93.184.216.34", address])


def test_public_addresses_are_public() -> None:
    assert is_public(["93.184.216.34", "2606:4700::1111"])


def test_all_problems_are_reported_at_once_as_sentences() -> None:
    settings = settings_with(
        {
            "aep/sandbox_name": "prod\r\nX-Evil: 1",
            "aep/auth/token_url": "http://ims.example/token",
            "routes/0/inlet_url": "https://dcs.adobedc.net/elsewhere",
        }
    )

    with pytest.raises(SettingsError) as caught:
        check_addresses(settings.aep, settings.routes)

    assert len(caught.value.problems) == 4
    assert all(problem.endswith(".") for problem in caught.value.problems)
