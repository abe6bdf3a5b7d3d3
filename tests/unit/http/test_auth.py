import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from processor.domain.errors import UnavailableError
from processor.domain.retry import Retry, RetryPolicy
from processor.http.auth import Auth
from processor.http.transport import HttpResponse, Reply, TransportFault
from processor.settings import AuthSettings
from processor.telemetry.catalogue import TOKEN_EXPIRY_TIMESTAMP_SECONDS
from processor.telemetry.metrics import Metrics
from tests.support.clock import ManualClock


class Ims:
    """A token service in memory: plays replies in order, then grants, and counts requests."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.forms: list[dict[str, list[str]]] = []
        self.clock = ManualClock()
        self.metrics = Metrics()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        assert url.endswith("/ims/token/v3")
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.forms.append(parse_qs(body.decode()))
        await asyncio.sleep(0)
        return self.replies.pop(0) if self.replies else grant(f"t{len(self.forms)}")

    def auth(self, settings: AuthSettings | None = None) -> Auth:
        return Auth(
            settings or AuthSettings(client_id="id", client_secret="s&cret=1"),
            self.post,
            retry=Retry(RetryPolicy(1.0, 8.0), self.clock, uniform=lambda _, high: high),
            clock=self.clock,
            metrics=self.metrics,
        )


def grant(token: str, expires_in: object = 86_399) -> HttpResponse:
    body = {"access_token": token, "token_type": "bearer", "expires_in": expires_in}
    return HttpResponse(200, json.dumps(body).encode())


async def _text(auth: Auth) -> str:
    return (await auth.bearer()).header["Authorization"]


def test_a_token_is_fetched_once_and_used_until_it_ends() -> None:
    ims = Ims(grant("a", 100), grant("b"))
    auth = ims.auth()

    async def scenario() -> list[str]:
        used = [await _text(auth), await _text(auth)]
        ims.clock.advance(101)
        return [*used, await _text(auth)]

    assert asyncio.run(scenario()) == ["Bearer a", "Bearer a", "Bearer b"]
    assert ims.forms[0] == {
        "grant_type": ["client_credentials"],
        "client_id": ["id"],
        "client_secret": ["s&cret=1"],
        "scope": [AuthSettings(client_id="id").scopes],
    }


def test_two_hundred_refusals_at_once_make_one_token_request() -> None:
    ims = Ims()
    auth = ims.auth()

    async def scenario() -> set[str]:
        refused = await auth.bearer()
        renewed = await asyncio.gather(*(auth.renew(refused) for _ in range(200)))
        late = await auth.renew(refused)
        return {token.header["Authorization"] for token in [*renewed, late]}

    assert asyncio.run(scenario()) == {"Bearer t2"}
    assert len(ims.forms) == 2


def test_the_first_token_is_fetched_once_for_all_requests() -> None:
    ims = Ims()
    auth = ims.auth()

    async def scenario() -> None:
        await asyncio.gather(*(auth.bearer() for _ in range(50)))

    asyncio.run(scenario())

    assert len(ims.forms) == 1


@pytest.mark.parametrize(
    ("expires_in", "life"),
    [
        (86_399, 86_399),
        ("86399", 86_399),
        (86_399_992, 86_399.992),
        (5, 5),
        (None, 3600),
        ("soon", 3600),
        (-1, 3600),
        (0, 3600),
        ("1e400", 3600),
        ([], 3600),
    ],
)
def test_the_life_of_a_token_is_read_in_seconds_or_milliseconds(
    expires_in: object, life: float
) -> None:
    ims = Ims(grant("a", expires_in))
    auth = ims.auth()

    token = asyncio.run(auth.bearer())

    now = ims.clock.monotonic()
    assert token.ends_at - now == pytest.approx(life)
    assert now + 0.7 * life < token.renew_at < now + 0.9 * life
    expiry = ims.metrics.value(TOKEN_EXPIRY_TIMESTAMP_SECONDS)
    assert expiry == pytest.approx(ims.clock.now_ms() / 1000 + life)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            HttpResponse(400, b'{"error":"invalid_client"}'),
            r"refuses the credentials \(invalid_client\)",
        ),
        (HttpResponse(401, b"<html>"), r"refuses the credentials \(401\)"),
        (
            HttpResponse(400, b'{"error":"the secret is s&cret=1"}'),
            r"refuses the credentials \(400\)",
        ),
        (HttpResponse(500, b""), "answers 500"),
        (HttpResponse(429, b""), "answers 429"),
        (HttpResponse(302, b""), "answers 302"),
        (HttpResponse(200, b"{}"), "no usable token"),
        (HttpResponse(200, b"not json"), "no usable token"),
        (HttpResponse(200, b"[" * 100_000), "no usable token"),
        (HttpResponse(200, b'{"access_token":""}'), "no usable token"),
        (HttpResponse(200, b'{"access_token":"a\\r\\nX-Evil: 1"}'), "no usable token"),
        (HttpResponse(200, b'{"access_token":7}'), "no usable token"),
        (TransportFault.TIMEOUT, "cannot be reached"),
        (TransportFault.DNS, "cannot be reached"),
    ],
)
def test_a_bad_answer_of_ims_is_an_outage_with_a_reason(reply: Reply, error: str) -> None:
    with pytest.raises(UnavailableError, match=error):
        asyncio.run(Ims(reply).auth().bearer())


def test_a_failing_token_service_is_asked_with_growing_delays() -> None:
    ims = Ims(*[HttpResponse(503)] * 4)
    auth, requests = ims.auth(), []

    async def scenario() -> None:
        for _ in range(16):
            with pytest.raises(UnavailableError):
                await auth.bearer()
            requests.append(len(ims.forms))
            ims.clock.advance(0.5)

    asyncio.run(scenario())

    assert requests == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4]


def test_the_old_token_stays_in_use_while_no_new_one_is_granted() -> None:
    ims = Ims(grant("old", 100), HttpResponse(503))
    auth = ims.auth()

    async def scenario() -> str:
        refused = await auth.bearer()
        with pytest.raises(UnavailableError):
            await auth.renew(refused)
        return await _text(auth)

    assert asyncio.run(scenario()) == "Bearer old"


def test_a_secret_in_a_file_is_read_again_for_each_token(tmp_path: Path) -> None:
    ims, file = Ims(), tmp_path / "secret"
    auth = ims.auth(AuthSettings(client_id="id", client_secret_file=file))

    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="secret"):
            await auth.bearer()
        ims.clock.advance(10)
        file.write_text("first\n")
        token = await auth.bearer()
        file.write_text("second\n")
        await auth.renew(token)

    asyncio.run(scenario())

    assert [form["client_secret"] for form in ims.forms] == [["first"], ["second"]]


def test_the_token_is_renewed_before_its_end_without_a_request() -> None:
    ims = Ims()
    ims.replies = [grant("a", 1000)]
    auth = ims.auth()

    async def scenario() -> str:
        await auth.bearer()
        ims.clock.advance(900)
        keeping = asyncio.create_task(auth.keep())
        for _ in range(20):
            await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        return await _text(auth)

    assert asyncio.run(scenario()) == "Bearer t2"


def test_a_token_is_not_in_its_own_repr() -> None:
    token = asyncio.run(Ims(grant("canary")).auth().bearer())

    assert "canary" not in f"{token!r} {token}"
