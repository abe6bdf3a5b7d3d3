"""The sink against a scripted inlet on real sockets: every fault, and one end for every event."""

import gc
import gzip
import json
import random
import socket
import time
from asyncio import StreamWriter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest
import structlog

from processor.domain.clock import SystemClock
from processor.domain.errors import InvariantError
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason
from processor.domain.record import Partition
from processor.settings import AepSettings, RouteSettings
from processor.sink import InletDelivery, InletSink
from processor.telemetry.metrics import Metrics
from tests.support.inlet import (
    Act,
    FakeInlet,
    Request,
    accepts,
    answers,
    cuts,
    drips,
    hangs,
    items,
    refuses,
    resets,
    speaks,
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
def rig(
    *script: Act,
    default: Act | None = None,
    auth: bool = True,
    retry: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> Iterator[Rig]:
    hasty = {"first_seconds": 0.01, "max_seconds": 0.05, "request_deadline_seconds": 0.4}
    with FakeInlet(script, default) as inlet:
        client = {"token_url": inlet.token_url, "client_id": "id", "client_secret": "canary-secret"}
        page = {
            "org_id": "A@AdobeOrg",
            "allow_hosts": ["127.0.0.1"],
            "allow_http": True,
            "auth": client if auth else None,
            "retry": hasty | (retry or {}),
            "limits": {"linger_seconds": 0.01} | (limits or {}),
        }
        routes = [_route("upgrade", inlet.url), _route("churn", inlet.url)]
        metrics = Metrics()
        sink = InletSink(AepSettings.model_validate(page), routes, metrics, SystemClock())
        sink.start()
        try:
            yield Rig(inlet, sink, metrics)
        finally:
            sink.close(0)


def _route(name: str, url: str) -> RouteSettings:
    return RouteSettings(
        name=name, models=[name], inlet_url=url, flow_id="f", dataset_id="d", schema_id="s"
    )


def test_events_go_out_in_one_request_with_the_headers_adobe_asks_for() -> None:
    with rig() as processor:
        delivery = processor.deliver(5)

        (request,) = processor.inlet.requests
        assert request.path == "/collection/batch/inlet"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-sandbox-name"] == "prod"
        assert request.headers["authorization"] == "Bearer token-1"
        assert request.headers["accept-encoding"] == "identity"
        assert request.ids == [event.id for event in delivery.accepted]


def test_requests_are_filled_by_bytes_across_deliveries() -> None:
    with rig(limits={"linger_seconds": 0.2, "request_bytes": 100_000}) as processor:
        deliveries = [processor.sink.deliver(score_events(10, size=5_000)) for _ in range(9)]

        assert all(delivery.wait(5) for delivery in deliveries)
        *full, _ = [len(request.body) for request in processor.inlet.requests]
        assert all(94_000 < size <= 100_000 for size in full)


def test_nothing_to_deliver_is_done_at_once() -> None:
    with rig() as processor:
        assert processor.sink.deliver([]).done


def test_events_of_several_routes_share_a_delivery_and_not_a_request() -> None:
    with rig() as processor:
        events = [score_event("a"), score_event("b", route="churn"), score_event("c")]

        delivery = processor.sink.deliver(events)

        assert delivery.wait(5)
        assert sorted(request.ids for request in processor.inlet.requests) == [["a", "c"], ["b"]]


_TRANSIENT: dict[str, tuple[Act, bool]] = {
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
    "reset before it was taken": (resets(), True),
    "closed without an answer": (speaks(b""), True),
    "not HTTP": (speaks(b"SSH-2.0-OpenSSH\r\n\r\n"), True),
    "half a status line": (speaks(b"HTTP/1.1 20"), True),
    "half an answer": (speaks(b'HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{"resp'), True),
    "a length that is too short": (
        speaks(b'HTTP/1.1 207 M\r\nContent-Length: 9\r\n\r\n{"responses":[]}'),
        True,
    ),
    "a length that is no number": (speaks(b"HTTP/1.1 207 M\r\nContent-Length: x\r\n\r\n{}"), True),
    "two lengths": (
        speaks(b"HTTP/1.1 207 M\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
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
def test_trouble_that_passes_ends_in_every_event_accepted_once(name: str) -> None:
    act, doubt = _TRANSIENT[name]
    with rig(act) as processor:
        delivery = processor.deliver(5)

        assert delivery.refused == []
        assert processor.inlet.repeats == []
        assert len(delivery.in_doubt) == (5 if doubt else 0)
        assert processor.metrics.value("items", "upgrade", "accepted") == 5


def test_a_reset_after_the_events_were_taken_repeats_them_once_and_lists_each() -> None:
    with rig(cuts(taken=True)) as processor:
        delivery = processor.deliver(5)

        doubted = {event.id for event, _ in delivery.in_doubt}
        assert set(processor.inlet.repeats) == doubted
        assert processor.metrics.value("items_in_doubt", "upgrade", "reset") == 5
        assert processor.metrics.value("items_resent", "upgrade") == 5


@pytest.mark.parametrize("key", ["status", "statusCode"])
def test_refused_items_end_with_adobes_words_and_without_values(key: str) -> None:
    words = "DCVS-1104-400 expected type: String, found: 'john.smith@example.com'"
    with rig(accepts({1: {key: 400, "message": words}, 3: {key: "400"}})) as processor:
        delivery = processor.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e1", "e3"]
        reject = delivery.refused[0][1]
        assert reject.reason is Reason.REFUSED
        assert "DCVS-1104-400 expected type: String" in reject.detail
        assert "john" not in reject.detail
        assert reject.model == "Churn"
        assert processor.sizes == [5]


def test_permuted_items_are_told_by_their_index() -> None:
    with rig(accepts({0: {"status": 400}}, order=lambda said: said[::-1])) as processor:
        assert [event.id for event, _ in processor.deliver(4).refused] == ["e0"]


def test_only_the_items_that_failed_are_sent_again() -> None:
    mixed: dict[int, dict[str, Any]] = {
        0: {"status": 400},
        2: {"status": 503},
        4: {"statusCode": "429", "message": "slow"},
    }
    with rig(accepts(mixed)) as processor:
        delivery = processor.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e0"]
        assert processor.inlet.repeats == []
        again = [id_ for request in processor.inlet.requests[1:] for id_ in request.ids]
        assert sorted(again) == ["e2", "e4"]


def test_a_refused_request_is_split_until_the_guilty_events_stand_alone() -> None:
    with rig(default=refuses(lambda id_: id_ in {"e3", "e77"})) as processor:
        delivery = processor.deliver(100)

        assert sorted(event.id for event, _ in delivery.refused) == ["e3", "e77"]
        assert processor.inlet.repeats == []
        assert len(processor.inlet.requests) < 40


def test_a_request_that_is_too_large_is_split_and_an_event_alone_refused() -> None:
    def too_large(limit: int) -> Act:
        async def act(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
            answer = answers(413) if len(request.body) > limit else accepts()
            await answer(request, writer, inlet)

        return act

    with rig(default=too_large(30_000)) as processor:
        events = [*score_events(20, size=3_000), score_event("big", size=40_000)]

        delivery = processor.sink.deliver(events)

        assert delivery.wait(5)
        ((event, reject),) = delivery.refused
        assert (event.id, reject.reason) == ("big", Reason.EVENT_TOO_LARGE)
        assert len(processor.inlet.taken) == 20


def test_an_event_that_can_never_fit_is_refused_without_being_sent() -> None:
    with rig(limits={"request_bytes": 10_000}) as processor:
        delivery = processor.deliver(1, size=20_000)

        assert delivery.refused[0][1].reason is Reason.EVENT_TOO_LARGE
        assert processor.inlet.requests == []


def test_an_event_that_can_never_fit_is_no_proof_that_the_inlet_is_well() -> None:
    with rig(default=answers(500), limits={"request_bytes": 10_000}) as processor:
        well = processor.sink.deliver(score_events(1))
        until(lambda: processor.sink.unavailable_reason, seconds=5, what="the sink holds")

        delivery = processor.sink.deliver([score_event("big", size=20_000)])

        assert delivery.wait(5)
        assert processor.sink.unavailable_reason is not None
        assert not well.done


def test_an_answer_that_comes_before_the_body_was_read_is_an_answer() -> None:
    with rig(limits={"request_bytes": 1_000_000}, auth=False) as processor:
        processor.inlet.early.append(answers(413, Connection="close"))
        start = time.monotonic()

        delivery = processor.deliver(4, size=240_000)

        assert time.monotonic() - start < 0.35
        assert delivery.refused == []
        assert delivery.in_doubt == []
        assert processor.sizes == [2, 2]


def test_a_retry_after_is_waited_for_and_nothing_is_sent_meanwhile() -> None:
    with rig(answers(503, Retry_After="1")) as processor:
        start = time.monotonic()
        first = processor.sink.deliver(score_events(3))
        until(lambda: processor.sink.unavailable_reason, seconds=3, what="the sink holds")
        second = processor.sink.deliver(score_events(3))

        assert first.wait(5)
        assert second.wait(5)
        assert 1.0 <= time.monotonic() - start < 1.6
        assert len(processor.inlet.requests) <= 4
        assert processor.sink.unavailable_reason is None


def test_a_dead_inlet_is_probed_with_one_event_and_costs_next_to_nothing() -> None:
    with rig(default=answers(500), retry={"max_seconds": 0.02, "breaker_failures": 3}) as processor:
        delivery = processor.sink.deliver(score_events(500))

        until(lambda: len(processor.inlet.requests) > 30, seconds=10, what="many probes")
        unavailable_reason = processor.sink.unavailable_reason
        probes = processor.sizes[-20:]
        processor.inlet.default = accepts()

        assert delivery.wait(10)
        assert unavailable_reason == "upgrade: the inlet fails"
        assert set(probes) == {1}
        assert processor.sink.unavailable_reason is None
        assert processor.metrics.value("circuit_open", "upgrade", "server_error") == 0


def test_one_event_that_makes_the_inlet_fail_does_not_keep_the_others_back() -> None:
    def fails_on(guilty: str) -> Act:
        async def act(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
            answer = answers(500) if guilty in request.ids else accepts()
            await answer(request, writer, inlet)

        return act

    with rig(default=fails_on("e13")) as processor:
        delivery = processor.sink.deliver(score_events(64))

        until(
            lambda: len(set(processor.inlet.taken)) == 63, seconds=10, what="the others are taken"
        )
        assert not delivery.done


def test_an_expired_token_is_renewed_once_for_all_requests_in_flight() -> None:
    with rig(limits={"request_bytes": 10_000}) as processor:
        processor.deliver(2)
        processor.inlet.token = "token-2"

        delivery = processor.deliver(200, size=4_000)

        assert len(processor.inlet.token_requests) == 2
        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_a_token_that_is_refused_for_good_holds_and_dead_letters_nothing() -> None:
    with rig(default=answers(403), retry={"max_seconds": 0.02}) as processor:
        delivery = processor.sink.deliver(score_events(5))

        until(lambda: processor.sink.unavailable_reason, seconds=5, what="the sink holds")
        assert "token" in (processor.sink.unavailable_reason or "")
        processor.inlet.default = accepts()

        assert delivery.wait(10)
        assert delivery.refused == []


def test_a_token_service_that_is_down_holds_and_recovers() -> None:
    with rig() as processor:
        processor.inlet.ims_script.extend([answers(503), answers(400, {"error": "invalid_client"})])

        delivery = processor.deliver(5)

        assert delivery.refused == []
        assert delivery.in_doubt == []


def test_an_inlet_without_authentication_gets_no_token() -> None:
    with rig(auth=False) as processor:
        processor.deliver(2)

        assert "authorization" not in processor.inlet.requests[0].headers
        assert processor.inlet.token_requests == []


def test_neither_secrets_nor_identities_reach_the_log() -> None:
    with (
        structlog.testing.capture_logs() as log,
        rig(answers(500), resets(), answers(401)) as processor,
    ):
        processor.inlet.ims_script.append(answers(401, {"error": "canary-secret"}))
        processor.deliver(3)

    text = json.dumps(log, default=str)
    assert "is paused" in text or "token" in text
    assert "canary" not in text
    assert "token-1" not in text


@pytest.mark.parametrize(
    "act", [hangs(), drips(b"HTTP/1.1 207 M\r\n" * 500, 0.05), answers(404), answers(503)]
)
def test_closing_takes_its_seconds_and_no_more_whatever_the_inlet_does(act: Act) -> None:
    with rig(default=act, retry={"request_deadline_seconds": 60}) as processor:
        delivery = processor.sink.deliver(score_events(3))
        until(lambda: processor.inlet.requests, seconds=5, what="a request is out")

        start = time.monotonic()
        processor.sink.close(0.3)

        assert time.monotonic() - start < 1.5
        assert not delivery.done


def test_what_was_under_way_when_it_closed_is_in_doubt() -> None:
    with rig(default=hangs(), retry={"request_deadline_seconds": 60}) as processor:
        delivery = processor.sink.deliver(score_events(3))
        until(lambda: processor.inlet.requests, seconds=5, what="a request is out")

        processor.sink.close(0)

        assert [cause for _, cause in delivery.in_doubt] == ["stopped"] * 3


def test_closing_sends_what_lingers() -> None:
    with rig(limits={"linger_seconds": 9}) as processor:
        delivery = processor.sink.deliver(score_events(3))
        processor.sink.close(5)

        assert delivery.done
        with pytest.raises(InvariantError):
            processor.sink.deliver(score_events(1))


def test_a_sink_that_never_started_closes_too() -> None:
    aep = AepSettings(org_id="A@AdobeOrg")
    sink = InletSink(
        aep, [_route("a", "https://dcs.adobedc.net/collection/a")], Metrics(), SystemClock()
    )

    sink.close(1)


def test_an_error_of_our_own_reaches_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("processor.sink.worker.assess", broken)
    with rig() as processor:
        processor.sink.deliver(score_events(1))

        with pytest.raises(InvariantError):
            until(lambda: processor.sink.unavailable_reason, seconds=5, what="the sink says so")
        monkeypatch.undo()
        with pytest.raises(InvariantError):
            processor.sink.close(0)
        processor.sink._crash = None  # noqa: SLF001  for the rig's own close


def _takes_then(act: Act) -> Act:
    async def taking(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
        inlet.taken += request.ids
        await act(request, writer, inlet)

    return taking


_SLOW_OR_LYING = ("hang", "drip", "late", "207 with too few", "207 with too many")
_LOSES_THE_ANSWER = [
    cuts(taken=True),
    _takes_then(answers(500)),
    _takes_then(answers(504)),
    _takes_then(answers(200)),
    _takes_then(answers(207, "not json")),
    _takes_then(speaks(b"HTTP/1.1 207 M\r\nContent-Length: 900\r\n\r\n{")),
]


_LEFT = frozenset({Partition("customer-ai-scores", 1)})


def _of_two_partitions() -> list[ScoreEvent]:
    return [score_event(f"e{number}", partition=number) for number in (0, 1)]


def test_what_waits_for_a_dead_inlet_is_released_at_once_and_never_sent() -> None:
    with rig(default=answers(503), retry={"max_seconds": 0.02, "breaker_failures": 1}) as processor:
        mixed = processor.sink.deliver(_of_two_partitions())
        until(lambda: processor.sink.unavailable_reason, seconds=5, what="the sink holds")
        alone = processor.sink.deliver(_of_two_partitions()[1:])

        processor.sink.forget(_LEFT)

        assert alone.wait(5)
        assert [event.id for event in alone.released] == ["e1"]
        until(lambda: mixed.released, seconds=5, what="what a probe had out is released too")
        processor.inlet.default = accepts()
        assert mixed.wait(5)
        assert [event.id for event in mixed.accepted] == processor.inlet.taken == ["e0"]
        assert [event.id for event in mixed.released] == ["e1"]


def test_a_held_sink_that_has_nothing_left_to_send_lets_a_probe_in() -> None:
    with rig(default=answers(503)) as processor:
        gone = processor.sink.deliver(_of_two_partitions()[1:])
        until(lambda: processor.sink.unavailable_reason, seconds=5, what="the sink holds")
        processor.sink.forget(_LEFT)
        assert gone.wait(5)

        until(
            lambda: processor.sink.unavailable_reason is None,
            seconds=5,
            what="the idle sink holds nobody off",
        )
        processor.inlet.default = accepts()

        assert processor.sink.deliver(_of_two_partitions()[:1]).wait(5)


def test_what_lingers_is_released_without_being_sent() -> None:
    with rig(limits={"linger_seconds": 0.3}) as processor:
        delivery = processor.sink.deliver(_of_two_partitions())
        processor.sink.forget(_LEFT)

        assert delivery.wait(5)
        assert processor.inlet.taken == ["e0"]


def test_what_is_under_way_counts_as_accepted_where_the_inlet_takes_it() -> None:
    with rig(default=accepts(wait=0.2)) as processor:
        delivery = processor.sink.deliver(_of_two_partitions())
        until(lambda: processor.inlet.requests, seconds=5, what="a request is out")

        processor.sink.forget(_LEFT)

        assert delivery.wait(5)
        assert [event.id for event in delivery.accepted] == ["e0", "e1"]
        assert delivery.released == []


def test_what_is_under_way_is_released_where_it_would_be_sent_again_and_stays_in_doubt() -> None:
    with rig(_takes_then(answers(500, wait=0.2))) as processor:
        delivery = processor.sink.deliver(_of_two_partitions())
        until(lambda: processor.inlet.requests, seconds=5, what="a request is out")

        processor.sink.forget(_LEFT)

        assert delivery.wait(5)
        assert [event.id for event in delivery.released] == ["e1"]
        assert [event.id for event, _ in delivery.in_doubt] == ["e0", "e1"]
        assert processor.inlet.taken == ["e0", "e1", "e0"]


def test_a_partition_that_comes_back_is_sent_again() -> None:
    with rig() as processor:
        processor.sink.forget(_LEFT)

        delivery = processor.sink.deliver(_of_two_partitions())

        assert delivery.wait(5)
        assert delivery.released == []


def test_a_closed_sink_has_nothing_to_forget() -> None:
    with rig() as processor:
        processor.sink.close(1)

        processor.sink.forget(_LEFT)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_forgotten_under_any_mix_of_faults_every_event_has_one_end(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a seeded script
    swift = [act for name, (act, _) in _TRANSIENT.items() if name not in _SLOW_OR_LYING]
    script = [chance.choice([*swift, *_LOSES_THE_ANSWER, accepts()]) for _ in range(40)]
    limits = {"request_bytes": 10_000}
    with rig(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as processor:
        deliveries = []
        for batch in range(10):
            names = [f"{batch}-{i}" for i in range(40)]
            events = [score_event(each, size=900, partition=i % 2) for i, each in enumerate(names)]
            deliveries.append(processor.sink.deliver(events))
            if chance.random() < 0.4:
                processor.sink.forget(_LEFT)

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        released = [event for delivery in deliveries for event in delivery.released]
        doubted = {event.id for delivery in deliveries for event, _ in delivery.in_doubt}
        assert len({*accepted, *(event.id for event in released)}) == 400
        assert len(accepted) + len(released) == 400
        assert all(event.record.partition == 1 for event in released)
        assert {event.id for event in released} & set(processor.inlet.taken) <= doubted


def test_the_budget_paces_requests() -> None:
    with rig(limits={"messages_per_second": 100}) as processor:
        start = time.monotonic()
        processor.deliver(250)

        assert 1.0 < time.monotonic() - start < 3.0
        assert max(processor.sizes) <= 100


def test_no_more_requests_are_under_way_than_allowed() -> None:
    with rig(
        default=accepts(wait=0.02), limits={"max_in_flight": 3, "request_bytes": 10_000}
    ) as processor:
        processor.deliver(120, size=4_000)

        assert processor.inlet.most_at_once == 3


def test_requests_first_leave_in_the_order_of_the_events() -> None:
    with rig(limits={"max_in_flight": 1, "request_bytes": 10_000}) as processor:
        delivery = processor.deliver(60, size=3_000)

        assert processor.inlet.taken == [f"e{i}" for i in range(60)]
        assert [event.id for event in delivery.accepted] == processor.inlet.taken


def test_every_sent_event_is_counted_once_by_its_end() -> None:
    with rig(accepts({0: {"status": 400}, 1: {"status": 503}})) as processor:
        processor.deliver(10)

        count: Callable[[str], float] = lambda end: processor.metrics.value("items", "upgrade", end)  # noqa: E731
        assert (count("accepted"), count("refused"), count("retryable")) == (9, 1, 1)
        assert processor.metrics.value("item_refusals", "upgrade", "refused") == 1
        assert processor.metrics.value("requests_in_flight", "upgrade") == 0
        delays, _ = processor.metrics.histogram("delivery_delay_seconds", "upgrade").snapshot()
        assert delays[-1] == 9


def test_the_fake_closes_what_connected_a_moment_before_it_stops() -> None:
    for _ in range(20):
        with FakeInlet() as inlet:
            ours = [socket.create_connection(("127.0.0.1", inlet.port)) for _ in range(3)]
        for each in ours:
            each.close()

    gc.collect()  # an open socket is a warning, and a warning is a failure


def test_the_fake_gives_as_many_items_as_there_are_events() -> None:
    request = Request("/", {}, b"", 0, ["a", "b"])

    assert [item["xactionId"][-1] for item in items(request)] == ["0", "1"]


@pytest.mark.parametrize("seed", range(6))
def test_any_mix_of_faults_loses_nothing_and_lists_every_repeat(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a seeded script
    swift = [act for name, (act, _) in _TRANSIENT.items() if name not in _SLOW_OR_LYING]
    script = [chance.choice([*swift, *_LOSES_THE_ANSWER, accepts()]) for _ in range(60)]
    limits = {"request_bytes": 10_000}
    with rig(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as processor:
        deliveries = [
            processor.sink.deliver([score_event(f"{batch}-{i}", size=900) for i in range(40)])
            for batch in range(10)
        ]

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        refused = [event.id for delivery in deliveries for event, _ in delivery.refused]
        doubted = [event.id for delivery in deliveries for event, _ in delivery.in_doubt]
        assert len(accepted) == len(set(accepted)) == 400
        assert refused == []
        assert set(processor.inlet.taken) == set(accepted)
        assert set(processor.inlet.repeats) <= set(doubted)
        assert len(doubted) == len(set(doubted))
