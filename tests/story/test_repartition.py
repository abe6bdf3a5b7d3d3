"""Experience events that are not keyed by their person, through the repartition topic."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from processor.codec.repartition_message import decode, encode
from processor.domain.event import Fact, RepartitionMessage
from processor.domain.outcome import FilterRule, Outcome
from processor.domain.record import Partition, Record
from processor.telemetry.catalogue import MISPLACED_RECORDS, RECORDS_FILTERED, RECORDS_SETTLED
from tests.support.stream_run import (
    EVENTS,
    FACTS,
    NOW_MS,
    SCORES,
    StreamRun,
    event_record,
    score_record,
)

ID = b"%038d" % 1
PERSON = b"ECID|" + ID


def run_of(*polls: Sequence[Record], **changes: Any) -> StreamRun:  # noqa: ANN401
    join = {f"join/{key}": value for key, value in changes.items()}
    run = StreamRun(polls, {"join/repartition_topic": FACTS, **join})
    mine = [(SCORES, 0), (FACTS, 0), (EVENTS, 0), (EVENTS, 7)]
    run.source.group = frozenset(Partition(*one) for one in mine)
    return run


def message(offset: int, value: bytes) -> Record:
    return Record(FACTS, 0, offset, NOW_MS, ID, value)


def scored_event(offset: int, **leaves: Any) -> Record:  # noqa: ANN401
    """Return an experience event that carries a score, on another partition than its person's."""
    event, score = event_record(offset), score_record(offset, **leaves)
    assert event.value is not None
    assert score.value is not None
    content = json.loads(event.value) | {"_acme": json.loads(score.value)["_acme"]}
    return Record(EVENTS, 7, offset, NOW_MS, b"any", json.dumps(content).encode())


def context_of(run: StreamRun) -> dict[str, Any]:
    context: dict[str, Any] = json.loads(run.sink.accepted[-1].body)["_acme"]["scoreContext"]
    return context


def test_an_experience_event_is_repartitioned_and_then_committed() -> None:
    run = run_of([event_record(1)])

    assert run.finish()

    ((key, value),) = run.repartition.written
    assert (key, decode(value).person) == (ID, PERSON)
    assert run.state_store.durable == {}
    assert run.steps.index(("repartitioned", 1)) < run.steps.index(("committed", [2]))
    assert run.metrics.value(RECORDS_SETTLED, EVENTS, Outcome.REPARTITIONED) == 1


def test_the_key_of_a_message_has_the_namespace_where_keys_of_scores_have_it() -> None:
    run = run_of([event_record(1)], repartition_key="namespaced")

    run.finish()

    assert run.repartition.written[0][0] == PERSON


def test_nothing_is_committed_while_the_repartition_topic_cannot_be_written() -> None:
    run = run_of([event_record(1)])
    run.start()
    run.repartition.unavailable_reason = "the topic is not writable"

    for _ in range(50):
        run.stream.run_once()
    assert run.source.committed == {}
    assert "repartition" in run.source.causes

    run.repartition.unavailable_reason = None
    for _ in range(5):
        run.stream.run_once()
    assert run.source.committed == {(EVENTS, 0): 2}
    assert run.dead_letters.written == []


def test_a_repartitioned_fact_is_in_the_score_event() -> None:
    fact = Fact(NOW_MS - 8 * 86_400_000, "event-1", "web", ("webVisit",), page="Plans")
    run = run_of([message(3, encode(RepartitionMessage(PERSON, fact)))], [score_record(10)])

    run.finish()

    assert context_of(run)["lastPageName"] == "Plans"
    assert run.metrics.value(RECORDS_SETTLED, FACTS, Outcome.STORED) == 1


def test_a_fact_that_is_repartitioned_twice_counts_once() -> None:
    first = run_of([event_record(1), event_record(1)])
    first.finish()
    messages = [message(at, value) for at, (_, value) in enumerate(first.repartition.written)]
    run = run_of(messages, [score_record(10)])

    run.finish()

    assert len(messages) == 2
    assert context_of(run)["eventCounts"] == {"webVisit": 1}


@pytest.mark.parametrize("value", [b"{}", b"\x01", b"\x02\x91\xc4\x06ECID|1"])
def test_a_broken_message_is_dead_lettered_as_malformed(value: bytes) -> None:
    run = run_of([message(3, value)])

    run.finish()

    assert ("dead_lettered", 3, "malformed") in run.steps
    assert run.source.committed == {(FACTS, 0): 4}


def test_a_message_from_the_far_future_or_past_changes_no_context() -> None:
    ends = [2**63 - 1, -(2**63), 2**64 - 1]
    run = run_of(
        [
            message(at, encode(RepartitionMessage(PERSON, Fact(end, "x"))))
            for at, end in enumerate(ends)
        ],
        [score_record(10)],
    )

    run.finish()

    assert context_of(run)["contextStatus"] == "none"
    assert run.metrics.value(RECORDS_FILTERED, FilterRule.EVENT_IN_FUTURE) == 2


def test_a_score_in_an_experience_event_is_sent_from_the_partition_of_its_person() -> None:
    first = run_of([scored_event(1)])
    first.finish()
    assert first.sink.accepted == []
    ((_, value),) = first.repartition.written
    again = message(4, value)

    run = run_of([message(3, value), again])
    run.finish()

    assert [event.record.offset for event in run.sink.accepted] == [3]
    assert context_of(run)["eventCounts"] == {"webVisit": 1}
    assert set(run.state_store.durable) == {(0, PERSON)}
    assert run.metrics.value(RECORDS_SETTLED, FACTS, Outcome.DUPLICATE) == 1


def test_a_bad_score_in_an_experience_event_dead_letters_the_original_record() -> None:
    run = run_of([scored_event(1, score=130)])

    run.finish()

    assert ("dead_lettered", 1, "bad_score") in run.steps
    assert [decode(value).scores for _, value in run.repartition.written] == [()]
    assert run.metrics.value(RECORDS_SETTLED, EVENTS, Outcome.DEAD_LETTERED) == 1


def test_a_record_too_large_to_repartition_is_dead_lettered_and_others_go_on() -> None:
    factors = [{"code": "x" * 950_000, "value": "1", "importance": "high"}]
    run = run_of([scored_event(1, influentialFactors=factors), event_record(2)])

    run.finish()

    assert ("dead_lettered", 1, "too_large") in run.steps
    assert len(run.repartition.written) == 1


def test_partitions_of_repartitioned_events_have_no_state() -> None:
    run = run_of([event_record(1)])
    run.start()
    run.stream.run_once()
    assert run.state_store.assigned_numbers == {0}

    left = frozenset({Partition(EVENTS, 0), Partition(EVENTS, 7)})
    run.source.assigned -= left
    run.stream.revoked(sorted(left))
    assert run.state_store.assigned_numbers == {0}


def test_scores_with_another_key_than_messages_are_counted_as_misplaced() -> None:
    stray = score_record(10)
    right = score_record(11, person=2)
    right = Record(SCORES, 0, 11, NOW_MS, b"%038d" % 2, right.value)
    run = run_of([stray, right])

    run.finish()

    assert run.metrics.value(MISPLACED_RECORDS, SCORES) == 1
