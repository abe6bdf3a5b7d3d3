"""A registry that is slow or floods with unknown ids never stops the loop."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
import structlog

from processor.domain.record import Record
from tests.support.framed import framed_avro
from tests.support.paths import ROOT
from tests.support.registry import FakeRegistry
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record
from tests.support.waiting import until

PROFILE = (ROOT / "schemas/avro/customer-ai-score-profile.v1.avsc").read_text()
MADE_UP = range(1_000_000, 1_000_500)
LONGEST_TURN = 0.3
"""A turn takes a few milliseconds; one that waits for 500 answers takes many seconds."""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def _run(registry: FakeRegistry, *polls: list[Record]) -> StreamRun:
    changes = {"registry/url": registry.url, "registry/unknown_id_seconds": 20}
    run = StreamRun(polls, changes)
    run.start()
    return run


def _framed(offset: int, schema_id: int) -> Record:
    content = json.loads(score_record(offset, person=offset).value or b"")
    return Record(SCORES, 0, offset, NOW_MS, b"k", framed_avro(schema_id, PROFILE)(content))


def _turn_until(run: StreamRun, done: Callable[[], bool]) -> float:
    """Turn the loop until `done`, an hour of its clock in a minute; return the longest turn."""
    longest = 0.0

    def turn() -> bool:
        nonlocal longest
        began = time.monotonic()
        run.stream.run_once()
        longest = max(longest, time.monotonic() - began)
        run.clock.advance(0.3)
        return done()

    until(turn, seconds=60, what="a state of the loop", every=0.005, tell=lambda: run.steps[-3:])
    return longest


def test_flood_of_made_up_ids_is_dead_lettered_while_the_loop_turns(
    registry: FakeRegistry,
) -> None:
    known = registry.register("scores-value", PROFILE)
    registry.delay_seconds = 0.02
    flood = [_framed(offset, schema_id) for offset, schema_id in enumerate(MADE_UP)]
    run = _run(registry, [*flood, _framed(500, known)], [_framed(501, known), score_record(502)])

    longest = _turn_until(run, lambda: run.source.committed == {(SCORES, 0): 503})

    assert longest < LONGEST_TURN
    assert run.dead_letters.written == list(range(500))
    assert {reject.reason.value for reject in run.dead_letters.rejects} == {"unknown_schema"}
    assert [event.record.offset for event in run.sink.accepted] == [500, 501, 502]
    assert registry.requests.count(f"/schemas/ids/{known}") == 1
    assert {f"/schemas/ids/{number}" for number in MADE_UP} <= set(registry.requests)


def test_stop_does_not_wait_for_the_registry(registry: FakeRegistry) -> None:
    registry.delay_seconds = 30
    run = _run(registry, [score_record(9)], [_framed(10, number) for number in MADE_UP])
    _turn_until(run, lambda: bool(registry.requests))

    began = time.monotonic()
    run.stream.stop()
    settled = run.processor.run()

    assert time.monotonic() - began < 1
    assert not settled
    assert run.source.committed == {(SCORES, 0): 10}
    assert run.dead_letters.written == []


def test_polls_stay_in_order_while_the_first_waits_for_its_schema(registry: FakeRegistry) -> None:
    known = registry.register("scores-value", PROFILE)
    registry.delay_seconds = 0.5
    run = _run(
        registry, [_framed(10, known)], [score_record(11, person=2)], [score_record(12, person=3)]
    )

    longest = _turn_until(run, lambda: run.source.committed == {(SCORES, 0): 13})

    assert longest < LONGEST_TURN
    delivered = [step for step in run.steps if step[0] == "delivered"]
    assert delivered == [("delivered", [10]), ("delivered", [11]), ("delivered", [12])]


def test_registry_that_does_not_answer_pauses_intake_and_is_named(registry: FakeRegistry) -> None:
    registry.delay_seconds = 30
    run = _run(registry, [_framed(10, 1)])

    with structlog.testing.capture_logs() as lines:
        _turn_until(run, lambda: "registry" in run.source.causes)

    (paused,) = [line for line in lines if line["code"] == "intake_paused"]
    assert paused["part"] == "registry"
    assert "still being fetched" in paused["error"]


def test_outage_ends_the_questions_and_a_recovered_registry_is_asked_again(
    registry: FakeRegistry,
) -> None:
    known = registry.register("scores-value", PROFILE)
    registry.status = 503
    flood = [_framed(offset, schema_id) for offset, schema_id in enumerate(MADE_UP)]
    run = _run(registry, [_framed(10, known), *flood[11:]])

    _turn_until(run, lambda: "registry" in run.source.causes)
    assert len(registry.requests) < 100
    registry.status = None

    _turn_until(run, lambda: run.source.committed == {(SCORES, 0): 500})
    assert [event.record.offset for event in run.sink.accepted] == [10]
