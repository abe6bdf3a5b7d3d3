"""The client of the control APIs against the simulator, in good times and with faults."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from processor.adobe.answer import AdobeError, AdobeResponse
from processor.adobe.client import AdobeClient
from processor.domain.clock import Clock, SystemClock
from processor.domain.errors import SettingsError
from processor.settings import Settings
from processor.simulator.aep.cja_api import CjaAccess, CjaState, RequestWindow
from processor.simulator.aep.faults import read_script
from processor.simulator.aep.simulator import AepSimulator
from tests.support.aep_caller import with_dataset
from tests.support.clock import ManualClock
from tests.support.settings import settings_with

DATASET = "/data/foundation/catalog/dataSets/ds"
CONNECTIONS = "/data/connections"


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


def settings(simulator: AepSimulator, **changes: Any) -> Settings:  # noqa: ANN401
    credentials = simulator.organisation.credentials
    return settings_with(
        {
            "aep/org_id": simulator.organisation.org_id,
            "aep/platform_url": simulator.url,
            "aep/cja_url": simulator.url,
            "aep/allow_http": True,
            "aep/allow_hosts": ["127.0.0.1"],
            "aep/auth": {
                "token_url": f"{simulator.url}/ims/token/v3",
                "client_id": credentials.client_id,
                "client_secret": credentials.client_secret,
            },
            **{f"aep/{key}": value for key, value in changes.items()},
        }
    )


class Waits:
    """Records what is slept; a manual clock moves on by it."""

    def __init__(self, clock: Clock) -> None:
        self.seconds: list[float] = []
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if isinstance(self._clock, ManualClock):
            self._clock.advance(seconds)


def get(
    simulator: AepSimulator, path: str, times: int = 1, clock: Clock | None = None
) -> tuple[list[AdobeResponse], list[float]]:
    used = clock or SystemClock()
    waits = Waits(used)

    async def ask() -> list[AdobeResponse]:
        async with AdobeClient(settings(simulator).aep, used, sleep=waits) as client:
            return [await client.get(path) for _ in range(times)]

    return asyncio.run(ask()), waits.seconds


def script(simulator: AepSimulator, text: str) -> None:
    simulator.add_faults(*read_script(text.encode()))


def test_a_document_is_decoded(simulator: AepSimulator) -> None:
    ((response,), waits) = get(simulator, DATASET)

    assert response.document["ds"]["name"] == "Scores"
    assert waits == []
    assert simulator.ims.issued == 1


@pytest.mark.parametrize(
    "fault",
    [
        '{"action": "status", "status": 503, "on": "platform", "count": 2}',
        '{"action": "status", "status": 429, "on": "platform", "count": 2}',
        '{"action": "half", "on": "platform", "count": 2}',
    ],
)
def test_what_may_pass_is_tried_again(simulator: AepSimulator, fault: str) -> None:
    script(simulator, fault)

    responses, waits = get(simulator, DATASET)

    assert responses[0].status == 200
    assert len(waits) == 2


def test_a_lost_connection_is_tried_again(simulator: AepSimulator) -> None:
    script(simulator, '{"action": "reset", "on": "platform", "count": 3}')

    responses, waits = get(simulator, DATASET)

    assert responses[0].status == 200
    assert waits  # aiohttp repeats a GET on a lost connection once by itself


def test_retry_after_is_waited_for(simulator: AepSimulator) -> None:
    fault = '{"action": "status", "status": 429, "retry_after": "7", "on": "platform", "count": 1}'
    script(simulator, fault)

    _, waits = get(simulator, DATASET)

    assert waits == [7.0]


def test_what_does_not_pass_ends_after_a_minute(simulator: AepSimulator) -> None:
    script(simulator, '{"action": "status", "status": 503, "on": "platform"}')

    with pytest.raises(AdobeError, match="AEP answers 503") as raised:
        get(simulator, DATASET, clock=ManualClock())

    assert raised.value.status == 503


def test_a_token_that_ended_is_renewed_once(simulator: AepSimulator) -> None:
    async def ask() -> AdobeResponse:
        async with AdobeClient(settings(simulator).aep, SystemClock()) as client:
            await client.get(DATASET)
            simulator.expire_tokens()
            return await client.get(DATASET)

    assert asyncio.run(ask()).status == 200
    assert simulator.ims.issued == 2


def test_a_refusal_renews_the_token_once_and_is_an_error(simulator: AepSimulator) -> None:
    simulator.cja.replace(CjaState(CjaAccess.NO_PROFILE))

    with pytest.raises(AdobeError, match=r"403 403025.*product profile") as raised:
        get(simulator, CONNECTIONS)

    assert raised.value.status == 403
    assert simulator.ims.issued == 2


def test_cja_is_asked_twelve_times_in_six_seconds(simulator: AepSimulator) -> None:
    clock = ManualClock()

    responses, waits = get(simulator, CONNECTIONS, 11, clock)
    assert (len(responses), waits) == (11, [])

    simulator.cja._window = RequestWindow(clock)  # noqa: SLF001  the same clock on both sides
    responses, waits = get(simulator, CONNECTIONS, 30, clock)

    assert {each.status for each in responses} == {200}
    assert waits == [6.0, 6.0]


def test_an_unknown_object_and_text_that_is_no_json_are_errors(simulator: AepSimulator) -> None:
    with pytest.raises(AdobeError, match="no such object"):
        get(simulator, f"{DATASET}x")
    script(simulator, '{"action": "response", "status": 200, "body": "<html>", "on": "platform"}')
    with pytest.raises(AdobeError, match="not JSON"):
        get(simulator, DATASET)


def test_a_refused_secret_is_an_error_without_it(simulator: AepSimulator) -> None:
    wrong = settings(simulator, auth={
        "token_url": f"{simulator.url}/ims/token/v3", "client_id": "x", "client_secret": "canary",
    })  # fmt: skip

    async def ask() -> None:
        async with AdobeClient(wrong.aep, SystemClock()) as client:
            await client.get(DATASET)

    with pytest.raises(AdobeError, match="No access token was granted") as raised:
        asyncio.run(ask())
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cja_url": "https://cja.example"}, "aep.cja_url: the host cja.example is not in"),
        ({"platform_url": "http://127.0.0.1:1", "allow_http": False}, "must be https"),
        ({"auth": None}, "aep.auth is needed"),
    ],
)
def test_an_address_that_may_not_be_used_is_refused(
    simulator: AepSimulator, changes: dict[str, Any], problem: str
) -> None:
    async def ask() -> None:
        async with AdobeClient(settings(simulator, **changes).aep, SystemClock()) as client:
            await client.get(CONNECTIONS if "cja_url" in changes else DATASET)

    with pytest.raises(SettingsError, match=problem):
        asyncio.run(ask())
