"""The sink against a scripted inlet on real sockets: every fault, and one result per event."""

import gc
import gzip
import json
import random
import socket
import time
from asyncio import StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest
import structlog

from processor.domain.clock import SystemClock
from processor.domain.errors import InvariantError
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Partition
from processor.settings import AepSettings, RouteSettings
from processor.sink import InletDelivery, InletSink
from processor.telemetry.catalogue import (
    CIRCUIT_OPEN,
    DELIVERY_DELAY_SECONDS,
    FAILING_RECORD_INFO,
    FAILING_RECORDS,
    FAILING_SINCE_TIMESTAMP_SECONDS,
    ITEM_REFUSALS,
    ITEMS,
    ITEMS_IN_DOUBT,
    ITEMS_RESENT,
    REQUESTS_IN_FLIGHT,
    ItemResult,
)
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
    refuses,
    resets,
    writes,
)
from tests.support.score_events import score_event, score_events
from tests.support.waiting import until

_BOMB = gzip.compress(b"\0" * 100_000_000, 9)


@dataclass
class Rig:
    """A sink with one route to a scripted inlet."""

    inlet: FakeInlet
    sink: InletSink
    metrics: Metrics

    def deliver(self, count: int = 5, *, size: int = 0, within: float = 10) -> InletDelivery:
        events = score_events(count, size=size)
        delivery = self.sink.deliver(events)
        assert delivery.wait(within), self.sink.unavailable_reason
        ends = {event.id for event in delivery.accepted} | {e.id for e, _ in delivery.refused}
        assert delivery.released == []
        assert ends == {event.id for event in events}
        assert len(delivery.accepted) + len(delivery.refused) == count
        return delivery

    @property
    def sizes(self) -> list[int]:
        return [len(request.ids) for request in self.inlet.requests]


@contextmanager
def sink_rig(
    *script: Reaction,
    default: Reaction | None = None,
    auth: bool = True,
    retry: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> Iterator[Rig]:
    fast = {"first_seconds": 0.01, "max_seconds": 0.05, "request_deadline_seconds": 0.4}
    with FakeInlet(script, default) as inlet:
        client = {"token_url": inlet.token_url, "client_id": "id", "client_secret": "canary-secret"}
        settings = {
            "org_id": "A@AdobeOrg",
            "allow_hosts": ["127.0.0.1"],
            "allow_http": True,
            "auth": client if auth else None,
            "retry": fast | (retry or {}),
            "limits": {"linger_seconds": 0.01} | (limits or {}),
        }
        routes = [_route("upgrade", inlet.url), _route("churn", inlet.url)]
        metrics = Metrics()
        sink = InletSink(AepSettings.model_validate(settings), routes, metrics, SystemClock())
        sink.start()
        try:
            yield Rig(inlet, sink, metrics)
        finally:
            sink.close(0)


def _route(name: str, url: str) -> RouteSettings:
    return RouteSettings(
        name=name, models=[name], inlet_url=url, flow_id="f", dataset_id="d", schema_id="s"
    )


def test_events_are_sent_in_one_request_with_the_headers_adobe_requires() -> None:
    with sink_rig() as rig:
        delivery = rig.deliver(5)

        (request,) = rig.inlet.requests
        assert request.path == "/collection/batch/inlet"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-sandbox-name"] == "prod"
        assert request.headers["authorization"] == "Bearer token-1"
        assert request.headers["accept-encoding"] == "identity"
        assert request.ids == [event.id for event in delivery.accepted]


def test_requests_are_filled_by_bytes_across_deliveries() -> None:
    with sink_rig(limits={"linger_seconds": 0.2, "request_bytes": 100_000}) as rig:
        deliveries = [rig.sink.deliver(score_events(10, size=5_000)) for _ in range(9)]

        assert all(delivery.wait(5) for delivery in deliveries)
        *full, _ = [len(request.body) for request in rig.inlet.requests]
        assert all(94_000 < size <= 100_000 for size in full)


def test_nothing_to_deliver_is_done_at_once() -> None:
    with sink_rig() as rig:
        assert rig.sink.deliver([]).done


def test_events_of_several_routes_share_a_delivery_and_not_a_request() -> None:
    with sink_rig() as rig:
        events = [score_event("a"), score_event("b", route="churn"), score_event("c")]

        delivery = rig.sink.deliver(events)

        assert delivery.wait(5)
        assert sorted(request.ids for request in rig.inlet.requests) == [["a", "c"], ["b"]]


_TRANSIENT: dict[str, tuple[Reaction, bool]] = {
    "429": (answers(429), False),
    "429 with seconds": (answers(429, Retry_After="0.2"), False),
    "429 with nonsense": (answers(429, Retry_After="soon"), False),
    "429 with a negative wait": (answers(429, Retry_After="-99999999999"), False),
    "429 with a date that is past": (answers(429, Retry_After=formatdate(1)), False),
    "408": (answers(408), False),
    "500": (answers(500, "oops"), True),
    "502": (answers(502, b"<html>"), True),
    "503": (answers(503, Retry_After="0.1"), False),
    "504": (answers(504), True),
    "503 with a gzip bomb": (answers(503, _BOMB, Content_Encoding="gzip"), False),
    "404": (answers(404), False),
    "405": (answers(405), False),
    "410": (answers(410), False),
    "301": (answers(301, Location="http://127.0.0.1:1/elsewhere"), False),
    "307": (answers(307, Location="http://127.0.0.1:1/elsewhere"), False),
    "501": (answers(501), False),
    "200 to a batch": (answers(200, {"inletId": "i", "xactionId": "x"}), True),
    "202": (answers(202), True),
    "reset before it was accepted": (resets(), True),
    "closed without an answer": (writes(b""), True),
    "not HTTP": (writes(b"SSH-2.0-OpenSSH\r\n\r\n"), True),
    "half a status line": (writes(b"HTTP/1.1 20"), True),
    "half an answer": (writes(b'HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{"resp'), True),
    "a length that is too short": (
        writes(b'HTTP/1.1 207 M\r\nContent-Length: 9\r\n\r\n{"responses":[]}'),
        True,
    ),
    "a length that is no number": (writes(b"HTTP/1.1 207 M\r\nContent-Length: x\r\n\r\n{}"), True),
    "two lengths": (
        writes(b"HTTP/1.1 207 M\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
        True,
    ),
    "hang": (hangs(), True),
    "drip": (drips(b"HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n" + b" " * 900, 0.02), True),
    "late": (answers(207, wait=5), True),
    "207 not JSON": (answers(207, "<html>ok</html>"), True),
    "207 without responses": (answers(207, {"inletId": "i"}), True),
    "207 with too few": (answers(207, {"responses": [{"xactionId": "a-0"}]}), True),
    "207 with too many": (answers(207, {"responses": [{"xactionId": "a"}] * 9}), True),
    "207 with a gzip answer": (answers(207, gzip.compress(b"{}"), Content_Encoding="gzip"), True),
    "207 with a gzip bomb": (answers(207, _BOMB, Content_Encoding="gzip"), True),
    "207 of 20 MB": (answers(207, b" " * 20_000_000), True),
    "items 503": (accepts({i: {"status": 503} for i in range(5)}), False),
    "items 429": (accepts({i: {"statusCode": "429"} for i in range(5)}), False),
    "items of unknown shape": (accepts({i: {"status": "pass"} for i in range(5)}), True),
}


@pytest.mark.parametrize("name", list(_TRANSIENT))
def test_after_a_transient_fault_every_event_is_accepted_once(name: str) -> None:
    reaction, is_in_doubt = _TRANSIENT[name]
    with sink_rig(reaction) as rig:
        delivery = rig.deliver(5)

        assert delivery.refused == []
        assert rig.inlet.repeats == []
        assert len(delivery.in_doubt) == (5 if is_in_doubt else 0)
        assert rig.metrics.value(ITEMS, "upgrade", ItemResult.ACCEPTED) == 5


def test_a_reset_after_the_events_were_accepted_repeats_them_once_and_lists_each_in_doubt() -> None:
    with sink_rig(resets(accepted=True)) as rig:
        delivery = rig.deliver(5)

        in_doubt = {event.id for event, _ in delivery.in_doubt}
        assert set(rig.inlet.repeats) == in_doubt
        assert rig.metrics.value(ITEMS_IN_DOUBT, "upgrade", "reset") == 5
        assert rig.metrics.value(ITEMS_RESENT, "upgrade") == 5


@pytest.mark.parametrize("key", ["status", "statusCode"])
def test_refused_items_carry_the_message_of_adobe_without_values(key: str) -> None:
    message = "DCVS-1104-400 expected type: String, found: 'john.smith@example.com'"
    with sink_rig(accepts({1: {key: 400, "message": message}, 3: {key: "400"}})) as rig:
        delivery = rig.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e1", "e3"]
        reject = delivery.refused[0][1]
        assert reject.reason is Reason.REFUSED
        assert "DCVS-1104-400 expected type: String" in reject.detail
        assert "john" not in reject.detail
        assert reject.model == "Churn"
        assert rig.sizes == [5]


def test_permuted_items_are_matched_by_their_index() -> None:
    with sink_rig(accepts({0: {"status": 400}}, order=lambda items: items[::-1])) as rig:
        assert [event.id for event, _ in rig.deliver(4).refused] == ["e0"]


def test_only_the_items_that_failed_are_sent_again() -> None:
    mixed: dict[int, dict[str, Any]] = {
        0: {"status": 400},
        2: {"status": 503},
        4: {"statusCode": "429", "message": "slow"},
    }
    with sink_rig(accepts(mixed)) as rig:
        delivery = rig.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e0"]
        assert rig.inlet.repeats == []
        again = [id_ for request in rig.inlet.requests[1:] for id_ in request.ids]
        assert sorted(again) == ["e2", "e4"]


def test_a_refused_request_is_split_until_the_bad_events_are_alone() -> None:
    with sink_rig(default=refuses(lambda id_: id_ in {"e3", "e77"})) as rig:
        delivery = rig.deliver(100)

        assert sorted(event.id for event, _ in delivery.refused) == ["e3", "e77"]
        assert rig.inlet.repeats == []
        assert len(rig.inlet.requests) < 40


def test_a_too_large_request_is_split_and_a_too_large_event_is_refused() -> None:
    def too_large(limit: int) -> Reaction:
        async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
            answer = answers(413) if len(request.body) > limit else accepts()
            await answer(request, writer, inlet)

        return react

    with sink_rig(default=too_large(30_000)) as rig:
        events = [*score_events(20, size=3_000), score_event("big", size=40_000)]

        delivery = rig.sink.deliver(events)

        assert delivery.wait(5)
        ((event, reject),) = delivery.refused
        assert (event.id, reject.reason) == ("big", Reason.EVENT_TOO_LARGE)
        assert len(rig.inlet.accepted) == 20


def test_an_event_that_can_never_fit_is_refused_without_being_sent() -> None:
    with sink_rig(limits={"request_bytes": 10_000}) as rig:
        delivery = rig.deliver(1, size=20_000)

        assert delivery.refused[0][1].reason is Reason.EVENT_TOO_LARGE
        assert rig.inlet.requests == []


def test_an_event_that_can_never_fit_does_not_close_the_breaker() -> None:
    with sink_rig(default=answers(500), limits={"request_bytes": 10_000}) as rig:
        first = rig.sink.deliver(score_events(1))
        until(lambda: rig.sink.unavailable_reason, seconds=5, what="the sink is paused")

        delivery = rig.sink.deliver([score_event("big", size=20_000)])

        assert delivery.wait(5)
        assert rig.sink.unavailable_reason is not None
        assert not first.done


def test_a_response_before_the_body_was_read_is_used() -> None:
    with sink_rig(limits={"request_bytes": 1_000_000}, auth=False) as rig:
        rig.inlet.early.append(answers(413, Connection="close"))
        start = time.monotonic()

        delivery = rig.deliver(4, size=240_000)

        assert time.monotonic() - start < 0.35
        assert delivery.refused == []
        assert delivery.in_doubt == []
        assert rig.sizes == [2, 2]


def test_nothing_is_sent_until_a_retry_after_has_passed() -> None:
    with sink_rig(answers(503, Retry_After="1")) as rig:
        start = time.monotonic()
        first = rig.sink.deliver(score_events(3))
        until(lambda: rig.sink.unavailable_reason, seconds=3, what="the sink is paused")
        second = rig.sink.deliver(score_events(3))

        assert first.wait(5)
        assert second.wait(5)
        assert 1.0 <= time.monotonic() - start < 1.6
        assert len(rig.inlet.requests) <= 4
        assert rig.sink.unavailable_reason is None


def test_an_unavailable_inlet_is_probed_with_one_event_at_a_time() -> None:
    with sink_rig(default=answers(500), retry={"max_seconds": 0.02, "breaker_failures": 3}) as rig:
        delivery = rig.sink.deliver(score_events(500))

        until(lambda: len(rig.inlet.requests) > 30, seconds=10, what="many probes")
        unavailable_reason = rig.sink.unavailable_reason
        probes = rig.sizes[-20:]
        rig.inlet.default = accepts()

        assert delivery.wait(10)
        assert unavailable_reason == "upgrade: the inlet fails"
        assert set(probes) == {1}
        assert rig.sink.unavailable_reason is None
        assert rig.metrics.value(CIRCUIT_OPEN, "upgrade", "server_error") == 0


def test_one_event_that_makes_the_inlet_fail_does_not_block_the_others() -> None:
    with sink_rig(default=_fails_on("e13", answers(500))) as rig:
        delivery = rig.sink.deliver(score_events(64))

        until(
            lambda: len(set(rig.inlet.accepted)) == 63, seconds=10, what="the others are accepted"
        )
        assert not delivery.done


def _fails_on(bad: str, reaction: Reaction) -> Reaction:
    """Return a reaction that is an inlet's own unless a request has the bad event in it."""

    async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        await (reaction if bad in request.ids else accepts())(request, writer, inlet)

    return react


def _fails_item(bad: str, item: dict[str, Any]) -> Reaction:
    async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        items = {request.ids.index(bad): item} if bad in request.ids else {}
        await accepts(items)(request, writer, inlet)

    return react


_SOON = {"undeliverable_attempts": 3, "undeliverable_seconds": 0.3, "undeliverable_others": 50}
_POISONED: dict[str, Reaction] = {
    "item 500": _fails_item("e13", {"status": 500}),
    "item 503": _fails_item("e13", {"statusCode": "503"}),
    "item 429": _fails_item("e13", {"status": 429}),
    "item 401": _fails_item("e13", {"status": 401}),
    "item 403": _fails_item("e13", {"status": 403}),
    "item 404": _fails_item("e13", {"status": 404}),
    "item 302": _fails_item("e13", {"status": 302}),
    "item of unknown shape": _fails_item("e13", {"status": "pass"}),
    "500": _fails_on("e13", answers(500)),
    "502": _fails_on("e13", answers(502, b"<html>")),
    "503": _fails_on("e13", answers(503)),
    "503 with seconds": _fails_on("e13", answers(503, Retry_After="0.1")),
    "403 of a firewall": _fails_on("e13", answers(403, b"<html>blocked</html>")),
    "404": _fails_on("e13", answers(404)),
    "207 not JSON": _fails_on("e13", answers(207, "<html>ok</html>")),
    "reset": _fails_on("e13", resets()),
    "hang": _fails_on("e13", hangs()),
}


@pytest.mark.parametrize("name", list(_POISONED))
def test_an_event_that_fails_alone_while_others_are_accepted_is_undeliverable(name: str) -> None:
    retry = _SOON | {"request_deadline_seconds": 0.1}
    with (
        structlog.testing.capture_logs() as log,
        sink_rig(default=_POISONED[name], retry=retry) as rig,
    ):
        delivery = rig.deliver(100, within=10)

        ((event, reject),) = delivery.refused
        assert (event.id, reject.reason) == ("e13", Reason.UNDELIVERABLE)
        assert reject.stage is Stage.DELIVER
        assert [(e.id, cause) for e, cause in delivery.in_doubt if e.id == "e13"] == [
            ("e13", "undeliverable")
        ]
        assert set(rig.inlet.repeats) <= {e.id for e, _ in delivery.in_doubt}
        assert rig.metrics.value(ITEM_REFUSALS, "upgrade", "undeliverable") == 1
        assert rig.sink.deliver(score_events(5)[:1]).wait(5)
    (line,) = [each for each in log if each.get("code") == "event_undeliverable"]
    assert line["record"] == "customer-ai-scores/0/7"
    assert line["attempts"] >= 3
    assert line["accepted"] >= 50


def test_several_events_at_fault_are_all_refused_side_by_side() -> None:
    bad = {f"e{index}" for index in range(0, 4000, 400)}

    async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        items = {i: {"status": 500} for i, each in enumerate(request.ids) if each in bad}
        await accepts(items)(request, writer, inlet)

    retry = _SOON | {"undeliverable_seconds": 0.5, "request_deadline_seconds": 10}
    with sink_rig(default=react, retry=retry) as rig:
        delivery = rig.deliver(4000, within=10)

        assert {event.id for event, _ in delivery.refused} == bad
        assert rig.inlet.repeats == []


def test_an_event_that_fails_alone_pauses_no_other_and_is_named() -> None:
    retry = {"undeliverable_others": 1_000}
    with (
        structlog.testing.capture_logs() as log,
        sink_rig(default=_POISONED["item 500"], retry=retry) as rig,
    ):
        delivery = rig.sink.deliver(score_events(64))
        for number in range(20):
            assert rig.sink.deliver([score_event(f"o{number}")]).wait(5)
            assert rig.sink.unavailable_reason is None

        (failing,) = until(lambda: rig.sink.retried, seconds=5, what="the event is named")
        until(lambda: rig.metrics.value(FAILING_RECORDS, "upgrade") == 1, seconds=5, what="shown")
        assert failing.origin == "customer-ai-scores/0/7"
        assert (failing.route, failing.cause) == ("upgrade", "server_error")
        assert failing.attempts >= 3
        assert rig.metrics.value(FAILING_RECORD_INFO, "upgrade", failing.origin) == 1
        assert rig.metrics.value(FAILING_SINCE_TIMESTAMP_SECONDS, "upgrade") > 1.7e9
        assert not delivery.done
    (line,) = [each for each in log if each.get("code") == "event_fails_alone"]
    assert line["record"] == "customer-ai-scores/0/7"


def test_with_too_few_others_an_event_waits_until_more_are_accepted() -> None:
    with sink_rig(default=_POISONED["item 500"], retry=_SOON) as rig:
        delivery = rig.sink.deliver(score_events(20))
        assert not delivery.wait(1.5)

        for number in range(8):
            assert rig.sink.deliver([score_event(f"{number}-{i}") for i in range(20)]).wait(5)

        assert delivery.wait(5)
        assert [event.id for event, _ in delivery.refused] == ["e13"]


def test_a_full_window_lets_others_in_and_then_fewer_are_enough() -> None:
    retry = _SOON | {"undeliverable_others": 1_000}
    with sink_rig(default=_POISONED["500"], retry=retry) as rig:
        delivery = rig.sink.deliver(score_events(20))
        rig.sink.set_window_full(full=True)

        let_in = 0
        while not delivery.wait(0.05) and let_in < 20:
            if rig.sink.needs_others:
                assert rig.sink.unavailable_reason is None
                let_in += 1
                assert rig.sink.deliver([score_event(f"o{let_in}")]).wait(5)

        assert [event.id for event, _ in delivery.refused] == ["e13"]
        assert 1 <= let_in <= 6


@pytest.mark.parametrize("failure", [answers(500), resets(), answers(404), answers(403)])
def test_an_outage_refuses_no_event_however_many_were_accepted_before(failure: Reaction) -> None:
    retry = _SOON | {"undeliverable_seconds": 0.1, "max_seconds": 0.02}
    with sink_rig(limits={"request_bytes": 10_000}, retry=retry) as rig:
        rig.deliver(500, size=900)
        rig.inlet.script.append(failure)
        onset = rig.sink.deliver([score_event(f"a{i}", size=900) for i in range(300)])
        until(lambda: len(rig.inlet.accepted) > 650, seconds=5, what="most are accepted")
        rig.inlet.default = failure
        during = rig.sink.deliver([score_event(f"b{i}", size=900) for i in range(300)])

        assert not during.wait(2)
        rig.inlet.default = accepts()

        assert onset.wait(10)
        assert during.wait(10)
        assert onset.refused == during.refused == []


def test_an_expired_token_is_renewed_once_for_all_requests_in_flight() -> None:
    with sink_rig(limits={"request_bytes": 10_000}) as rig:
        rig.deliver(2)
        rig.inlet.token = "token-2"

        delivery = rig.deliver(200, size=4_000)

        assert len(rig.inlet.token_requests) == 2
        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_a_token_that_stays_refused_pauses_the_route_and_refuses_no_event() -> None:
    with sink_rig(default=answers(403), retry={"max_seconds": 0.02}) as rig:
        delivery = rig.sink.deliver(score_events(5))

        until(lambda: rig.sink.unavailable_reason, seconds=5, what="the sink is paused")
        assert "token" in (rig.sink.unavailable_reason or "")
        rig.inlet.default = accepts()

        assert delivery.wait(10)
        assert delivery.refused == []


def test_an_unavailable_token_service_pauses_the_route_until_it_recovers() -> None:
    with sink_rig() as rig:
        rig.inlet.ims_script.extend([answers(503), answers(400, {"error": "invalid_client"})])

        delivery = rig.deliver(5)

        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_an_inlet_without_authentication_gets_no_token() -> None:
    with sink_rig(auth=False) as rig:
        rig.deliver(2)

        assert "authorization" not in rig.inlet.requests[0].headers
        assert rig.inlet.token_requests == []


def test_neither_secrets_nor_identities_are_logged() -> None:
    with (
        structlog.testing.capture_logs() as log,
        sink_rig(answers(500), resets(), answers(401)) as rig,
    ):
        rig.inlet.ims_script.append(answers(401, {"error": "canary-secret"}))
        rig.deliver(3)

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
    with sink_rig(default=reaction, retry={"request_deadline_seconds": 60}) as rig:
        delivery = rig.sink.deliver(score_events(3))
        until(lambda: rig.inlet.requests, seconds=5, what="a request is in flight")

        start = time.monotonic()
        rig.sink.close(0.3)

        assert time.monotonic() - start < 1.5
        assert not delivery.done


def test_events_in_flight_at_the_close_are_in_doubt() -> None:
    with sink_rig(default=hangs(), retry={"request_deadline_seconds": 60}) as rig:
        delivery = rig.sink.deliver(score_events(3))
        until(lambda: rig.inlet.requests, seconds=5, what="a request is in flight")

        rig.sink.close(0)

        assert [cause for _, cause in delivery.in_doubt] == ["stopped"] * 3


def test_closing_sends_a_request_that_lingers() -> None:
    with sink_rig(limits={"linger_seconds": 9}) as rig:
        delivery = rig.sink.deliver(score_events(3))
        rig.sink.close(5)

        assert delivery.done
        with pytest.raises(InvariantError):
            rig.sink.deliver(score_events(1))


def test_a_sink_that_never_started_can_be_closed() -> None:
    aep = AepSettings(org_id="A@AdobeOrg")
    sink = InletSink(
        aep, [_route("a", "https://dcs.adobedc.net/collection/a")], Metrics(), SystemClock()
    )

    sink.close(1)


def test_a_program_error_is_raised_in_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("processor.sink.worker.assess", broken)
    with sink_rig() as rig:
        rig.sink.deliver(score_events(1))

        with pytest.raises(InvariantError):
            until(lambda: rig.sink.unavailable_reason, seconds=5, what="the error is raised")
        monkeypatch.undo()
        with pytest.raises(InvariantError):
            rig.sink.close(0)
        rig.sink._crash = None  # noqa: SLF001  so that the rig can close it


def _accepts_then(reaction: Reaction) -> Reaction:
    async def accepting(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        inlet.accepted += request.ids
        await reaction(request, writer, inlet)

    return accepting


_SLOW_OR_WRONG_COUNT = ("hang", "drip", "late", "207 with too few", "207 with too many")
_LOSES_THE_ANSWER = [
    resets(accepted=True),
    _accepts_then(answers(500)),
    _accepts_then(answers(504)),
    _accepts_then(answers(200)),
    _accepts_then(answers(207, "not json")),
    _accepts_then(writes(b"HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{")),
]


_REVOKED = frozenset({Partition("customer-ai-scores", 1)})


def _of_two_partitions() -> list[ScoreEvent]:
    return [score_event(f"e{number}", partition=number) for number in (0, 1)]


def test_revoked_events_that_wait_for_an_unavailable_inlet_are_released_and_never_sent() -> None:
    with sink_rig(default=answers(503), retry={"max_seconds": 0.02, "breaker_failures": 1}) as rig:
        mixed = rig.sink.deliver(_of_two_partitions())
        until(lambda: rig.sink.unavailable_reason, seconds=5, what="the sink is paused")
        alone = rig.sink.deliver(_of_two_partitions()[1:])

        rig.sink.forget(_REVOKED)

        assert alone.wait(5)
        assert [event.id for event in alone.released] == ["e1"]
        until(lambda: mixed.released, seconds=5, what="the event of the probe is released too")
        rig.inlet.default = accepts()
        assert mixed.wait(5)
        assert [event.id for event in mixed.accepted] == rig.inlet.accepted == ["e0"]
        assert [event.id for event in mixed.released] == ["e1"]


def test_a_paused_sink_with_nothing_left_to_send_is_available_for_the_next_event() -> None:
    with sink_rig(default=answers(503)) as rig:
        gone = rig.sink.deliver(_of_two_partitions()[1:])
        until(lambda: rig.sink.unavailable_reason, seconds=5, what="the sink is paused")
        rig.sink.forget(_REVOKED)
        assert gone.wait(5)

        until(
            lambda: rig.sink.unavailable_reason is None,
            seconds=5,
            what="the idle sink is not paused",
        )
        rig.inlet.default = accepts()

        assert rig.sink.deliver(_of_two_partitions()[:1]).wait(5)


def test_revoked_events_that_linger_are_released_without_being_sent() -> None:
    with sink_rig(limits={"linger_seconds": 0.3}) as rig:
        delivery = rig.sink.deliver(_of_two_partitions())
        rig.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert rig.inlet.accepted == ["e0"]


def test_revoked_events_in_flight_are_accepted_if_the_inlet_accepts_them() -> None:
    with sink_rig(default=accepts(wait=0.2)) as rig:
        delivery = rig.sink.deliver(_of_two_partitions())
        until(lambda: rig.inlet.requests, seconds=5, what="a request is in flight")

        rig.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert [event.id for event in delivery.accepted] == ["e0", "e1"]
        assert delivery.released == []


def test_revoked_events_in_flight_are_released_instead_of_sent_again_and_stay_in_doubt() -> None:
    with sink_rig(_accepts_then(answers(500, wait=0.2))) as rig:
        delivery = rig.sink.deliver(_of_two_partitions())
        until(lambda: rig.inlet.requests, seconds=5, what="a request is in flight")

        rig.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert [event.id for event in delivery.released] == ["e1"]
        assert [event.id for event, _ in delivery.in_doubt] == ["e0", "e1"]
        assert rig.inlet.accepted == ["e0", "e1", "e0"]


def test_events_of_a_partition_assigned_again_are_sent() -> None:
    with sink_rig() as rig:
        rig.sink.forget(_REVOKED)

        delivery = rig.sink.deliver(_of_two_partitions())

        assert delivery.wait(5)
        assert delivery.released == []


def test_partitions_may_be_revoked_after_the_close() -> None:
    with sink_rig() as rig:
        rig.sink.close(1)

        rig.sink.forget(_REVOKED)


@pytest.mark.parametrize("seed", range(4))
def test_with_revocations_and_any_mix_of_faults_every_event_has_one_result(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seeded script
    fast = [
        reaction for name, (reaction, _) in _TRANSIENT.items() if name not in _SLOW_OR_WRONG_COUNT
    ]
    script = [rng.choice([*fast, *_LOSES_THE_ANSWER, accepts()]) for _ in range(40)]
    limits = {"request_bytes": 10_000}
    with sink_rig(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as rig:
        deliveries = []
        for batch in range(10):
            names = [f"{batch}-{i}" for i in range(40)]
            events = [score_event(each, size=900, partition=i % 2) for i, each in enumerate(names)]
            deliveries.append(rig.sink.deliver(events))
            if rng.random() < 0.4:
                rig.sink.forget(_REVOKED)

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        released = [event for delivery in deliveries for event in delivery.released]
        in_doubt = {event.id for delivery in deliveries for event, _ in delivery.in_doubt}
        assert len({*accepted, *(event.id for event in released)}) == 400
        assert len(accepted) + len(released) == 400
        assert all(event.record.partition == 1 for event in released)
        assert {event.id for event in released} & set(rig.inlet.accepted) <= in_doubt


def test_the_rate_limit_paces_requests() -> None:
    with sink_rig(limits={"messages_per_second": 100}) as rig:
        start = time.monotonic()
        rig.deliver(250)

        assert 1.0 < time.monotonic() - start < 3.0
        assert max(rig.sizes) <= 100


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    with sink_rig(
        default=accepts(wait=0.02), limits={"max_in_flight": 3, "request_bytes": 10_000}
    ) as rig:
        rig.deliver(120, size=4_000)

        assert rig.inlet.most_at_once == 3


def test_requests_are_first_sent_in_the_order_of_the_events() -> None:
    with sink_rig(limits={"max_in_flight": 1, "request_bytes": 10_000}) as rig:
        delivery = rig.deliver(60, size=3_000)

        assert rig.inlet.accepted == [f"e{i}" for i in range(60)]
        assert [event.id for event in delivery.accepted] == rig.inlet.accepted


def test_every_sent_event_is_counted_once_by_its_result() -> None:
    with sink_rig(accepts({0: {"status": 400}, 1: {"status": 503}})) as rig:
        rig.deliver(10)

        assert rig.metrics.value(ITEMS, "upgrade", ItemResult.ACCEPTED) == 9
        assert rig.metrics.value(ITEMS, "upgrade", ItemResult.REFUSED) == 1
        assert rig.metrics.value(ITEMS, "upgrade", ItemResult.RETRYABLE) == 1
        assert rig.metrics.value(ITEM_REFUSALS, "upgrade", "refused") == 1
        assert rig.metrics.value(REQUESTS_IN_FLIGHT, "upgrade") == 0
        delays, _ = rig.metrics.histogram(DELIVERY_DELAY_SECONDS, "upgrade").snapshot()
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


@pytest.mark.parametrize("seed", range(6))
def test_any_mix_of_faults_loses_nothing_and_lists_every_repeat(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seeded script
    fast = [
        reaction for name, (reaction, _) in _TRANSIENT.items() if name not in _SLOW_OR_WRONG_COUNT
    ]
    script = [rng.choice([*fast, *_LOSES_THE_ANSWER, accepts()]) for _ in range(60)]
    limits = {"request_bytes": 10_000}
    with sink_rig(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as rig:
        deliveries = [
            rig.sink.deliver([score_event(f"{batch}-{i}", size=900) for i in range(40)])
            for batch in range(10)
        ]

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        refused = [event.id for delivery in deliveries for event, _ in delivery.refused]
        in_doubt = [event.id for delivery in deliveries for event, _ in delivery.in_doubt]
        assert len(accepted) == len(set(accepted)) == 400
        assert refused == []
        assert set(rig.inlet.accepted) == set(accepted)
        assert set(rig.inlet.repeats) <= set(in_doubt)
        assert len(in_doubt) == len(set(in_doubt))
