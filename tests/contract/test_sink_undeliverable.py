"""An event at which the inlet fails, on real sockets: refused beside others, never in an outage."""

from asyncio import StreamWriter
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Position
from processor.telemetry.catalogue import (
    FAILING_RECORD_INFO,
    FAILING_RECORDS,
    FAILING_SINCE_TIMESTAMP_SECONDS,
    ITEM_REFUSALS,
)
from tests.support.inlet import FakeInlet, Reaction, Request, accepts, answers, hangs, resets
from tests.support.score_events import score_event, score_events
from tests.support.sink_fixture import sink_fixture
from tests.support.waiting import until


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
        sink_fixture(default=_POISONED[name], retry=retry) as fixture,
    ):
        delivery = fixture.deliver(100, within=10)

        ((event, reject),) = delivery.refused
        assert (event.id, reject.reason) == ("e13", Reason.UNDELIVERABLE)
        assert reject.stage is Stage.DELIVER
        assert [(e.id, cause) for e, cause in delivery.in_doubt if e.id == "e13"] == [
            ("e13", "undeliverable")
        ]
        assert set(fixture.inlet.repeats) <= {e.id for e, _ in delivery.in_doubt}
        assert fixture.metrics.value(ITEM_REFUSALS, "upgrade", Reason.UNDELIVERABLE) == 1
        assert fixture.sink.deliver(score_events(5)[:1]).wait(5)
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
    with sink_fixture(default=react, retry=retry) as fixture:
        delivery = fixture.deliver(4000, within=10)

        assert {event.id for event, _ in delivery.refused} == bad
        assert fixture.inlet.repeats == []


def test_an_event_that_fails_alone_pauses_no_other_and_is_named() -> None:
    retry = {"undeliverable_others": 1_000}
    with (
        structlog.testing.capture_logs() as log,
        sink_fixture(default=_POISONED["item 500"], retry=retry) as fixture,
    ):
        delivery = fixture.sink.deliver(score_events(64))
        for number in range(20):
            assert fixture.sink.deliver([score_event(f"o{number}")]).wait(5)
            assert fixture.sink.unavailable_reason is None

        (failing,) = until(lambda: fixture.sink.retried, seconds=5, what="the event is named")
        until(
            lambda: fixture.metrics.value(FAILING_RECORDS, "upgrade") == 1, seconds=5, what="shown"
        )
        assert failing.origin == "customer-ai-scores/0/7"
        assert (failing.route, failing.cause) == ("upgrade", "server_error")
        assert failing.attempts >= 3
        assert fixture.metrics.value(FAILING_RECORD_INFO, "upgrade", failing.origin) == 1
        assert fixture.metrics.value(FAILING_SINCE_TIMESTAMP_SECONDS, "upgrade") > 1.7e9
        assert not delivery.done
    (line,) = [each for each in log if each.get("code") == "event_fails_alone"]
    assert line["record"] == "customer-ai-scores/0/7"


def test_with_too_few_others_an_event_waits_until_more_are_accepted() -> None:
    with sink_fixture(default=_POISONED["item 500"], retry=_SOON) as fixture:
        delivery = fixture.sink.deliver(score_events(20))
        assert not delivery.wait(1.5)

        for number in range(8):
            assert fixture.sink.deliver([score_event(f"{number}-{i}") for i in range(20)]).wait(5)

        assert delivery.wait(5)
        assert [event.id for event, _ in delivery.refused] == ["e13"]


def test_fifty_events_at_fault_of_one_window_are_all_refused_and_no_other() -> None:
    bad = {f"e{index}" for index in range(0, 1000, 20)}

    async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        await (answers(500) if bad & set(request.ids) else accepts())(request, writer, inlet)

    with sink_fixture(default=react, retry=_SOON | {"request_deadline_seconds": 10}) as fixture:
        delivery = fixture.deliver(1000, within=20)

        assert {event.id for event, _ in delivery.refused} == bad
        assert {reject.reason for _, reject in delivery.refused} == {Reason.UNDELIVERABLE}


@pytest.mark.parametrize("reaction", [answers(500), answers(503), resets(), answers(404)])
def test_an_event_at_fault_on_a_quiet_route_is_refused_beside_those_of_another_route(
    reaction: Reaction,
) -> None:
    with sink_fixture(default=_fails_on("rare", reaction), retry=_SOON) as fixture:
        rare = fixture.sink.deliver([score_event("rare", route="churn")])

        for number in range(200):
            names = [f"{number}-{i}" for i in range(10)]
            assert fixture.sink.deliver([score_event(each) for each in names]).wait(5)
            if rare.wait(0.02):
                break

        assert [event.id for event, _ in rare.refused] == ["rare"]
        assert fixture.sink.unavailable_reason is None


def test_a_route_of_which_everything_fails_loses_nothing_while_another_is_accepted() -> None:
    async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        fails = any(name.startswith("c") for name in request.ids)
        await (answers(500) if fails else accepts())(request, writer, inlet)

    with sink_fixture(default=react, retry=_SOON | {"undeliverable_seconds": 0.1}) as fixture:
        churn = fixture.sink.deliver([score_event(f"c{i}", route="churn") for i in range(30)])
        for number in range(60):
            names = [f"{number}-{i}" for i in range(10)]
            assert fixture.sink.deliver([score_event(each) for each in names]).wait(5)
            assert not churn.wait(0.02)

        assert churn.refused == []
        fixture.inlet.default = accepts()
        assert churn.wait(10)
        assert churn.refused == []


def test_an_event_of_several_routes_is_refused_in_each() -> None:
    with sink_fixture(default=_fails_on("bad", answers(500)), retry=_SOON) as fixture:
        routes = ("upgrade", "churn")
        bad = fixture.sink.deliver([score_event("bad", route=route) for route in routes])
        for number in range(200):
            events = [score_event(f"{number}-{i}", route=routes[i % 2]) for i in range(20)]
            assert fixture.sink.deliver(events).wait(5)
            if bad.wait(0.02):
                break

        assert sorted(event.route for event, _ in bad.refused) == ["churn", "upgrade"]


def test_a_suspect_counts_on_where_it_was_left_by_the_process_before() -> None:
    retry = {"undeliverable_attempts": 6, "undeliverable_seconds": 3, "undeliverable_others": 50}
    with sink_fixture(default=_POISONED["item 500"], retry=retry) as before:
        before.sink.deliver(score_events(100))
        until(
            lambda: [each for each in before.sink.retried if each.attempts >= 5],
            seconds=10,
            what="it has failed often",
        )
        (left,) = before.sink.retried
    assert left.history is not None
    long_ago = replace(left.history, undisturbed_ms=left.history.undisturbed_ms - 60_000)

    for history, ids in ((long_ago, ["e13"]), (replace(long_ago, written_ms=2), [])):
        with sink_fixture(default=_POISONED["item 500"], retry=retry) as after:
            after.sink.recall({left.key: history})
            delivery = after.sink.deliver(score_events(100))

            assert delivery.wait(2) is bool(ids)
            assert [event.id for event, _ in delivery.refused] == ids


def test_a_skipped_suspect_is_refused_at_once_as_skipped() -> None:
    why = Reject(Stage.DELIVER, Reason.SKIPPED, "An operator skipped the record.")
    event = score_event("poison")
    poison = replace(event, record=replace(event.record, offset=99))
    with sink_fixture(default=_fails_on("poison", answers(500))) as fixture:
        delivery = fixture.sink.deliver([*score_events(20), poison])
        until(lambda: fixture.sink.retried, seconds=5, what="it is named")

        fixture.sink.skip({Position.of(poison.record): why})

        assert delivery.wait(2)
        assert [(event.id, each.reason) for event, each in delivery.refused] == [
            ("poison", Reason.SKIPPED)
        ]
        assert "poison" in [event.id for event, _ in delivery.in_doubt]


def test_a_full_window_lets_others_in_and_then_fewer_are_enough() -> None:
    retry = _SOON | {"undeliverable_others": 1_000}
    with sink_fixture(default=_POISONED["500"], retry=retry) as fixture:
        delivery = fixture.sink.deliver(score_events(20))
        fixture.sink.set_window_full(full=True)

        let_in = 0
        while not delivery.wait(0.05) and let_in < 20:
            if fixture.sink.needs_others:
                assert fixture.sink.unavailable_reason is None
                let_in += 1
                assert fixture.sink.deliver([score_event(f"o{let_in}")]).wait(5)

        assert [event.id for event, _ in delivery.refused] == ["e13"]
        assert 1 <= let_in <= 6


@pytest.mark.parametrize("failure", [answers(500), resets(), answers(404), answers(403)])
def test_an_outage_refuses_no_event_however_many_were_accepted_before(failure: Reaction) -> None:
    retry = _SOON | {"undeliverable_seconds": 0.1, "max_seconds": 0.02}
    with sink_fixture(limits={"request_bytes": 10_000}, retry=retry) as fixture:
        fixture.deliver(500, size=900)
        fixture.inlet.script.append(failure)
        onset = fixture.sink.deliver([score_event(f"a{i}", size=900) for i in range(300)])
        until(lambda: len(fixture.inlet.accepted) > 650, seconds=5, what="most are accepted")
        fixture.inlet.default = failure
        during = fixture.sink.deliver([score_event(f"b{i}", size=900) for i in range(300)])

        assert not during.wait(2)
        fixture.inlet.default = accepts()

        assert onset.wait(10)
        assert during.wait(10)
        assert onset.refused == during.refused == []
