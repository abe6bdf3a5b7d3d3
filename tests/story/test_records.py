"""The story of the corridor: what happens to records, in which order, told by one list."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
import structlog

from processor.domain.errors import StopError
from processor.domain.outcome import Reason, Stage
from processor.domain.record import Partition, Record
from tests.support.stream_run import EVENTS, NOW_MS, SCORES, Corridor, event_record, score_record


def test_a_batch_is_delivered_then_buried_then_remembered_and_committed_last() -> None:
    bad = Record(SCORES, 0, 12, NOW_MS, b"k", b"{not json")
    corridor = Corridor([[score_record(10, person=1), score_record(11, person=2), bad]])

    assert corridor.run()

    assert corridor.happened == [
        ("joined",),
        ("polled", [10, 11, 12]),
        ("delivered", [10, 11]),
        ("buried", 12, "malformed"),
        ("stored", 2),
        ("committed", [13]),
        ("held", "stopping"),
        ("left",),
    ]


def test_an_event_before_the_score_date_is_in_the_score_event_and_a_later_one_is_not() -> None:
    early, late = event_record(1, days_ago=8, page="Plans"), event_record(2, days_ago=1, page="Bye")
    corridor = Corridor([[early, late], [score_record(10)]])
    corridor.run()

    (event,) = corridor.sink.accepted

    context = json.loads(event.body)["_acme"]["scoreContext"]
    assert context["lastPageName"] == "Plans"
    assert context["eventCounts"] == {"webVisit": 1}
    assert context["contextStatus"] == "complete"


def test_a_second_run_knows_the_first() -> None:
    first = score_record(10, days_ago=14, score=41.0)
    second = score_record(11, days_ago=7, score=82.0)
    corridor = Corridor([[first, second]])
    corridor.run()

    context = json.loads(corridor.sink.accepted[-1].body)["_acme"]["scoreContext"]

    assert context["previousScore"] == 41.0
    assert context["scoreChange"] == 41.0
    assert context["bucketMovement"] == "medium to high"


def test_the_same_score_again_is_merged_and_not_sent() -> None:
    corridor = Corridor([[score_record(10)], [score_record(11)]])

    corridor.run()

    assert [entry for entry in corridor.happened if entry[0] == "delivered"] == [
        ("delivered", [10])
    ]
    assert corridor.source.committed == {(SCORES, 0): 12}
    assert corridor.metrics.value("records_settled", SCORES, "duplicate") == 1


def test_other_content_for_the_same_score_is_sent_as_a_correction_under_the_same_id() -> None:
    corridor = Corridor([[score_record(10, score=82.0)], [score_record(11, score=83.0)]])

    corridor.run()

    first, second = corridor.sink.accepted
    assert first.id == second.id
    assert corridor.metrics.value("corrections", "upgrade", "sent") == 1


@pytest.mark.parametrize("join", [True, False])
def test_a_record_that_contradicts_itself_sends_one_score_of_an_id_and_buries_the_other(
    join: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    corridor = Corridor([[_twice(score_record(10), score=83.0)]], {"join/enabled": join})

    corridor.run()

    (event,) = corridor.sink.accepted
    assert event.score == 82.0
    (reject,) = corridor.dead_letters.rejects
    assert (reject.stage, reject.reason) == (Stage.ENRICH, Reason.BAD_SCORE)
    assert reject.model == "likelihoodToUpgradeACCOUNT"
    assert "Likelihoodtoupgradeaccount" in reject.detail
    assert corridor.source.committed == {(SCORES, 0): 11}


@pytest.mark.parametrize("join", [True, False])
def test_a_record_that_repeats_itself_sends_a_score_once(
    join: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    corridor = Corridor([[_twice(score_record(10))]], {"join/enabled": join})

    corridor.run()

    assert len(corridor.sink.accepted) == 1
    assert corridor.metrics.value("duplicate_scores", "upgrade") == 1
    assert corridor.metrics.value("records_settled", SCORES, "delivered") == 1


def _twice(record: Record, **leaves: Any) -> Record:  # noqa: ANN401  leaves of a score
    """Return a score record that has its model in a second spelling too, with leaves changed."""
    content = json.loads(record.value or b"")
    models = content["_acme"]["CustomerAI"]
    models["likelihoodToUpgradeACCOUNT"] = {**models["LikelihoodToUpgradeAccount"], **leaves}
    return msgspec.structs.replace(record, value=json.dumps(content).encode())


@pytest.mark.parametrize("corrected", [1.0, 30.0, 47.5, 60.0, 99.0])
def test_a_later_score_looks_back_on_the_correction_and_not_on_what_it_corrects(
    corrected: float,
) -> None:
    first, correction = score_record(10, score=82.0), score_record(11, score=corrected)
    correction = msgspec.structs.replace(correction, timestamp_ms=first.timestamp_ms + 1)
    corridor = Corridor([[first], [correction], [score_record(12, days_ago=1)]])

    corridor.run()

    context = json.loads(corridor.sink.accepted[-1].body)["_acme"]["scoreContext"]
    assert context["previousScore"] == corrected


def test_a_correction_is_filtered_where_the_settings_say_so() -> None:
    changes = {"join/corrections": "suppress"}
    polls = [[score_record(10, score=82.0)], [score_record(11, score=83.0)]]
    corridor = Corridor(polls, changes)

    corridor.run()

    assert len(corridor.sink.accepted) == 1
    assert corridor.metrics.value("records_settled", SCORES, "filtered") == 1


def test_what_the_inlet_refuses_is_buried_and_not_remembered_as_delivered() -> None:
    corridor = Corridor()
    corridor.source.add([score_record(10)])
    corridor.sink.refuse_next = 1

    corridor.run()

    assert ("buried", 10, "refused") in corridor.happened
    assert len(corridor.state_store.withdrawn) == 1
    assert corridor.metrics.value("records_settled", SCORES, "dead_lettered") == 1


def test_nothing_is_committed_while_the_inlet_is_down_and_everything_after() -> None:
    corridor = Corridor([[score_record(10)], [score_record(11, person=2)]])
    corridor.begin()
    corridor.sink.unavailable_reason = "upgrade: the inlet refuses"

    for _ in range(50):
        corridor.stream.turn()
    assert corridor.source.committed == {}
    assert "destination" in corridor.source.causes

    corridor.sink.unavailable_reason = None
    for _ in range(5):
        corridor.stream.turn()
    assert corridor.source.committed == {(SCORES, 0): 12}
    assert corridor.source.causes == set()


def test_a_dead_letter_topic_that_cannot_be_written_holds_the_batch() -> None:
    corridor = Corridor([[Record(SCORES, 0, 5, NOW_MS, None, b"[]")]])
    corridor.begin()
    corridor.dead_letters.unavailable_reason = "the topic is not writable"

    for _ in range(50):
        corridor.stream.turn()
    assert corridor.source.committed == {}

    corridor.dead_letters.unavailable_reason = None
    for _ in range(5):
        corridor.stream.turn()
    assert corridor.happened[-2:] == [
        ("buried", 5, "not_an_object"),
        ("committed", [6]),
    ]


def test_records_wait_until_what_is_known_is_restored() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.state_store.restoring = True
    corridor.begin()

    for _ in range(20):
        corridor.stream.turn()
    assert corridor.sink.accepted == []
    assert corridor.health.ready().state == "restoring"

    corridor.state_store.restoring = False
    for _ in range(5):
        corridor.stream.turn()
    assert [event.record.offset for event in corridor.sink.accepted] == [10]


def test_too_many_rejects_stop_the_house_and_what_went_before_is_settled() -> None:
    good = [score_record(1)]
    bad = [Record(SCORES, 0, offset, NOW_MS, None, b"?") for offset in range(2, 12)]
    corridor = Corridor([good, bad], {"dead_letter/stop_after_consecutive": 10})

    with pytest.raises(StopError, match="in a row"):
        corridor.run()

    assert corridor.source.committed == {(SCORES, 0): 2}
    assert not any(entry[0] == "buried" for entry in corridor.happened)


def test_a_stop_with_a_dead_inlet_leaves_the_batch_uncommitted_and_says_so() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    corridor.stream.stop()

    settled = corridor.stream.run()

    assert not settled
    assert corridor.source.committed == {}


def test_partitions_that_leave_are_drained_first() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    corridor.sink.slow = False

    corridor.stream.drain(sorted(corridor.source.assigned))

    assert [event.record.offset for event in corridor.sink.accepted] == [10]
    assert corridor.stream.unsettled == 0


def test_partitions_that_leave_while_a_stop_is_asked_for_are_drained_all_the_same() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    corridor.stream.stop()
    corridor.sink.slow = False

    corridor.stream.drain(sorted(corridor.source.assigned))

    assert [event.record.offset for event in corridor.sink.accepted] == [10]
    assert corridor.stream.unsettled == 0


def test_a_drain_and_the_stop_that_follows_it_share_one_budget() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    corridor.stream.stop()
    began = corridor.clock.monotonic()

    corridor.stream.drain(sorted(corridor.source.assigned))
    corridor.stream.run()

    assert corridor.clock.monotonic() - began < 16


def test_every_record_consumed_has_exactly_one_fate() -> None:
    good, again = score_record(10), score_record(11)
    bad, tombstone = score_record(12, score=130), Record(SCORES, 0, 13, NOW_MS, b"k", None)
    corridor = Corridor([[event_record(1), good, again, bad, tombstone]])

    corridor.run()

    outcomes = {
        outcome: corridor.metrics.total("records_settled", outcome=outcome)
        for outcome in ("delivered", "duplicate", "dead_lettered", "filtered", "stored")
    }
    assert outcomes == {
        "delivered": 1,
        "duplicate": 1,
        "dead_lettered": 1,
        "filtered": 1,
        "stored": 1,
    }


def test_what_was_not_sent_when_its_partition_left_is_left_to_the_new_owner() -> None:
    corridor = Corridor([[score_record(10), score_record(11, person=2)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    assert corridor.stream.unsettled == 2

    corridor.source.assigned = frozenset()
    corridor.stream.revoked([Partition(SCORES, 0)])
    corridor.sink.slow = False
    corridor.stream.turn()

    assert corridor.sink.accepted == []
    assert corridor.stream.unsettled == 0
    assert corridor.metrics.total("score_run_records") == 0


def test_what_another_topic_keeps_in_memory_does_not_count_as_delivered() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()

    corridor.source.assigned = frozenset({Partition(EVENTS, 0)})
    corridor.stream.revoked([Partition(SCORES, 0)])

    ((_, person),) = corridor.state_store.persons.items()
    assert person.scores == {}


def test_a_partition_that_is_lost_and_comes_back_is_sent_once() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()

    corridor.source.lose(corridor.stream)
    corridor.sink.slow = False
    for _ in range(5):
        corridor.stream.turn()

    assert [event.record.offset for event in corridor.sink.accepted] == [10]
    assert corridor.source.committed == {(SCORES, 0): 11}
    assert corridor.metrics.value("records_settled", SCORES, "delivered") == 1


def test_what_the_new_owner_rejects_too_is_not_buried_twice() -> None:
    bad = Record(SCORES, 0, 11, NOW_MS, None, b"{")
    corridor = Corridor([[score_record(10), bad]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()

    corridor.source.lose(corridor.stream)
    corridor.sink.slow = False
    for _ in range(5):
        corridor.stream.turn()

    assert corridor.dead_letters.buried == [11]


def test_what_was_delivered_and_not_settled_when_its_partition_left_is_told() -> None:
    bad = Record(SCORES, 0, 12, NOW_MS, None, b"{")
    corridor = Corridor([[score_record(10), score_record(11, person=2), bad]])
    corridor.begin()
    corridor.sink.slow = True
    corridor.stream.turn()
    corridor.dead_letters.unavailable_reason = "the topic is not writable"
    corridor.sink.slow = False
    corridor.stream.turn()

    with structlog.testing.capture_logs() as lines:
        corridor.source.lose(corridor.stream)
        corridor.dead_letters.unavailable_reason = None
        corridor.stream.turn()

    assert _told(lines) == [("upgrade", "uncommitted", f"{SCORES}/0/10-11", 2)]


def test_what_is_in_doubt_is_told_when_its_batch_settles() -> None:
    corridor = Corridor([[score_record(offset, person=offset) for offset in (10, 11, 12)]])
    corridor.sink.doubt_next = 2

    with structlog.testing.capture_logs() as lines:
        corridor.run()

    assert _told(lines) == [("upgrade", "reset", f"{SCORES}/0/10-11", 2)]


def test_a_stop_tells_what_was_under_way_and_how_long_each_phase_took() -> None:
    corridor = Corridor([[score_record(10)]])
    corridor.sink.slow = True

    with structlog.testing.capture_logs() as lines:
        settled = corridor.processor.run(until=lambda: corridor.stream.unsettled > 0)

    assert not settled
    assert _told(lines) == [("upgrade", "stopped", f"{SCORES}/0/10", 1)]
    phases = {line["part"]: line["seconds"] for line in lines if "phase" in line["event"]}
    assert list(phases) == ["drain", "commit", "sink", "state", "forward", "dead_letters"]
    assert phases["drain"] >= 5


def test_an_inlet_that_refuses_everything_stops_the_house_and_what_is_done_is_committed() -> None:
    corridor = Corridor(
        [[score_record(offset, person=offset)] for offset in range(1, 9)],
        {"dead_letter/stop_after_consecutive": 3},
    )
    corridor.sink.refuse_next = 99

    with pytest.raises(StopError, match="refused by the inlet"):
        corridor.processor.run()

    assert corridor.dead_letters.buried[:3] == [1, 2, 3]
    assert corridor.source.committed == {(SCORES, 0): len(corridor.dead_letters.buried) + 1}


def test_a_limit_that_is_passed_again_while_the_house_stops_does_not_keep_it_from_leaving() -> None:
    polls = [[score_record(offset, person=offset)] for offset in range(1, 5)]
    corridor = Corridor(polls, {"dead_letter/stop_after_consecutive": 1})
    corridor.sink.slow = True
    corridor.begin()
    for _ in polls:
        corridor.stream.turn()
    corridor.sink.slow, corridor.sink.refuse_next = False, 4

    with pytest.raises(StopError, match="refused by the inlet"):
        corridor.processor.run()

    assert corridor.source.committed == {(SCORES, 0): 5}
    assert corridor.happened[-1] == ("left",)


def test_the_age_of_what_a_context_knows_is_observed() -> None:
    corridor = Corridor([[event_record(1, days_ago=9), event_record(2, days_ago=1)]])
    corridor.source.add([score_record(10, days_ago=7)])
    corridor.run()

    counts, total = corridor.metrics.histogram("join_match_age_seconds").snapshot()

    assert counts[-1] == 1
    assert 86_400 < total < 3 * 86_400


def _told(lines: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (line["route"], line["cause"], line["places"], line["events"])
        for line in lines
        if line["event"] == "Events may be in the dataset twice."
    ]
