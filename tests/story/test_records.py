"""What happens to records from poll to commit, and in which order, as one list of steps."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
import structlog

from processor.domain.outcome import Outcome, Reason, Stage
from processor.domain.record import Partition, Record
from processor.telemetry.catalogue import (
    CORRECTIONS,
    DUPLICATE_SCORES,
    JOIN_MATCH_AGE_SECONDS,
    RECORDS_SETTLED,
    SCORE_RUN_RECORDS,
)
from processor.telemetry.labels import CorrectionResult
from tests.support.stream_run import EVENTS, NOW_MS, SCORES, StreamRun, event_record, score_record


def test_a_batch_is_delivered_then_dead_lettered_then_stored_and_committed_last() -> None:
    bad = Record(SCORES, 0, 12, NOW_MS, b"k", b"{not json")
    run = StreamRun([[score_record(10, person=1), score_record(11, person=2), bad]])

    assert run.finish()

    assert run.steps == [
        ("joined",),
        ("polled", [10, 11, 12]),
        ("delivered", [10, 11]),
        ("dead_lettered", 12, "malformed"),
        ("stored", 2),
        ("committed", [13]),
        ("paused", "stopping"),
        ("left",),
    ]


def test_an_event_before_the_score_date_is_in_the_score_event_and_a_later_one_is_not() -> None:
    early, late = event_record(1, days_ago=8, page="Plans"), event_record(2, days_ago=1, page="Bye")
    run = StreamRun([[early, late], [score_record(10)]])
    run.finish()

    (event,) = run.sink.accepted

    context = json.loads(event.body)["_acme"]["scoreContext"]
    assert context["lastPageName"] == "Plans"
    assert context["eventCounts"] == {"webVisit": 1}
    assert context["contextStatus"] == "complete"


def test_a_second_score_has_the_first_as_its_previous_score() -> None:
    first = score_record(10, days_ago=14, score=41.0)
    second = score_record(11, days_ago=7, score=82.0)
    run = StreamRun([[first, second]])
    run.finish()

    context = json.loads(run.sink.accepted[-1].body)["_acme"]["scoreContext"]

    assert context["previousScore"] == 41.0
    assert context["scoreChange"] == 41.0
    assert context["bucketMovement"] == "medium to high"


def test_a_score_that_was_delivered_before_is_a_duplicate_and_not_sent() -> None:
    run = StreamRun([[score_record(10)], [score_record(11)]])

    run.finish()

    assert [entry for entry in run.steps if entry[0] == "delivered"] == [("delivered", [10])]
    assert run.source.committed == {(SCORES, 0): 12}
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DUPLICATE) == 1


def test_other_content_for_the_same_score_is_sent_as_a_correction_under_the_same_id() -> None:
    run = StreamRun([[score_record(10, score=82.0)], [score_record(11, score=83.0)]])

    run.finish()

    first, second = run.sink.accepted
    assert first.id == second.id
    assert run.metrics.value(CORRECTIONS, "upgrade", CorrectionResult.SENT) == 1


@pytest.mark.parametrize("join", [True, False])
def test_a_record_with_two_scores_of_one_id_sends_one_and_dead_letters_the_other(
    join: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    run = StreamRun([[_twice(score_record(10), score=83.0)]], {"join/enabled": join})

    run.finish()

    (event,) = run.sink.accepted
    assert event.score == 82.0
    (reject,) = run.dead_letters.rejects
    assert (reject.stage, reject.reason) == (Stage.ENRICH, Reason.BAD_SCORE)
    assert reject.model == "likelihoodToUpgradeACCOUNT"
    assert "Likelihoodtoupgradeaccount" in reject.detail
    assert run.source.committed == {(SCORES, 0): 11}


@pytest.mark.parametrize("join", [True, False])
def test_a_record_with_the_same_score_twice_sends_it_once(
    join: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    run = StreamRun([[_twice(score_record(10))]], {"join/enabled": join})

    run.finish()

    assert len(run.sink.accepted) == 1
    assert run.metrics.value(DUPLICATE_SCORES, "upgrade") == 1
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DELIVERED) == 1


def _twice(record: Record, **leaves: Any) -> Record:  # noqa: ANN401  leaves of a score
    """Return a score record that has its model in a second spelling too, with leaves changed."""
    content = json.loads(record.value or b"")
    models = content["_acme"]["CustomerAI"]
    models["likelihoodToUpgradeACCOUNT"] = {**models["LikelihoodToUpgradeAccount"], **leaves}
    return msgspec.structs.replace(record, value=json.dumps(content).encode())


@pytest.mark.parametrize("corrected", [1.0, 30.0, 47.5, 60.0, 99.0])
def test_the_previous_score_is_the_correction_and_not_the_corrected_score(
    corrected: float,
) -> None:
    first, correction = score_record(10, score=82.0), score_record(11, score=corrected)
    correction = msgspec.structs.replace(correction, timestamp_ms=first.timestamp_ms + 1)
    run = StreamRun([[first], [correction], [score_record(12, days_ago=1)]])

    run.finish()

    context = json.loads(run.sink.accepted[-1].body)["_acme"]["scoreContext"]
    assert context["previousScore"] == corrected


def test_a_correction_is_filtered_where_the_settings_suppress_it() -> None:
    changes = {"join/corrections": "suppress"}
    polls = [[score_record(10, score=82.0)], [score_record(11, score=83.0)]]
    run = StreamRun(polls, changes)

    run.finish()

    assert len(run.sink.accepted) == 1
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.FILTERED) == 1


def test_a_refused_event_is_dead_lettered_and_not_stored_as_delivered() -> None:
    run = StreamRun()
    run.source.add([score_record(10)])
    run.sink.refuse_next = 1

    run.finish()

    assert ("dead_lettered", 10, "refused") in run.steps
    assert len(run.state_store.withdrawn) == 1
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DEAD_LETTERED) == 1


def test_nothing_is_committed_while_the_inlet_is_down_and_everything_after() -> None:
    run = StreamRun([[score_record(10)], [score_record(11, person=2)]])
    run.start()
    run.sink.unavailable_reason = "upgrade: the inlet refuses"

    for _ in range(50):
        run.stream.run_once()
    assert run.source.committed == {}
    assert "destination" in run.source.causes

    run.sink.unavailable_reason = None
    for _ in range(5):
        run.stream.run_once()
    assert run.source.committed == {(SCORES, 0): 12}
    assert run.source.causes == set()


def test_nothing_is_committed_while_dead_letters_cannot_be_written() -> None:
    run = StreamRun([[Record(SCORES, 0, 5, NOW_MS, None, b"[]")]])
    run.start()
    run.dead_letters.unavailable_reason = "the topic is not writable"

    for _ in range(50):
        run.stream.run_once()
    assert run.source.committed == {}

    run.dead_letters.unavailable_reason = None
    for _ in range(5):
        run.stream.run_once()
    assert run.steps[-2:] == [
        ("dead_lettered", 5, "not_an_object"),
        ("committed", [6]),
    ]


def test_intake_is_paused_while_schemas_cannot_be_fetched_and_resumed_after() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.reader.unavailable_reason = "no response in 5 s"

    for _ in range(3):
        run.stream.run_once()
    assert run.source.causes == {"registry"}
    assert run.stream.unsettled == 1

    run.reader.unavailable_reason = None
    run.clock.advance(5)
    for _ in range(5):
        run.stream.run_once()
    assert run.source.causes == set()
    assert run.source.committed == {(SCORES, 0): 11}


def test_records_wait_until_person_state_is_restored() -> None:
    run = StreamRun([[score_record(10)]])
    run.state_store.unready = {0}
    run.start()

    for _ in range(20):
        run.stream.run_once()
    assert run.sink.accepted == []
    assert run.health.ready().state == "restoring"

    run.state_store.unready = set()
    for _ in range(5):
        run.stream.run_once()
    assert [event.record.offset for event in run.sink.accepted] == [10]


def test_a_stop_while_the_inlet_is_down_leaves_the_batch_uncommitted_and_returns_false() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    run.stream.stop()

    settled = run.stream.run()

    assert not settled
    assert run.source.committed == {}


def test_partitions_are_drained_before_they_are_revoked() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    run.sink.slow = False

    run.stream.drain(sorted(run.source.assigned))

    assert [event.record.offset for event in run.sink.accepted] == [10]
    assert run.stream.unsettled == 0


def test_partitions_that_are_revoked_during_a_stop_are_drained_too() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    run.stream.stop()
    run.sink.slow = False

    run.stream.drain(sorted(run.source.assigned))

    assert [event.record.offset for event in run.sink.accepted] == [10]
    assert run.stream.unsettled == 0


def test_a_drain_and_the_stop_that_follows_it_share_one_deadline() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    run.stream.stop()
    began = run.clock.monotonic()

    run.stream.drain(sorted(run.source.assigned))
    run.stream.run()

    assert run.clock.monotonic() - began < 16


def test_every_consumed_record_has_exactly_one_outcome() -> None:
    good, again = score_record(10), score_record(11)
    bad, tombstone = score_record(12, score=130), Record(SCORES, 0, 13, NOW_MS, b"k", None)
    run = StreamRun([[event_record(1), good, again, bad, tombstone]])

    run.finish()

    outcomes = {
        outcome: run.metrics.total(RECORDS_SETTLED, outcome=outcome)
        for outcome in ("delivered", "duplicate", "dead_lettered", "filtered", "stored")
    }
    assert outcomes == {
        "delivered": 1,
        "duplicate": 1,
        "dead_lettered": 1,
        "filtered": 1,
        "stored": 1,
    }


def test_unsent_records_of_a_revoked_partition_are_left_to_the_new_owner() -> None:
    run = StreamRun([[score_record(10), score_record(11, person=2)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    assert run.stream.unsettled == 2

    run.source.assigned = frozenset()
    run.stream.revoked([Partition(SCORES, 0)])
    run.sink.slow = False
    run.stream.run_once()

    assert run.sink.accepted == []
    assert run.stream.unsettled == 0
    assert run.metrics.total(SCORE_RUN_RECORDS) == 0


def test_undelivered_scores_are_removed_from_state_that_another_topic_still_needs() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()

    run.source.assigned = frozenset({Partition(EVENTS, 0)})
    run.stream.revoked([Partition(SCORES, 0)])

    ((_, person),) = run.state_store.persons.items()
    assert person.scores == {}


def test_a_partition_that_is_lost_and_assigned_again_is_sent_once() -> None:
    run = StreamRun([[score_record(10)]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()

    run.source.lose(run.stream)
    run.sink.slow = False
    for _ in range(5):
        run.stream.run_once()

    assert [event.record.offset for event in run.sink.accepted] == [10]
    assert run.source.committed == {(SCORES, 0): 11}
    assert run.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DELIVERED) == 1


def test_a_reject_of_a_lost_partition_is_dead_lettered_once() -> None:
    bad = Record(SCORES, 0, 11, NOW_MS, None, b"{")
    run = StreamRun([[score_record(10), bad]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()

    run.source.lose(run.stream)
    run.sink.slow = False
    for _ in range(5):
        run.stream.run_once()

    assert run.dead_letters.written == [11]


def test_delivered_events_of_a_lost_partition_are_logged_as_in_doubt() -> None:
    bad = Record(SCORES, 0, 12, NOW_MS, None, b"{")
    run = StreamRun([[score_record(10), score_record(11, person=2), bad]])
    run.start()
    run.sink.slow = True
    run.stream.run_once()
    run.dead_letters.unavailable_reason = "the topic is not writable"
    run.sink.slow = False
    run.stream.run_once()

    with structlog.testing.capture_logs() as lines:
        run.source.lose(run.stream)
        run.dead_letters.unavailable_reason = None
        run.stream.run_once()

    assert _in_doubt(lines) == [("upgrade", "uncommitted", f"{SCORES}/0/10-11", 2)]


def test_events_in_doubt_are_logged_when_their_batch_settles() -> None:
    run = StreamRun([[score_record(offset, person=offset) for offset in (10, 11, 12)]])
    run.sink.in_doubt_next = 2

    with structlog.testing.capture_logs() as lines:
        run.finish()

    assert _in_doubt(lines) == [("upgrade", "reset", f"{SCORES}/0/10-11", 2)]


def test_a_stop_logs_unsettled_events_and_the_duration_of_each_phase() -> None:
    run = StreamRun([[score_record(10)]])
    run.sink.slow = True

    with structlog.testing.capture_logs() as lines:
        settled = run.processor.run(until=lambda: run.stream.unsettled > 0)

    assert not settled
    assert _in_doubt(lines) == [("upgrade", "stopped", f"{SCORES}/0/10", 1)]
    phases = {
        line["phase"]: line["seconds"] for line in lines if line["code"] == "stop_phase_ended"
    }
    assert list(phases) == [
        "drain",
        "commit",
        "sink",
        "state",
        "repartition",
        "control",
        "dead_letters",
    ]
    assert phases["drain"] >= 5


def test_the_age_of_the_newest_fact_in_a_context_is_observed() -> None:
    run = StreamRun([[event_record(1, days_ago=9), event_record(2, days_ago=1)]])
    run.source.add([score_record(10, days_ago=7)])
    run.finish()

    counts, total = run.metrics.histogram(JOIN_MATCH_AGE_SECONDS).snapshot()

    assert counts[-1] == 1
    assert 86_400 < total < 3 * 86_400


def _in_doubt(lines: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (line["route"], line["cause"], line["ranges"], line["events"])
        for line in lines
        if line["code"] == "events_in_doubt"
    ]
