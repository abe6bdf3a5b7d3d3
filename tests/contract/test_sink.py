"""The sink against a scripted inlet on real sockets: requests, limits, tokens, the close."""

import gc
import json
import socket
import time

import pytest
import structlog

from processor.domain.clock import SystemClock
from processor.domain.errors import InvariantError
from processor.domain.outcome import Reason
from processor.settings import AepSettings
from processor.sink.sink import InletSink
from processor.telemetry.catalogue import (
    DELIVERY_DELAY_SECONDS,
    ITEM_REFUSALS,
    ITEMS,
    REQUESTS_IN_FLIGHT,
)
from processor.telemetry.labels import ItemResult
from processor.telemetry.metrics import Metrics
from tests.support.inlet import (
    FakeInlet,
    Reaction,
    Request,
    accepts,
    answers,
    drips,
    hangs,
    items,
    resets,
)
from tests.support.score_events import score_event, score_events
from tests.support.sink_fixture import route, sink_fixture
from tests.support.waiting import until


def test_events_are_sent_in_one_request_with_the_headers_adobe_requires() -> None:
    with sink_fixture() as fixture:
        delivery = fixture.deliver(5)

        (request,) = fixture.inlet.requests
        assert request.path == "/collection/batch/inlet"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-sandbox-name"] == "prod"
        assert request.headers["authorization"] == "Bearer token-1"
        assert request.headers["accept-encoding"] == "identity"
        assert request.ids == [event.id for event in delivery.accepted]


def test_requests_are_filled_by_bytes_across_deliveries() -> None:
    with sink_fixture(limits={"linger_seconds": 0.2, "request_bytes": 100_000}) as fixture:
        deliveries = [fixture.sink.deliver(score_events(10, size=5_000)) for _ in range(9)]

        assert all(delivery.wait(5) for delivery in deliveries)
        *full, _ = [len(request.body) for request in fixture.inlet.requests]
        assert all(94_000 < size <= 100_000 for size in full)


def test_nothing_to_deliver_is_done_at_once() -> None:
    with sink_fixture() as fixture:
        assert fixture.sink.deliver([]).done


def test_events_of_several_routes_share_a_delivery_and_not_a_request() -> None:
    with sink_fixture() as fixture:
        events = [score_event("a"), score_event("b", route="churn"), score_event("c")]

        delivery = fixture.sink.deliver(events)

        assert delivery.wait(5)
        assert sorted(request.ids for request in fixture.inlet.requests) == [["a", "c"], ["b"]]


def test_an_expired_token_is_renewed_once_for_all_requests_in_flight() -> None:
    with sink_fixture(limits={"request_bytes": 10_000}) as fixture:
        fixture.deliver(2)
        fixture.inlet.token = "token-2"

        delivery = fixture.deliver(200, size=4_000)

        assert len(fixture.inlet.token_requests) == 2
        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_a_token_that_stays_refused_pauses_the_route_and_refuses_no_event() -> None:
    with sink_fixture(default=answers(403), retry={"max_seconds": 0.02}) as fixture:
        delivery = fixture.sink.deliver(score_events(5))

        until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the sink is paused")
        assert "token" in (fixture.sink.unavailable_reason or "")
        fixture.inlet.default = accepts()

        assert delivery.wait(10)
        assert delivery.refused == []


def test_an_unavailable_token_service_pauses_the_route_until_it_recovers() -> None:
    with sink_fixture() as fixture:
        fixture.inlet.ims_script.extend([answers(503), answers(400, {"error": "invalid_client"})])

        delivery = fixture.deliver(5)

        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_an_inlet_without_authentication_gets_no_token() -> None:
    with sink_fixture(auth=False) as fixture:
        fixture.deliver(2)

        assert "authorization" not in fixture.inlet.requests[0].headers
        assert fixture.inlet.token_requests == []


def test_neither_secrets_nor_identities_are_logged() -> None:
    with (
        structlog.testing.capture_logs() as log,
        sink_fixture(answers(500), resets(), answers(401)) as fixture,
    ):
        fixture.inlet.ims_script.append(answers(401, {"error": "canary-secret"}))
        fixture.deliver(3)

    text = json.dumps(log, default=str)
    assert "is paused" in text or "token" in text
    assert "canary" not in text
    assert "token-1" not in text


@pytest.mark.parametrize(
    "reaction", [hangs(), drips(b"HTTP/1.1 207 M\r\n" * 500, 0.05), answers(404), answers(503)]
)
def test_closing_takes_no_longer_than_its_seconds_whatever_the_inlet_does(
    reaction: Reaction,
) -> None:
    with sink_fixture(default=reaction, retry={"request_deadline_seconds": 60}) as fixture:
        delivery = fixture.sink.deliver(score_events(3))
        until(lambda: fixture.inlet.requests, seconds=5, what="a request is in flight")

        start = time.monotonic()
        fixture.sink.close(0.3)

        assert time.monotonic() - start < 1.5
        assert not delivery.done


def test_events_in_flight_at_the_close_are_in_doubt() -> None:
    with sink_fixture(default=hangs(), retry={"request_deadline_seconds": 60}) as fixture:
        delivery = fixture.sink.deliver(score_events(3))
        until(lambda: fixture.inlet.requests, seconds=5, what="a request is in flight")

        fixture.sink.close(0)

        assert [cause for _, cause in delivery.in_doubt] == ["stopped"] * 3


def test_closing_sends_a_request_that_lingers() -> None:
    with sink_fixture(limits={"linger_seconds": 9}) as fixture:
        delivery = fixture.sink.deliver(score_events(3))
        fixture.sink.close(5)

        assert delivery.done
        with pytest.raises(InvariantError):
            fixture.sink.deliver(score_events(1))


def test_a_sink_that_never_started_can_be_closed() -> None:
    aep = AepSettings(org_id="A@AdobeOrg")
    sink = InletSink(
        aep, [route("a", "https://dcs.adobedc.net/collection/a")], Metrics(), SystemClock()
    )

    sink.close(1)


def test_a_program_error_is_raised_in_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("processor.sink.worker.assess", broken)
    with sink_fixture() as fixture:
        fixture.sink.deliver(score_events(1))

        with pytest.raises(InvariantError):
            until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the error is raised")
        monkeypatch.undo()
        with pytest.raises(InvariantError):
            fixture.sink.close(0)
        fixture.sink._crash = None  # noqa: SLF001  so that the fixture can close it


def test_the_rate_limit_paces_requests() -> None:
    with sink_fixture(limits={"messages_per_second": 100}) as fixture:
        start = time.monotonic()
        fixture.deliver(250)

        assert 1.0 < time.monotonic() - start < 3.0
        assert max(fixture.sizes) <= 100


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    with sink_fixture(
        default=accepts(wait=0.02), limits={"max_in_flight": 3, "request_bytes": 10_000}
    ) as fixture:
        fixture.deliver(120, size=4_000)

        assert fixture.inlet.most_at_once == 3


def test_requests_are_first_sent_in_the_order_of_the_events() -> None:
    with sink_fixture(limits={"max_in_flight": 1, "request_bytes": 10_000}) as fixture:
        delivery = fixture.deliver(60, size=3_000)

        assert fixture.inlet.accepted == [f"e{i}" for i in range(60)]
        assert [event.id for event in delivery.accepted] == fixture.inlet.accepted


def test_every_sent_event_is_counted_once_by_its_result() -> None:
    with sink_fixture(accepts({0: {"status": 400}, 1: {"status": 503}})) as fixture:
        fixture.deliver(10)

        assert fixture.metrics.value(ITEMS, "upgrade", ItemResult.ACCEPTED) == 9
        assert fixture.metrics.value(ITEMS, "upgrade", ItemResult.REFUSED) == 1
        assert fixture.metrics.value(ITEMS, "upgrade", ItemResult.RETRYABLE) == 1
        assert fixture.metrics.value(ITEM_REFUSALS, "upgrade", Reason.REFUSED) == 1
        assert fixture.metrics.value(REQUESTS_IN_FLIGHT, "upgrade") == 0
        delays, _ = fixture.metrics.histogram(DELIVERY_DELAY_SECONDS, "upgrade").snapshot()
        assert delays[-1] == 9


def test_the_fake_inlet_closes_connections_made_just_before_it_stops() -> None:
    for _ in range(20):
        with FakeInlet() as inlet:
            connections = [socket.create_connection(("127.0.0.1", inlet.port)) for _ in range(3)]
        for each in connections:
            each.close()

    gc.collect()  # an open socket is a warning, and a warning is a failure


def test_the_fake_inlet_returns_one_item_per_event() -> None:
    request = Request("/", {}, b"", 0, ["a", "b"])

    assert [item["xactionId"][-1] for item in items(request)] == ["0", "1"]
