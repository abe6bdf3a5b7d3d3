"""The sink against an inlet that fails in every way: one result per event."""

import random
import time
from asyncio import StreamWriter
from typing import Any

import pytest

from processor.domain.outcome import Cause, Reason
from processor.telemetry.catalogue import CIRCUIT_OPEN, ITEMS, ITEMS_IN_DOUBT, ITEMS_RESENT
from processor.telemetry.labels import ItemResult
from tests.support.inlet import (
    FakeInlet,
    Reaction,
    Request,
    accepts,
    answers,
    refuses,
    resets,
)
from tests.support.score_events import score_event, score_events
from tests.support.sink_faults import LOSES_THE_ANSWER, SLOW_OR_WRONG_COUNT, TRANSIENT
from tests.support.sink_fixture import sink_fixture
from tests.support.waiting import until


@pytest.mark.parametrize("name", list(TRANSIENT))
def test_after_a_transient_fault_every_event_is_accepted_once(name: str) -> None:
    reaction, is_in_doubt = TRANSIENT[name]
    with sink_fixture(reaction) as fixture:
        delivery = fixture.deliver(5)

        assert delivery.refused == []
        assert fixture.inlet.repeats == []
        assert len(delivery.in_doubt) == (5 if is_in_doubt else 0)
        assert fixture.metrics.value(ITEMS, "upgrade", ItemResult.ACCEPTED) == 5


def test_a_reset_after_the_events_were_accepted_repeats_them_once_and_lists_each_in_doubt() -> None:
    with sink_fixture(resets(accepted=True)) as fixture:
        delivery = fixture.deliver(5)

        in_doubt = {event.id for event, _ in delivery.in_doubt}
        assert set(fixture.inlet.repeats) == in_doubt
        assert fixture.metrics.value(ITEMS_IN_DOUBT, "upgrade", Cause.RESET) == 5
        assert fixture.metrics.value(ITEMS_RESENT, "upgrade") == 5


@pytest.mark.parametrize("key", ["status", "statusCode"])
def test_refused_items_carry_the_message_of_adobe_without_values(key: str) -> None:
    message = "DCVS-1104-400 expected type: String, found: 'john.smith@example.com'"
    with sink_fixture(accepts({1: {key: 400, "message": message}, 3: {key: "400"}})) as fixture:
        delivery = fixture.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e1", "e3"]
        reject = delivery.refused[0][1]
        assert reject.reason is Reason.REFUSED
        assert "DCVS-1104-400 expected type: String" in reject.detail
        assert "john" not in reject.detail
        assert reject.model == "Churn"
        assert fixture.sizes == [5]


def test_permuted_items_are_matched_by_their_index() -> None:
    with sink_fixture(accepts({0: {"status": 400}}, order=lambda items: items[::-1])) as fixture:
        assert [event.id for event, _ in fixture.deliver(4).refused] == ["e0"]


def test_only_the_items_that_failed_are_sent_again() -> None:
    mixed: dict[int, dict[str, Any]] = {
        0: {"status": 400},
        2: {"status": 503},
        4: {"statusCode": "429", "message": "slow"},
    }
    with sink_fixture(accepts(mixed)) as fixture:
        delivery = fixture.deliver(5)

        assert [event.id for event, _ in delivery.refused] == ["e0"]
        assert fixture.inlet.repeats == []
        again = [id_ for request in fixture.inlet.requests[1:] for id_ in request.ids]
        assert sorted(again) == ["e2", "e4"]


def test_a_refused_request_is_split_until_the_bad_events_are_alone() -> None:
    with sink_fixture(default=refuses(lambda id_: id_ in {"e3", "e77"})) as fixture:
        delivery = fixture.deliver(100)

        assert sorted(event.id for event, _ in delivery.refused) == ["e3", "e77"]
        assert fixture.inlet.repeats == []
        assert len(fixture.inlet.requests) < 40


def test_a_too_large_request_is_split_and_a_too_large_event_is_refused() -> None:
    def too_large(limit: int) -> Reaction:
        async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
            answer = answers(413) if len(request.body) > limit else accepts()
            await answer(request, writer, inlet)

        return react

    with sink_fixture(default=too_large(30_000)) as fixture:
        events = [*score_events(20, size=3_000), score_event("big", size=40_000)]

        delivery = fixture.sink.deliver(events)

        assert delivery.wait(5)
        ((event, reject),) = delivery.refused
        assert (event.id, reject.reason) == ("big", Reason.EVENT_TOO_LARGE)
        assert len(fixture.inlet.accepted) == 20


def test_an_event_that_can_never_fit_is_refused_without_being_sent() -> None:
    with sink_fixture(limits={"request_bytes": 10_000}) as fixture:
        delivery = fixture.deliver(1, size=20_000)

        assert delivery.refused[0][1].reason is Reason.EVENT_TOO_LARGE
        assert fixture.inlet.requests == []


def test_an_event_that_can_never_fit_does_not_close_the_breaker() -> None:
    with sink_fixture(default=answers(500), limits={"request_bytes": 10_000}) as fixture:
        first = fixture.sink.deliver(score_events(1))
        until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the sink is paused")

        delivery = fixture.sink.deliver([score_event("big", size=20_000)])

        assert delivery.wait(5)
        assert fixture.sink.unavailable_reason is not None
        assert not first.done


def test_a_response_before_the_body_was_read_is_used() -> None:
    with sink_fixture(limits={"request_bytes": 1_000_000}, auth=False) as fixture:
        fixture.inlet.early.append(answers(413, Connection="close"))
        start = time.monotonic()

        delivery = fixture.deliver(4, size=240_000)

        assert time.monotonic() - start < 0.35
        assert delivery.refused == []
        assert delivery.in_doubt == []
        assert fixture.sizes == [2, 2]


def test_nothing_is_sent_until_a_retry_after_has_passed() -> None:
    with sink_fixture(answers(503, Retry_After="1")) as fixture:
        start = time.monotonic()
        first = fixture.sink.deliver(score_events(3))
        until(lambda: fixture.sink.unavailable_reason, seconds=3, what="the sink is paused")
        second = fixture.sink.deliver(score_events(3))

        assert first.wait(5)
        assert second.wait(5)
        assert 1.0 <= time.monotonic() - start < 1.6
        assert len(fixture.inlet.requests) <= 4
        assert fixture.sink.unavailable_reason is None


def test_an_unavailable_inlet_is_probed_with_one_event_at_a_time() -> None:
    with sink_fixture(
        default=answers(500), retry={"max_seconds": 0.02, "breaker_failures": 3}
    ) as fixture:
        delivery = fixture.sink.deliver(score_events(500))

        until(lambda: len(fixture.inlet.requests) > 30, seconds=10, what="many probes")
        unavailable_reason = fixture.sink.unavailable_reason
        probes = fixture.sizes[-20:]
        fixture.inlet.default = accepts()

        assert delivery.wait(10)
        assert unavailable_reason == "upgrade: the inlet fails"
        assert set(probes) == {1}
        assert fixture.sink.unavailable_reason is None
        assert fixture.metrics.value(CIRCUIT_OPEN, "upgrade", Cause.SERVER) == 0


def test_one_event_that_makes_the_inlet_fail_does_not_block_the_others() -> None:
    def fails_on(bad: str) -> Reaction:
        async def react(request: Request, writer: StreamWriter, inlet: FakeInlet) -> None:
            answer = answers(500) if bad in request.ids else accepts()
            await answer(request, writer, inlet)

        return react

    with sink_fixture(default=fails_on("e13")) as fixture:
        delivery = fixture.sink.deliver(score_events(64))

        until(
            lambda: len(set(fixture.inlet.accepted)) == 63,
            seconds=10,
            what="the others are accepted",
        )
        assert not delivery.done


@pytest.mark.parametrize("seed", range(6))
def test_any_mix_of_faults_loses_nothing_and_lists_every_repeat(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seeded script
    fast = [
        reaction for name, (reaction, _) in TRANSIENT.items() if name not in SLOW_OR_WRONG_COUNT
    ]
    script = [rng.choice([*fast, *LOSES_THE_ANSWER, accepts()]) for _ in range(60)]
    limits = {"request_bytes": 10_000}
    with sink_fixture(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as fixture:
        deliveries = [
            fixture.sink.deliver([score_event(f"{batch}-{i}", size=900) for i in range(40)])
            for batch in range(10)
        ]

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        refused = [event.id for delivery in deliveries for event, _ in delivery.refused]
        in_doubt = [event.id for delivery in deliveries for event, _ in delivery.in_doubt]
        assert len(accepted) == len(set(accepted)) == 400
        assert refused == []
        assert set(fixture.inlet.accepted) == set(accepted)
        assert set(fixture.inlet.repeats) <= set(in_doubt)
        assert len(in_doubt) == len(set(in_doubt))
