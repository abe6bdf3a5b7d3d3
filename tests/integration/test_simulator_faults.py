"""Scripted faults as a sender sees them, and which events each leaves accepted."""

import http.client
import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from processor.domain.clock import SystemClock
from processor.simulator.aep.faults import Endpoint, FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from tests.support.aep_caller import AepCaller, message, row, with_dataset


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


@pytest.fixture
def aep(simulator: AepSimulator) -> AepCaller:
    return AepCaller(simulator)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500, 502, 503, 504])
def test_a_scripted_status_accepts_nothing_and_ends_after_its_count(
    aep: AepCaller, status: int
) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.STATUS, status=status, count=1))

    assert [aep.batch(message()).status for _ in range(2)] == [status, 207]
    assert aep.simulator.accepted_events.total() == 1


def test_retry_after_is_in_seconds_or_a_date(aep: AepCaller) -> None:
    aep.simulator.add_faults(
        ScriptedFault(FaultAction.STATUS, status=429, retry_after="7", count=1),
        ScriptedFault(FaultAction.STATUS, status=503, retry_after="date:30", count=1),
    )

    seconds, date = (aep.batch(message()).headers["Retry-After"] for _ in range(2))

    assert seconds == "7"
    ahead = parsedate_to_datetime(date).timestamp() - SystemClock().now_ms() / 1000
    assert 25 < ahead <= 30


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ("status", {"xactionId", "status", "message"}),
        ("statusCode", {"statusCode", "message"}),
    ],
)
def test_items_are_refused_in_both_shapes(aep: AepCaller, shape: str, keys: set[str]) -> None:
    fault = {"action": "items", "share": 0.3, "item_shape": shape, "item_status": 429}
    aep.call("POST", "/_simulator/faults", json.dumps(fault))

    responses = aep.batch(*(message(row(number)) for number in range(50))).json["responses"]

    refused = {index for index, item in enumerate(responses) if set(item) == keys}
    accepted = {event["_id"] for event in aep.simulator.events("ds", last=50)}
    assert 0 < len(refused) < 50
    assert accepted == {f"{number:064x}" for number in range(50) if number not in refused}


def test_a_reset_before_acceptance_accepts_nothing(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.RESET, count=1))

    with pytest.raises(ConnectionError):
        aep.batch(message())

    assert aep.simulator.accepted_events.total() == 0


def test_a_reset_after_acceptance_leaves_the_events_in_doubt(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.RESET, accept=True, count=1))

    with pytest.raises(ConnectionError):
        aep.batch(message(row(5)))

    assert [event.id for event in aep.simulator.accepted_events.in_doubt()] == [f"{5:064x}"]


def test_a_status_after_acceptance_leaves_the_events_in_doubt(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.STATUS, status=504, accept=True, count=1))

    assert aep.batch(message()).status == 504
    assert len(aep.simulator.accepted_events.in_doubt()) == 1


def test_half_a_response_is_a_broken_read(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.HALF, count=1))

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        aep.batch(message())

    assert len(aep.simulator.accepted_events.in_doubt()) == 1


def test_a_hang_sends_nothing_and_then_resets(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.HANG, delay=0.3, count=1))
    clock = SystemClock()
    started = clock.monotonic()

    with pytest.raises(ConnectionError):
        aep.batch(message())

    assert clock.monotonic() - started >= 0.3


def test_a_dripping_response_is_complete_but_late(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.DRIP, delay=0.3, count=1))
    clock = SystemClock()
    started = clock.monotonic()

    response = aep.batch(message())

    assert len(response.json["responses"]) == 1
    assert clock.monotonic() - started >= 0.3


def test_a_huge_response_is_still_valid(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.HUGE, size=3_000_000, count=1))

    response = aep.batch(message())

    assert len(response.body) > 3_000_000
    assert len(response.json["responses"]) == 1


def test_a_short_response_omits_the_last_message(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.SHORT, count=1))

    assert len(aep.batch(message(row(1)), message(row(2))).json["responses"]) == 1
    assert aep.simulator.accepted_events.total() == 2


def test_a_response_can_have_any_body(aep: AepCaller) -> None:
    aep.simulator.add_faults(
        ScriptedFault(FaultAction.RESPONSE, status=207, body="<html>", count=1)
    )

    assert aep.batch(message())[::2] == (207, b"<html>")


def test_latency_is_combined_with_another_fault(aep: AepCaller) -> None:
    aep.simulator.add_faults(
        ScriptedFault(FaultAction.LATENCY, delay=0.2), ScriptedFault(FaultAction.STATUS, status=500)
    )
    clock = SystemClock()
    started = clock.monotonic()

    assert aep.batch(message()).status == 500
    assert clock.monotonic() - started >= 0.2


def test_tokens_expire_during_a_run(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.EXPIRE, skip=1, count=1))

    assert [aep.batch(message()).status for _ in range(3)] == [207, 401, 401]
    assert AepCaller(aep.simulator).batch(message()).status == 207


def test_the_token_service_can_be_unavailable(aep: AepCaller) -> None:
    aep.simulator.add_faults(
        ScriptedFault(FaultAction.STATUS, on=Endpoint.IMS, status=503, count=1)
    )

    assert aep.call("POST", "/ims/token/v3").status == 503
    assert aep.call("POST", "/ims/token/v3").status == 400


def test_a_bad_script_is_refused_with_the_reason(aep: AepCaller) -> None:
    response = aep.call("POST", "/_simulator/faults", '{"action": "explode"}')

    assert response.status == 400
    assert "explode" in response.json["error"]


def test_the_control_paths_report_and_delete(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.LATENCY, delay=0.0))
    aep.batch(message(row(1)), message(row(1)), {})

    counts = aep.get("/_simulator/accepted").json
    faults = aep.get("/_simulator/faults").json
    aep.call("DELETE", "/_simulator/faults")
    aep.call("DELETE", "/_simulator/accepted")

    assert counts["datasets"] == {"ds": {"accepted": 2, "distinct": 1, "repeated": 1}}
    assert counts["requests"] == {"in 207": 1}
    assert sum(counts["refusals"].values()) == 1
    assert faults[0]["hits"] == 1
    assert aep.simulator.summary()["accepted"] == 0
    assert aep.simulator.faults.active() == []


def test_the_page_shows_counts_faults_and_escaped_events(aep: AepCaller) -> None:
    aep.simulator.add_faults(ScriptedFault(FaultAction.LATENCY, delay=0.001))
    aep.batch(message(row(1, note="<script>alert(1)</script>")))

    page = aep.get("/").body.decode()

    assert "Scores" in page
    assert "latency" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
