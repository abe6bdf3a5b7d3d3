"""Partitions are revoked while the sink has events of theirs."""

import random

import pytest

from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Position
from tests.support.inlet import (
    accepts,
    answers,
)
from tests.support.score_events import score_event
from tests.support.sink_faults import LOSES_THE_ANSWER, SLOW_OR_WRONG_COUNT, TRANSIENT, accepts_then
from tests.support.sink_fixture import sink_fixture
from tests.support.waiting import until

_REVOKED = frozenset({Partition("customer-ai-scores", 1)})


def _of_two_partitions() -> list[ScoreEvent]:
    return [score_event(f"e{number}", partition=number) for number in (0, 1)]


def test_revoked_events_that_wait_for_an_unavailable_inlet_are_released_and_never_sent() -> None:
    with sink_fixture(
        default=answers(503), retry={"max_seconds": 0.02, "breaker_failures": 1}
    ) as fixture:
        mixed = fixture.sink.deliver(_of_two_partitions())
        until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the sink is paused")
        alone = fixture.sink.deliver(_of_two_partitions()[1:])

        fixture.sink.forget(_REVOKED)

        assert alone.wait(5)
        assert [event.id for event in alone.released] == ["e1"]
        until(lambda: mixed.released, seconds=5, what="the event of the probe is released too")
        fixture.inlet.default = accepts()
        assert mixed.wait(5)
        assert [event.id for event in mixed.accepted] == fixture.inlet.accepted == ["e0"]
        assert [event.id for event in mixed.released] == ["e1"]


def test_a_skipped_event_that_is_retried_is_refused_in_doubt_and_the_others_go_on() -> None:
    why = Reject(Stage.DELIVER, Reason.SKIPPED, "An operator skipped the record.")
    with sink_fixture(default=answers(500), retry={"breaker_failures": 1000}) as fixture:
        first, second = events = _of_two_partitions()
        delivery = fixture.sink.deliver(events)
        until(lambda: len(fixture.inlet.requests) > 3, seconds=5, what="it is sent again")

        fixture.sink.skip({Position.of(second.record): why})

        until(lambda: delivery.refused, seconds=5, what="the skipped event is refused")
        fixture.inlet.default = accepts()
        assert delivery.wait(5)
        ((event, reject),) = delivery.refused
        assert (event, reject.reason, reject.model) == (second, Reason.SKIPPED, second.model)
        assert delivery.accepted == [first]
        assert second in [each for each, _ in delivery.in_doubt]


def test_a_skipped_event_that_waits_for_an_unavailable_inlet_is_refused() -> None:
    why = Reject(Stage.DELIVER, Reason.SKIPPED, "An operator skipped the record.")
    with sink_fixture(
        default=answers(503), retry={"max_seconds": 0.02, "breaker_failures": 1}
    ) as fixture:
        fixture.sink.deliver(_of_two_partitions()[:1])
        until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the sink is paused")
        (waiting,) = _of_two_partitions()[1:]
        delivery = fixture.sink.deliver([waiting])

        fixture.sink.skip({Position.of(waiting.record): why})

        assert delivery.wait(5)
        assert [event for event, _ in delivery.refused] == [waiting]


def test_a_paused_sink_with_nothing_left_to_send_is_available_for_the_next_event() -> None:
    with sink_fixture(default=answers(503)) as fixture:
        gone = fixture.sink.deliver(_of_two_partitions()[1:])
        until(lambda: fixture.sink.unavailable_reason, seconds=5, what="the sink is paused")
        fixture.sink.forget(_REVOKED)
        assert gone.wait(5)

        until(
            lambda: fixture.sink.unavailable_reason is None,
            seconds=5,
            what="the idle sink is not paused",
        )
        fixture.inlet.default = accepts()

        assert fixture.sink.deliver(_of_two_partitions()[:1]).wait(5)


def test_revoked_events_that_linger_are_released_without_being_sent() -> None:
    with sink_fixture(limits={"linger_seconds": 0.3}) as fixture:
        delivery = fixture.sink.deliver(_of_two_partitions())
        fixture.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert fixture.inlet.accepted == ["e0"]


def test_revoked_events_in_flight_are_accepted_if_the_inlet_accepts_them() -> None:
    with sink_fixture(default=accepts(wait=0.2)) as fixture:
        delivery = fixture.sink.deliver(_of_two_partitions())
        until(lambda: fixture.inlet.requests, seconds=5, what="a request is in flight")

        fixture.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert [event.id for event in delivery.accepted] == ["e0", "e1"]
        assert delivery.released == []


def test_revoked_events_in_flight_are_released_instead_of_sent_again_and_stay_in_doubt() -> None:
    with sink_fixture(accepts_then(answers(500, wait=0.2))) as fixture:
        delivery = fixture.sink.deliver(_of_two_partitions())
        until(lambda: fixture.inlet.requests, seconds=5, what="a request is in flight")

        fixture.sink.forget(_REVOKED)

        assert delivery.wait(5)
        assert [event.id for event in delivery.released] == ["e1"]
        assert [event.id for event, _ in delivery.in_doubt] == ["e0", "e1"]
        assert fixture.inlet.accepted == ["e0", "e1", "e0"]


def test_events_of_a_partition_assigned_again_are_sent() -> None:
    with sink_fixture() as fixture:
        fixture.sink.forget(_REVOKED)

        delivery = fixture.sink.deliver(_of_two_partitions())

        assert delivery.wait(5)
        assert delivery.released == []


def test_partitions_may_be_revoked_after_the_close() -> None:
    with sink_fixture() as fixture:
        fixture.sink.close(1)

        fixture.sink.forget(_REVOKED)


@pytest.mark.parametrize("seed", range(4))
def test_with_revocations_and_any_mix_of_faults_every_event_has_one_result(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seeded script
    fast = [
        reaction for name, (reaction, _) in TRANSIENT.items() if name not in SLOW_OR_WRONG_COUNT
    ]
    script = [rng.choice([*fast, *LOSES_THE_ANSWER, accepts()]) for _ in range(40)]
    limits = {"request_bytes": 10_000}
    with sink_fixture(*script, limits=limits, retry={"retry_after_cap_seconds": 0.05}) as fixture:
        deliveries = []
        for batch in range(10):
            names = [f"{batch}-{i}" for i in range(40)]
            events = [score_event(each, size=900, partition=i % 2) for i, each in enumerate(names)]
            deliveries.append(fixture.sink.deliver(events))
            if rng.random() < 0.4:
                fixture.sink.forget(_REVOKED)

        assert all(delivery.wait(20) for delivery in deliveries)
        accepted = [event.id for delivery in deliveries for event in delivery.accepted]
        released = [event for delivery in deliveries for event in delivery.released]
        in_doubt = {event.id for delivery in deliveries for event, _ in delivery.in_doubt}
        assert len({*accepted, *(event.id for event in released)}) == 400
        assert len(accepted) + len(released) == 400
        assert all(event.record.partition == 1 for event in released)
        assert {event.id for event in released} & set(fixture.inlet.accepted) <= in_doubt
