"""A fault of the program in the sink's own thread: what was sent is listed, nothing goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from processor.domain.errors import InvariantError
from processor.sink import worker
from processor.sink.packing import InletDelivery, RequestPacker
from processor.sink.response import assess
from tests.support.inlet import accepts
from tests.support.score_events import score_event
from tests.support.sink_fixture import SinkFixture, sink_fixture
from tests.support.waiting import until


class FaultError(Exception):
    """A fault of the program."""


def fault(*_: object, **__: object) -> Any:  # noqa: ANN401
    raise FaultError


_PLACES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the response is read": lambda patch: patch.setattr(worker, "assess", fault),
    "the result is reported": lambda patch: patch.setattr(InletDelivery, "accept", fault),
    "an event is sent again": lambda patch: patch.setattr(worker.RouteWorker, "_again", fault),
}


@pytest.mark.parametrize("place", _PLACES)
def test_a_fault_between_response_and_result_lists_the_events_and_is_raised(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = {1: {"status": 500}}
    with _crashing(default=accepts(half)) as fixture:
        done = fixture.sink.deliver([score_event("before")])
        assert done.wait(5)
        _PLACES[place](monkeypatch)

        delivery = fixture.sink.deliver([score_event("a"), score_event("b")])
        _wait_for_crash(fixture)
        with pytest.raises(InvariantError) as raised:
            fixture.sink.close(1)

        assert _root(raised.value, FaultError)
        listed = {event.id for event, _ in delivery.in_doubt}
        accepted = {event.id for event in delivery.accepted}
        assert listed | accepted == {"a", "b"}
        assert listed & accepted == set()
        assert done.in_doubt == []
        assert not delivery.done


def test_a_fault_in_one_request_lists_the_others_that_are_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _crashing(default=accepts(wait=1), limits={"linger_seconds": 0.01}) as fixture:
        slow = fixture.sink.deliver([score_event("slow")])
        until(lambda: fixture.inlet.requests, seconds=5, what="one is in flight")
        fixture.inlet.default = accepts()
        monkeypatch.setattr(worker, "assess", lambda reply, events: fault(assess(reply, events)))
        quick = fixture.sink.deliver([score_event("quick")])
        _wait_for_crash(fixture)

        assert [event.id for event, _ in slow.in_doubt] == ["slow"]
        assert [event.id for event, _ in quick.in_doubt] == ["quick"]


@pytest.mark.parametrize("step", ["add", "flush"])
def test_a_fault_while_events_are_packed_is_raised_and_not_only_logged(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _crashing() as fixture:
        monkeypatch.setattr(RequestPacker, step, fault)
        fixture.sink.deliver([score_event("a")])

        _wait_for_crash(fixture)

        assert fixture.inlet.requests == []


@contextmanager
def _crashing(**more: Any) -> Iterator[SinkFixture]:  # noqa: ANN401
    """Return a fixture whose sink may raise its crash when it is closed in the end."""
    context = sink_fixture(**more)
    try:
        yield context.__enter__()
    finally:
        with suppress(InvariantError):
            context.__exit__(None, None, None)


def _wait_for_crash(fixture: SinkFixture) -> None:
    until(lambda: _has_crashed(fixture), seconds=5, what="the sink's thread has ended")


def _has_crashed(fixture: SinkFixture) -> bool:
    try:
        fixture.sink.forget(frozenset())
    except InvariantError:
        return True
    return False


def _root(error: BaseException, kind: type[BaseException]) -> bool:
    cause = error.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    return cause.subgroup(kind) is not None
