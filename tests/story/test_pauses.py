"""What is paused, of which partitions, and how it shows."""

from collections.abc import Callable, Iterable, Mapping

import pytest
import structlog
from msgspec.structs import replace

from processor.control.pauses import pause
from processor.domain.clock import rfc3339
from processor.domain.errors import Gap, StopError
from processor.domain.record import Partition, Record
from processor.telemetry.catalogue import PAUSED_SECONDS, PAUSED_SINCE_TIMESTAMP_SECONDS, READY
from processor.telemetry.labels import PauseCause, State
from processor.telemetry.server import page
from tests.support.stream_run import EVENTS, NOW_MS, SCORES, StreamRun, event_record, score_record


def _run(*polls: list[Record]) -> StreamRun:
    run = StreamRun(polls)
    run.source.group = frozenset(Partition(topic, n) for topic in (SCORES, EVENTS) for n in (0, 1))
    run.start()
    return run


def _turns(run: StreamRun, count: int = 6) -> None:
    for _ in range(count):
        run.stream.run_once()


def _at(number: int, records: Iterable[Record]) -> list[Record]:
    return [replace(record, partition=number) for record in records]


def _sent(run: StreamRun) -> list[tuple[int, int]]:
    return [(event.record.partition, event.record.offset) for event in run.sink.accepted]


def test_only_the_partitions_that_are_restored_wait() -> None:
    run = _run()
    run.state_store.unready = {0}
    run.source.add([score_record(10), *_at(1, [score_record(20, person=2)])])
    run.source.add([score_record(11, person=3)])

    _turns(run)

    assert _sent(run) == [(1, 20)]
    assert run.source.committed == {(SCORES, 1): 21}
    assert run.source.paused["restoring"] == {Partition(SCORES, 0), Partition(EVENTS, 0)}
    run.state_store.unready = set()
    _turns(run)
    assert _sent(run) == [(1, 20), (0, 10), (0, 11)]
    assert run.source.committed == {(SCORES, 0): 12, (SCORES, 1): 21}
    assert run.source.paused["restoring"] == set()


def test_records_that_are_polled_when_their_partition_stops_being_ready_wait_in_order() -> None:
    run = _run()
    run.reader.unavailable_reason = "no response"
    run.source.add([score_record(10), *_at(1, [score_record(20, person=2)])])
    run.source.add([score_record(11, person=3), *_at(1, [score_record(21, person=4)])])
    _turns(run, 2)
    run.reader.unavailable_reason = None
    run.state_store.unready = {0}
    run.clock.advance(9)

    _turns(run)
    assert _sent(run) == [(1, 20), (1, 21)]
    run.state_store.unready = set()
    _turns(run)

    assert _sent(run) == [(1, 20), (1, 21), (0, 10), (0, 11)]
    assert run.source.committed == {(SCORES, 0): 12, (SCORES, 1): 22}


def test_events_of_a_restored_partition_are_planned_before_its_scores() -> None:
    run = _run()
    run.reader.unavailable_reason = "no response"
    event = event_record(1, days_ago=8, page="Plans")
    run.source.add([event, *_at(1, [score_record(20, person=2)])])
    run.source.add([score_record(10)])
    _turns(run, 2)
    run.reader.unavailable_reason, run.state_store.unready = None, {0}
    run.clock.advance(9)
    _turns(run)
    run.state_store.unready = set()

    _turns(run)

    assert b'"lastPageName":"Plans"' in run.sink.accepted[-1].body


def test_a_partition_that_is_restored_and_lost_and_assigned_again_is_paused_again() -> None:
    run = _run()
    run.state_store.unready = {0}
    _turns(run, 2)

    run.source.lose(run.stream)

    assert run.source.paused["restoring"] == {Partition(SCORES, 0), Partition(EVENTS, 0)}


def test_a_restore_that_does_not_advance_names_why_and_stops_no_other_partition() -> None:
    run = _run(_at(1, [score_record(20)]))
    run.state_store.unready = {0}
    run.state_store.restore_unavailable_reason = "changelog: no leader"

    _turns(run)

    assert _sent(run) == [(1, 20)]
    (pause,) = run.health.ready().paused
    assert pause.cause == "restoring"
    assert pause.reason == "person state cannot be restored: changelog: no leader"
    assert pause.partitions == 2
    assert not run.health.ready().ok


def test_a_member_without_partitions_is_ready_and_before_it_is_a_member_it_is_not() -> None:
    run = StreamRun()
    run.source.group = frozenset()
    run.stream.run_once()
    assert (run.health.ready().ok, run.health.ready().state) == (False, "joining")

    run.start()
    _turns(run, 2)

    assert (run.health.ready().ok, run.health.ready().state) == (True, "idle")
    assert run.metrics.value(READY, State.IDLE) == 1


def test_an_outage_is_named_with_its_beginning_and_counted_while_the_replica_is_ready() -> None:
    run = _run()
    _turns(run, 2)
    run.sink.unavailable_reason = "upgrade: the inlet answers 503"
    began_ms = run.clock.now_ms()

    with structlog.testing.capture_logs() as lines:
        run.stream.run_once()
        run.clock.advance(90)
        run.sink.unavailable_reason = "upgrade: the token is refused"
        run.stream.run_once()
        ready = run.health.ready()
        since = run.metrics.value(PAUSED_SINCE_TIMESTAMP_SECONDS, PauseCause.DESTINATION)
        run.sink.unavailable_reason = None
        run.stream.run_once()

    assert (ready.ok, ready.state) == (True, "ready")
    (pause,) = ready.paused
    assert pause == ("destination", "upgrade: the token is refused", "2026-11-18T11:06:40Z", 4)
    assert since == began_ms / 1000 == NOW_MS / 1000
    assert run.metrics.value(PAUSED_SECONDS, PauseCause.DESTINATION) == pytest.approx(90)
    assert run.metrics.value(PAUSED_SINCE_TIMESTAMP_SECONDS, PauseCause.DESTINATION) == 0
    assert [(line["code"], line.get("seconds")) for line in lines] == [
        ("intake_paused", None),
        ("intake_resumed", 90.0),
    ]
    assert run.health.ready().paused == ()
    assert run.health.ready().reason == "Ready."


def _unavailable(part: str, attribute: str = "unavailable_reason") -> Callable[[StreamRun], None]:
    return lambda run: setattr(getattr(run, part), attribute, f"the {part} is unavailable")


def _stopped(run: StreamRun, gaps: Mapping[Partition, Gap]) -> None:
    run.source.stop_error = StopError("A limit is reached.", gaps)


def _await_registry(run: StreamRun) -> None:
    run.reader.unavailable_reason = "no response"
    run.source.add([score_record(10)])


def _fill_window(run: StreamRun) -> None:
    run.sink.slow = True
    run.source.add([score_record(offset, person=offset) for offset in range(1010)])


BEGINNINGS: Mapping[PauseCause, Callable[[StreamRun], None]] = {
    PauseCause.DESTINATION: _unavailable("sink"),
    PauseCause.DEAD_LETTERS: _unavailable("dead_letters"),
    PauseCause.STATE: _unavailable("state_store"),
    PauseCause.REPARTITION: _unavailable("repartition"),
    PauseCause.CONTROL: _unavailable("control"),
    PauseCause.COMMIT: _unavailable("source", "commit_overdue_reason"),
    PauseCause.TOPICS: _unavailable("source", "topic_fault_reason"),
    PauseCause.RESTORING: lambda run: run.state_store.unready.add(0),
    PauseCause.REGISTRY: _await_registry,
    PauseCause.WINDOW: _fill_window,
    PauseCause.OPERATOR: lambda run: pause(
        run.control, reason="inlet moves", by="ann@host", now_ms=run.clock.now_ms()
    ),
    PauseCause.REJECT_LIMIT: lambda run: _stopped(run, {}),
    PauseCause.GAP: lambda run: _stopped(
        run, {Partition(SCORES, 0): Gap("below_start", "", 11, 20)}
    ),
}


@pytest.mark.parametrize("cause", PauseCause)
def test_probe_page_metric_and_log_name_each_cause_and_since_when(cause: PauseCause) -> None:
    run = StreamRun(changes={"kafka/max_uncommitted_records": 1000})
    run.start()
    _turns(run, 2)
    run.clock.advance(60)
    with structlog.testing.capture_logs() as lines:
        BEGINNINGS[cause](run)
        for _ in range(8):
            run.stream.run_once()
            run.clock.advance(0.5)
    later_ms = run.clock.now_ms()

    ready = run.health.ready()
    (shown,) = ready.paused
    assert shown.cause == cause
    assert shown.reason
    assert shown.reason in ready.reason or ready.state == State.RESTORING
    since = run.metrics.value(PAUSED_SINCE_TIMESTAMP_SECONDS, cause)
    assert NOW_MS / 1000 + 60 <= since < later_ms / 1000
    assert shown.since == rfc3339(round(since * 1000))
    html = page(run.metrics, run.health.live(), ready)
    assert f"<b>{cause}</b> since {shown.since}, {shown.partitions} partitions" in html
    (line,) = [each for each in lines if each["code"] == "intake_paused"]
    assert (line["part"], line["error"]) == (cause, shown.reason)


def test_a_restart_at_a_limit_says_since_when_intake_is_paused_not_since_the_restart() -> None:
    run = _run()
    _stopped(run, {})
    _turns(run, 2)

    again = StreamRun(control=run.control)
    again.clock.advance(3600)
    again.start()
    _turns(again, 2)

    began = rfc3339(NOW_MS)
    (shown,) = again.health.ready().paused
    assert f"Paused since {began}" in shown.reason
    assert shown.since == began
    since = again.metrics.value(PAUSED_SINCE_TIMESTAMP_SECONDS, PauseCause.REJECT_LIMIT)
    assert since == NOW_MS / 1000


def test_every_cause_is_in_the_metrics_from_the_start() -> None:
    run = StreamRun()
    run.metrics.prepare([], [])

    names = {
        sample.labels["cause"]
        for family in run.metrics.registry.collect()
        if family.name == "cai_paused_seconds"
        for sample in family.samples
    }

    assert names == set(PauseCause)


def test_a_full_window_takes_in_a_poll_for_each_attempt_that_is_to_show_what_is_at_fault() -> None:
    """Also where a poll is as large as the window: 1,000 records, 3 attempts."""
    small = {
        "kafka/max_uncommitted_records": 1_000,
        "kafka/poll_records": 1_000,
        "aep/retry/undeliverable_attempts": 3,
    }
    polls = [
        [score_record(offset, person=offset) for offset in range(first, first + 1_000)]
        for first in range(0, 8_000, 1_000)
    ]
    run = StreamRun(polls, small)
    run.sink.slow = True
    run.start()
    for _ in range(3):
        run.stream.run_once()
    assert run.stream.unsettled == 1_000

    run.sink.needs_others = True
    for _ in range(12):
        run.stream.run_once()

    assert run.stream.unsettled == 4_000
