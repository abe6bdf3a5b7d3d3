"""A record that is skipped by hand, and what is known of one that fails alone."""

from collections.abc import Iterable

import pytest
import structlog

from processor.control.pauses import resume
from processor.control.skips import skip
from processor.domain.control import ControlStore, InMemoryControlStore
from processor.domain.errors import Gap
from processor.domain.event import RetriedEvent, SuspectHistory
from processor.domain.outcome import Outcome, Reason, Stage
from processor.domain.record import Partition, Position, Record
from processor.telemetry.catalogue import RECORDS_SETTLED
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record, started, turn

P0 = Partition(SCORES, 0)
LIMIT = {"dead_letter/stop_after_consecutive": 10}
GAP = Gap("below_start", "cluster:one", 11, 20)


def bad(offsets: Iterable[int]) -> list[Record]:
    return [Record(SCORES, 0, offset, NOW_MS, None, b"?") for offset in offsets]


def end_pauses(control: ControlStore) -> list[str]:
    return resume(control, by="ann@host", now_ms=NOW_MS)


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


def test_what_is_known_of_a_suspect_outlives_the_process_until_its_record_is_settled() -> None:
    run = StreamRun([[score_record(10)]])
    run.sink.slow = True
    started(run)
    history = SuspectHistory(NOW_MS, 5, NOW_MS, 700, 0, 0, 4, NOW_MS)
    failing = RetriedEvent(f"{SCORES}/0/10", "upgrade", 5, NOW_MS, "server_error", history)
    run.sink.retried = [failing]
    run.stream.stop()
    run.stream.run()

    assert list(run.control.items("suspect/")) == [f"suspect/{failing.key}"]
    again = StreamRun([[score_record(10)]], control=run.control)
    started(again)
    turn(again)

    assert again.source.committed == {P0: 11}
    assert run.control.items("suspect/") == {}


def test_a_history_is_shown_to_the_next_replica_and_forgotten_after_a_week() -> None:
    run = started(StreamRun())
    history = SuspectHistory(NOW_MS, 5, NOW_MS, 700, 0, 0, 4, NOW_MS)
    failing = RetriedEvent(f"{SCORES}/0/10", "upgrade", 5, NOW_MS, "server_error", history)
    run.sink.retried = [failing]
    run.clock.advance(20)
    turn(run)

    other = started(StreamRun(control=run.control))
    assert other.sink.recalled == {failing.key: history}

    other.clock.advance(8 * 86_400)
    turn(other)
    assert other.sink.recalled == {}


@pytest.mark.parametrize("text", ["", "topic/0", "topic/x/1", "topic/0/-1", "a/0/1/2"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        Position.parse(text)
