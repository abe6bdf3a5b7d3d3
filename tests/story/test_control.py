"""Pauses by hand and at limits, and skipped records, from the command to the last replica."""

from collections.abc import Iterable

import pytest
import structlog
from msgspec.structs import replace

from processor.control.pauses import pause, resume
from processor.control.skips import skip
from processor.domain.control import ControlStore, InMemoryControlStore
from processor.domain.errors import Gap, StopCause, StopError
from processor.domain.outcome import Outcome, Reason, Stage
from processor.domain.record import Partition, Position, Record
from processor.telemetry.catalogue import PAUSED_AT_LIMIT, RECORDS_SETTLED
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record

P0 = Partition(SCORES, 0)
LIMIT = {"dead_letter/stop_after_consecutive": 10}
GAP = Gap("below_start", "cluster:one", 11, 20)


def turn(run: StreamRun, times: int = 6) -> None:
    """Turn the loop, with a fifth of a second between turns."""
    for _ in range(times):
        run.stream.run_once()
        run.clock.advance(0.2)


def started(run: StreamRun) -> StreamRun:
    run.start()
    turn(run)
    return run


def bad(offsets: Iterable[int]) -> list[Record]:
    return [Record(SCORES, 0, offset, NOW_MS, None, b"?") for offset in offsets]


def end_pauses(control: ControlStore) -> list[str]:
    return resume(control, by="ann@host", now_ms=NOW_MS)


def test_a_pause_by_hand_stops_all_intake_and_resume_ends_it() -> None:
    run = started(StreamRun([[score_record(10)]]))
    pause(run.control, reason="inlet moves", by="ann@host", now_ms=NOW_MS)
    turn(run, 1)
    run.source.add([score_record(11, person=2)])
    turn(run)

    assert run.source.committed == {P0: 11}
    ready = run.health.ready()
    assert (ready.ok, ready.state) == (False, "paused")
    assert "ann@host" in ready.reason
    assert "inlet moves" in ready.reason
    assert "since" in ready.reason

    assert len(end_pauses(run.control)) == 1
    turn(run)
    assert run.source.committed == {P0: 12}
    assert run.health.ready().ok


def test_every_replica_obeys_a_pause_also_one_that_starts_later() -> None:
    control = InMemoryControlStore()
    first = started(StreamRun(control=control))
    pause(control, reason="maintenance", by="ann@host", now_ms=NOW_MS)
    later = started(StreamRun([[score_record(10)]], control=control))
    turn(first)

    assert first.source.causes == later.source.causes == {"operator"}
    assert later.source.committed == {}


def test_too_many_rejects_pause_intake_and_earlier_batches_are_settled() -> None:
    with structlog.testing.capture_logs() as lines:
        run = started(StreamRun([[score_record(1)], bad(range(2, 12))], LIMIT))
        turn(run, 20)

    assert run.source.committed == {P0: 2}
    assert not any(entry[0] == "dead_lettered" for entry in run.steps)
    assert "10 records in a row" in run.health.ready().reason
    assert run.metrics.value(PAUSED_AT_LIMIT, StopCause.REJECT_LIMIT) == 1
    (line,) = [each for each in lines if each["code"] == "paused_at_limit"]
    assert (line["log_level"], line["cause"]) == ("error", "reject_limit")


def test_resume_accepts_the_batch_that_hit_the_limit_and_counts_anew() -> None:
    run = started(StreamRun([bad(range(12)), bad(range(12, 21)), bad(range(21, 30))], LIMIT))

    assert len(end_pauses(run.control)) == 1
    turn(run)

    assert run.dead_letters.written == list(range(21))
    assert run.source.committed == {P0: 21}
    assert run.metrics.value(PAUSED_AT_LIMIT, StopCause.REJECT_LIMIT) == 1


@pytest.mark.parametrize("by", ["count", "share"])
def test_the_reject_limit_of_one_replica_pauses_the_others_also_after_a_restart(by: str) -> None:
    share = {
        "dead_letter/stop_after_consecutive": 0,
        "dead_letter/stop_window": 100,
        "dead_letter/stop_ratio": 0.5,
    }
    changes, count = (LIMIT, 12) if by == "count" else (share, 100)
    one = started(StreamRun([bad(range(count))], changes))
    other = started(StreamRun([[score_record(10)]], changes, control=one.control))
    restarted = started(StreamRun([bad(range(count))], changes, control=one.control))

    for run in (one, other, restarted):
        assert run.source.causes == {"reject_limit"}
        assert not run.health.ready().ok
        assert (
            f"dead_letter.stop_{'ratio' if by == 'share' else 'after'}" in run.health.ready().reason
        )
        assert run.metrics.value(PAUSED_AT_LIMIT, StopCause.REJECT_LIMIT) == 1
    assert other.source.committed == {}

    end_pauses(one.control)
    turn(other)
    turn(restarted)
    assert other.source.committed == {P0: 11}
    assert restarted.dead_letters.written == list(range(count))


def test_a_restart_stays_paused_and_resume_gets_past_the_batch_that_hit_the_limit() -> None:
    run = started(StreamRun([bad(range(12))], LIMIT))
    run.stream.stop()
    assert not run.stream.run()

    again = StreamRun([bad(range(12))], LIMIT, control=run.control)
    started(again)
    assert not any(entry[0] == "polled" for entry in again.steps)
    assert "10 records in a row" in again.health.ready().reason

    end_pauses(again.control)
    turn(again)
    assert again.dead_letters.written == list(range(12))
    assert again.health.ready().ok


def test_an_inlet_that_refuses_everything_pauses_intake_and_settled_is_committed() -> None:
    polls = [[score_record(offset, person=offset)] for offset in range(1, 9)]
    run = StreamRun(polls, {"dead_letter/stop_after_consecutive": 3})
    run.sink.refuse_next = 3
    started(run)

    assert run.dead_letters.written == [1, 2, 3]
    assert run.source.causes == {"reject_limit"}

    end_pauses(run.control)
    turn(run, 20)
    assert run.source.committed == {P0: 9}


def test_a_limit_that_is_reached_again_during_the_stop_does_not_prevent_it() -> None:
    polls = [[score_record(offset, person=offset)] for offset in range(1, 5)]
    run = StreamRun(polls, {"dead_letter/stop_after_consecutive": 1})
    run.sink.slow = True
    started(run)
    run.sink.slow, run.sink.refuse_next = False, 4
    run.stream.stop()

    assert run.processor.run()

    assert run.source.committed == {P0: 5}
    assert run.steps[-1] == ("left",)


def test_a_gap_pauses_intake_until_resume_and_then_exactly_its_partition_goes_on() -> None:
    run = started(StreamRun([[score_record(10)]]))
    run.source.stop_error = StopError("Records of customer-ai-scores/0 are gone.", {P0: GAP})
    turn(run)
    assert run.source.causes == {"gap"}
    assert run.metrics.value(PAUSED_AT_LIMIT, StopCause.GAP) == 1
    assert run.source.accepted_gaps == []

    (sentence,) = end_pauses(run.control)
    turn(run)

    assert "are gone" in sentence
    assert run.source.accepted_gaps == [P0]
    assert run.source.causes == set()


def test_a_gap_that_was_accepted_before_a_restart_does_not_pause_again() -> None:
    run = started(StreamRun())
    run.source.stop_error = StopError("Records are gone.", {P0: GAP})
    turn(run)
    end_pauses(run.control)

    again = StreamRun(control=run.control)
    started(again)
    again.source.stop_error = StopError("Records are gone.", {P0: GAP})
    turn(again)
    assert (again.source.causes, again.source.accepted_gaps) == (set(), [P0])

    again.source.stop_error = StopError("More records are gone.", {P0: GAP._replace(wanted=99)})
    turn(again)
    assert again.source.causes == {"gap"}


@pytest.mark.parametrize(
    "later",
    [
        GAP._replace(cause="beyond_end"),
        GAP._replace(topic_id="cluster:two"),
        GAP._replace(wanted=12),
        GAP._replace(start=30),
    ],
    ids=["another cause", "a new topic", "another offset", "more records"],
)
def test_a_gap_that_no_replica_had_when_it_was_resumed_accepts_no_other_one(later: Gap) -> None:
    run = started(StreamRun())
    run.source.stop_error = StopError("Records are gone.", {P0: GAP})
    turn(run)
    end_pauses(run.control)

    again = started(StreamRun(control=run.control))
    again.source.stop_error = StopError("More records are gone.", {P0: later})
    turn(again)

    assert (again.source.causes, again.source.accepted_gaps) == ({"gap"}, [])
    assert "More records" in again.health.ready().reason


def test_a_gap_that_has_grown_by_a_restart_is_paused_since_it_began() -> None:
    run = started(StreamRun())
    run.source.stop_error = StopError("3 are gone.", {P0: GAP})
    turn(run)

    again = started(StreamRun(control=run.control))
    again.clock.advance(3600)
    again.source.stop_error = StopError("9 are gone.", {P0: GAP._replace(start=26)})
    turn(again)

    assert "9 are gone. Paused since 2026-11-18T11:06:41.200Z" in again.health.ready().reason


def test_an_accepted_gap_is_deleted_once_the_group_has_committed_beyond_it() -> None:
    run = started(StreamRun([[score_record(10)]]))
    run.source.topic_ids[SCORES] = GAP.topic_id
    run.source.stop_error = StopError("Records are gone.", {P0: GAP})
    turn(run)
    end_pauses(run.control)
    turn(run)
    assert run.source.accepted_gaps == [P0]
    assert len(run.control.items("paused/")) == 1

    run.source.add([score_record(20)])
    turn(run)
    assert run.control.items("paused/") == {}
    run.source.stop_error = StopError("Records are gone.", {P0: GAP})
    turn(run)
    assert run.source.causes == {"gap"}


def test_an_acceptance_that_was_not_needed_is_deleted_by_the_next_commit() -> None:
    """Such as where the operator has set the offsets by hand instead."""
    run = started(StreamRun())
    run.source.stop_error = StopError("Offsets are gone.", {P0: Gap("x", "", None, 0)})
    turn(run)
    end_pauses(run.control)

    again = started(StreamRun([[score_record(50)]], control=run.control))
    turn(again)

    assert again.control.items("paused/") == {}


def test_an_accepted_batch_of_rejects_is_deleted_and_reading_it_again_pauses_again() -> None:
    run = started(StreamRun([bad(range(12))], LIMIT))
    end_pauses(run.control)
    turn(run)
    assert run.source.committed == {P0: 12}
    assert run.control.items("paused/") == {}

    again = started(StreamRun([bad(range(12))], LIMIT, control=run.control))
    assert again.source.causes == {"reject_limit"}
    assert again.dead_letters.written == []


def test_an_accepted_batch_of_rejects_accepts_none_of_a_new_topic_of_that_name() -> None:
    run = StreamRun([bad(range(12))], LIMIT)
    run.source.topic_ids[SCORES] = "cluster:one"
    started(run)
    end_pauses(run.control)

    again = StreamRun([bad(range(12))], LIMIT, control=run.control)
    again.source.topic_ids[SCORES] = "cluster:two"
    started(again)

    assert again.source.causes == {"reject_limit"}


def test_resuming_while_another_limit_is_reached_lets_the_rejects_count_anew() -> None:
    run = StreamRun([[score_record(10)]], {"dead_letter/stop_after_consecutive": 2})
    run.sink.refuse_next = 1
    started(run)
    pauses, limit = run.stream._pauses, run.dead_letters.limit  # noqa: SLF001
    pauses.stop(StopError("2 in a row."))
    turn(run, 1)
    end_pauses(run.control)

    pauses.stop(StopError("Records are gone.", {P0: GAP}))
    turn(run)

    assert run.source.causes == {"gap"}
    limit.check_refusals("upgrade", 1, 1)


def test_two_replicas_that_reach_the_reject_limit_at_once_both_go_on_after_resume() -> None:
    control = InMemoryControlStore()
    first, other = StreamRun(changes=LIMIT, control=control), StreamRun([], LIMIT, control=control)
    other.source.group = frozenset({Partition(SCORES, 1)})
    started(first)
    started(other)
    first.source.add(bad(range(12)))
    other.source.add([replace(each, partition=1) for each in bad(range(12))])
    first.clock.advance(-0.2)  # so that it has not read the other one's pause yet
    other.stream.run_once()
    turn(first)
    turn(other)
    assert first.source.causes == other.source.causes == {"reject_limit"}

    end_pauses(control)
    turn(other)
    turn(first)

    assert first.dead_letters.written == other.dead_letters.written == list(range(12))
    assert control.items("paused/") == {}


def test_a_skipped_record_is_dead_lettered_once_with_its_bytes_and_not_decoded() -> None:
    records = [score_record(offset, person=offset) for offset in (10, 11, 12)]
    run = StreamRun()
    skip(run.control, Position(SCORES, 0, 11), reason="poison", by="ann@host", now_ms=NOW_MS)
    started(run)
    with structlog.testing.capture_logs() as lines:
        run.source.add(records)
        turn(run)

    assert [event.record.offset for event in run.sink.accepted] == [10, 12]
    (reject,) = run.dead_letters.rejects
    assert (reject.stage, reject.reason) == (Stage.READ, Reason.SKIPPED)
    assert run.dead_letters.written == [11]
    assert run.source.committed == {P0: 13}
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DEAD_LETTERED) == 1
    fact = run.control.get(f"skip/{SCORES}/0/11")
    assert fact is not None
    assert fact["result"] == "dead_lettered"
    assert fact["by"] == "ann@host"
    (line,) = [each for each in lines if each["code"] == "record_skipped"]
    assert (line["by"], line["reason"]) == ("ann@host", "poison")


def test_a_record_whose_schema_cannot_be_fetched_can_be_skipped() -> None:
    run = StreamRun([[score_record(10)]])
    run.reader.unavailable_reason = "no response in 5 s"
    started(run)
    assert run.source.causes == {"registry"}

    skip(run.control, Position(SCORES, 0, 10), reason="r", by="ann@host", now_ms=NOW_MS)
    run.clock.advance(5)
    turn(run)

    assert run.dead_letters.written == [10]


def test_a_skip_that_is_done_is_not_repeated_when_the_record_is_read_again() -> None:
    run = StreamRun([[score_record(10)]])
    skip(run.control, Position(SCORES, 0, 10), reason="r", by="ann@host", now_ms=NOW_MS)
    started(run)
    run.source.add([score_record(10)])
    turn(run)

    assert run.dead_letters.written == [10]
    assert [event.record.offset for event in run.sink.accepted] == [10]


def test_a_skip_of_the_old_topic_concerns_no_record_of_a_new_one() -> None:
    control, place = InMemoryControlStore(), Position(SCORES, 0, 10)
    asked = {"reason": "r", "by": "ann@host"}
    skip(control, place, **asked, now_ms=NOW_MS, topic_id="cluster:/o+n/e")
    run = StreamRun([[score_record(10)]], control=control)
    run.source.topic_ids[SCORES] = "cluster:t//wo/"
    started(run)
    assert [event.record.offset for event in run.sink.accepted] == [10]
    assert run.dead_letters.written == []

    assert skip(control, place, **asked, now_ms=NOW_MS, topic_id="cluster:t//wo/") is None
    again = StreamRun([[score_record(10)]], control=control)
    again.source.topic_ids[SCORES] = "cluster:t//wo/"
    started(again)
    assert again.dead_letters.written == [10]
    assert set(control.items("skip/")) == {
        f"skip/{SCORES}/0/10/cluster:/o+n/e",
        f"skip/{SCORES}/0/10/cluster:t//wo/",
    }


def test_a_skip_is_done_only_once_its_commit_is_confirmed() -> None:
    run = StreamRun([[score_record(10)]])
    skip(run.control, Position(SCORES, 0, 10), reason="r", by="ann@host", now_ms=NOW_MS)
    run.source.lost.add(P0)
    started(run)
    fact = run.control.get(f"skip/{SCORES}/0/10") or {}
    assert (fact["result"], "done" in fact) == ("dead_lettered", False)

    run.source.lost.clear()
    turn(run)
    assert "done" in (run.control.get(f"skip/{SCORES}/0/10") or {})


def test_a_skipped_record_that_is_read_again_before_its_commit_is_named() -> None:
    run = StreamRun([[score_record(10)]])
    skip(run.control, Position(SCORES, 0, 10), reason="r", by="ann@host", now_ms=NOW_MS)
    run.source.lost.add(P0)
    started(run)

    again = StreamRun([[score_record(10)]], control=run.control)
    with structlog.testing.capture_logs() as lines:
        started(again)

    assert again.dead_letters.written == [10]
    assert again.sink.accepted == []
    assert [line["record"] for line in lines if line["code"] == "record_skipped_again"] == [
        f"{SCORES}/0/10"
    ]


def test_a_restart_between_commit_and_note_finishes_a_skip_without_a_second_dead_letter() -> None:
    run = StreamRun([[score_record(10)]])
    skip(run.control, Position(SCORES, 0, 10), reason="r", by="ann@host", now_ms=NOW_MS)
    run.source.lost.add(P0)
    started(run)

    again = StreamRun(control=run.control)
    again.source.committed = {P0: 11}
    started(again)

    fact = run.control.get(f"skip/{SCORES}/0/10") or {}
    assert (fact["result"], "done" in fact) == ("dead_lettered", True)
    assert again.dead_letters.written == []


def test_a_record_that_cannot_be_delivered_is_skipped_and_the_others_go_on() -> None:
    run = StreamRun([[score_record(10), score_record(11, person=2)]])
    run.sink.slow = True
    started(run)
    assert run.source.committed == {}

    skip(run.control, Position(SCORES, 0, 10), reason="poison", by="ann@host", now_ms=NOW_MS)
    turn(run)
    run.sink.slow = False
    turn(run)

    (reject,) = run.dead_letters.rejects
    assert (reject.stage, reject.reason) == (Stage.DELIVER, Reason.SKIPPED)
    assert run.dead_letters.written == [10]
    assert [event.record.offset for event in run.sink.accepted] == [11]
    assert run.source.committed == {P0: 12}
    fact = run.control.get(f"skip/{SCORES}/0/10")
    assert fact is not None
    assert fact["result"] == "dead_lettered"


@pytest.mark.parametrize("text", ["", "topic/0", "topic/x/1", "topic/0/-1", "a/0/1/2"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.parse(text)
