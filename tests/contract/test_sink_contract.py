"""The contract of `components.Sink`, held by the fake and by `InletSink` with a scripted inlet."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

from processor.components import Delivery, Sink
from processor.domain.clock import Deadline, SystemClock
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Partition
from processor.settings import AepSettings, RouteSettings
from processor.sink.sink import InletSink
from processor.telemetry.metrics import Metrics
from tests.support.fakes import FakeSink
from tests.support.inlet import FakeInlet, accepts, answers, hangs, resets
from tests.support.score_events import score_event, score_events
from tests.support.waiting import until

REVOKED = frozenset({Partition("customer-ai-scores", 1)})


class Destination(Protocol):
    """A sink, and the inlet behind it."""

    @property
    def sink(self) -> Sink:
        """Return the sink."""
        ...

    @property
    def accepted(self) -> list[str]:
        """Return the ids of the events the inlet accepted, repeats included."""
        ...

    def refuse(self, first: int) -> None:
        """Let the inlet refuse the first so many events of the next request."""
        ...

    def lose_answer(self) -> None:
        """Let the inlet accept the next request without an answer."""
        ...

    def down(self) -> None:
        """Let the inlet accept nothing."""
        ...

    def hang(self) -> None:
        """Let the inlet not answer."""
        ...

    def up(self) -> None:
        """Let the inlet accept everything."""
        ...

    def wait_in_flight(self) -> None:
        """Wait until a request is in flight."""
        ...


class FakeDestination:
    """The fake has no inlet."""

    def __init__(self) -> None:
        self.sink = FakeSink([])
        self.sink.start()

    @property
    def accepted(self) -> list[str]:
        return [event.id for event in self.sink.accepted]

    def refuse(self, first: int) -> None:
        self.sink.refuse_next = first

    def lose_answer(self) -> None:
        self.sink.in_doubt_next = 99

    def down(self) -> None:
        self.sink.unavailable_reason = "upgrade: the inlet is unavailable"

    def hang(self) -> None:
        self.sink.slow = True

    def up(self) -> None:
        self.sink.unavailable_reason, self.sink.slow = None, False

    def wait_in_flight(self) -> None:
        """Nothing takes time."""


class RealDestination:
    """A sink and a scripted inlet."""

    def __init__(self, inlet: FakeInlet) -> None:
        self._inlet = inlet
        settings = {
            "org_id": "A@AdobeOrg",
            "allow_hosts": ["127.0.0.1"],
            "allow_http": True,
            "retry": {"first_seconds": 0.01, "max_seconds": 0.05, "breaker_failures": 1},
            "limits": {"linger_seconds": 0.01},
        }
        upgrade = RouteSettings(
            name="upgrade",
            models=["upgrade"],
            inlet_url=inlet.url,
            flow_id="f",
            dataset_id="d",
            schema_id="s",
        )
        self.sink = InletSink(
            AepSettings.model_validate(settings), [upgrade], Metrics(), SystemClock()
        )
        self.sink.start()

    @property
    def accepted(self) -> list[str]:
        return self._inlet.accepted

    def refuse(self, first: int) -> None:
        self._inlet.script.append(accepts({index: {"status": 400} for index in range(first)}))

    def lose_answer(self) -> None:
        self._inlet.script.append(resets(accepted=True))

    def down(self) -> None:
        self._inlet.default = answers(503)

    def hang(self) -> None:
        self._inlet.default = hangs()

    def up(self) -> None:
        self._inlet.default = accepts()

    def wait_in_flight(self) -> None:
        until(lambda: self._inlet.requests, seconds=9, what="a request is in flight", every=0.005)


@pytest.fixture(params=["fake", "real"])
def inlet(request: pytest.FixtureRequest) -> Iterator[Destination]:
    if request.param == "fake":
        yield FakeDestination()
        return
    with FakeInlet() as scripted:
        real = RealDestination(scripted)
        try:
            yield real
        finally:
            real.sink.close(0)


def finished(delivery: Delivery) -> Delivery:
    until(lambda: delivery.done, seconds=9, what="the delivery is done", every=0.005)
    return delivery


def paused(sink: Sink) -> None:
    until(lambda: sink.unavailable_reason, seconds=9, what="the sink is paused", every=0.005)


def ids(events: Sequence[ScoreEvent]) -> list[str]:
    return sorted(event.id for event in events)


def of_partitions(*partitions: int) -> list[ScoreEvent]:
    return [score_event(f"e{number}", partition=number) for number in partitions]


def test_nothing_to_deliver_is_done_at_once(inlet: Destination) -> None:
    assert inlet.sink.deliver([]).done


def test_a_delivery_is_done_once_all_is_accepted_and_stays_done(inlet: Destination) -> None:
    delivery = finished(inlet.sink.deliver(score_events(5)))

    assert ids(delivery.accepted) == ids(score_events(5)) == sorted(inlet.accepted)
    assert (list(delivery.refused), list(delivery.in_doubt)) == ([], [])
    inlet.down()
    assert delivery.done


def test_refused_events_have_a_reason_and_the_others_are_accepted(
    inlet: Destination,
) -> None:
    inlet.refuse(2)

    delivery = finished(inlet.sink.deliver(score_events(5)))

    assert ids([event for event, _ in delivery.refused]) == ["e0", "e1"]
    assert ids(delivery.accepted) == ["e2", "e3", "e4"] == sorted(inlet.accepted)
    for _, reject in delivery.refused:
        assert (reject.stage, reject.reason) == (Stage.DELIVER, Reason.REFUSED)
        assert reject.detail


def test_an_outage_pauses_the_sink_and_ends_no_delivery(inlet: Destination) -> None:
    inlet.down()
    deliveries = [inlet.sink.deliver(score_events(3)), inlet.sink.deliver(of_partitions(7))]
    paused(inlet.sink)
    assert not any(delivery.done for delivery in deliveries)
    assert inlet.accepted == []

    inlet.up()

    first, second = map(finished, deliveries)
    assert ids(first.accepted) == ["e0", "e1", "e2"]
    assert ids(second.accepted) == ["e7"]
    assert (list(first.refused), list(first.in_doubt)) == ([], [])
    until(
        lambda: inlet.sink.unavailable_reason is None,
        seconds=9,
        what="the sink is no longer paused",
    )


def test_deliver_does_not_wait_for_an_unavailable_inlet(inlet: Destination) -> None:
    inlet.hang()
    deadline = Deadline(SystemClock(), 2)

    deliveries = [inlet.sink.deliver(score_events(50)) for _ in range(20)]

    assert not deadline.over()
    assert not any(delivery.done for delivery in deliveries)


def test_revoked_events_are_not_sent_and_in_neither_list(inlet: Destination) -> None:
    inlet.down()
    mixed = inlet.sink.deliver(of_partitions(0, 1))
    paused(inlet.sink)
    alone = inlet.sink.deliver(of_partitions(1))

    inlet.sink.forget(REVOKED)
    finished(alone)
    inlet.up()
    finished(mixed)

    assert (list(alone.accepted), list(alone.refused)) == ([], [])
    # What was in flight when it was revoked may have been accepted all the same.
    assert ids(mixed.accepted) in (["e0"], ["e0", "e1"])
    assert sorted(inlet.accepted) == ids(mixed.accepted)


def test_events_of_a_partition_assigned_again_are_sent(inlet: Destination) -> None:
    inlet.sink.forget(REVOKED)

    assert ids(finished(inlet.sink.deliver(of_partitions(1))).accepted) == ["e1"]


def test_events_whose_answer_is_lost_are_accepted_and_in_doubt(inlet: Destination) -> None:
    inlet.lose_answer()

    delivery = finished(inlet.sink.deliver(score_events(2)))

    assert ids(delivery.accepted) == ids([event for event, _ in delivery.in_doubt]) == ["e0", "e1"]
    assert all(cause for _, cause in delivery.in_doubt)


def test_events_in_flight_at_the_close_are_in_doubt_and_never_done(inlet: Destination) -> None:
    inlet.hang()
    delivery = inlet.sink.deliver(score_events(3))
    inlet.wait_in_flight()

    deadline = Deadline(SystemClock(), 3)
    inlet.sink.close(0.1)

    assert not deadline.over()
    assert ids([event for event, _ in delivery.in_doubt]) == ["e0", "e1", "e2"]
    inlet.up()
    assert not delivery.done
    assert inlet.accepted == []


def test_events_an_unavailable_inlet_did_not_accept_stay_undelivered_at_the_close(
    inlet: Destination,
) -> None:
    inlet.down()
    delivery = inlet.sink.deliver(score_events(3))
    paused(inlet.sink)

    inlet.sink.close(0)
    inlet.up()

    assert not delivery.done
    assert inlet.accepted == []


def test_a_closed_sink_may_be_closed_again_and_partitions_revoked(inlet: Destination) -> None:
    inlet.sink.close(0)

    inlet.sink.forget(REVOKED)
    inlet.sink.close(0)
