"""The story of experience events that are keyed otherwise: round by the internal topic."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from processor.codec.repartition_message import decode, encode
from processor.domain.event import Fact, RepartitionMessage
from processor.domain.record import Partition, Record
from tests.support.stream_run import (
    EVENTS,
    FACTS,
    NOW_MS,
    SCORES,
    Corridor,
    event_record,
    score_record,
)

ID = b"%038d" % 1
PERSON = b"ECID|" + ID


def corridor_of(*polls: Sequence[Record], **changes: Any) -> Corridor:  # noqa: ANN401
    join = {f"join/{key}": value for key, value in changes.items()}
    corridor = Corridor(polls, {"join/repartition_topic": FACTS, **join})
    mine = [(SCORES, 0), (FACTS, 0), (EVENTS, 0), (EVENTS, 7)]
    corridor.source.group = frozenset(Partition(*one) for one in mine)
    return corridor


def message(offset: int, value: bytes) -> Record:
    return Record(FACTS, 0, offset, NOW_MS, ID, value)


def scored_event(offset: int, **leaves: Any) -> Record:  # noqa: ANN401
    """Return an experience event that carries a score, far from its person's partition."""
    event, score = event_record(offset), score_record(offset, **leaves)
    assert event.value is not None
    assert score.value is not None
    content = json.loads(event.value) | {"_acme": json.loads(score.value)["_acme"]}
    return Record(EVENTS, 7, offset, NOW_MS, b"any", json.dumps(content).encode())


def context_of(corridor: Corridor) -> dict[str, Any]:
    context: dict[str, Any] = json.loads(corridor.sink.accepted[-1].body)["_acme"]["scoreContext"]
    return context


def test_an_experience_event_is_forwarded_to_its_person_and_then_committed() -> None:
    corridor = corridor_of([event_record(1)])

    assert corridor.run()

    ((key, value),) = corridor.repartition.written
    assert (key, decode(value).person) == (ID, PERSON)
    assert corridor.state_store.durable == {}
    assert corridor.happened.index(("repartitioned", 1)) < corridor.happened.index(
        ("committed", [2])
    )
    assert corridor.metrics.value("records_settled", EVENTS, "repartitioned") == 1


def test_messages_have_the_person_s_namespace_in_their_key_where_scores_have() -> None:
    corridor = corridor_of([event_record(1)], repartition_key="namespaced")

    corridor.run()

    assert corridor.repartition.written[0][0] == PERSON


def test_an_internal_topic_that_cannot_be_written_holds_and_loses_nothing() -> None:
    corridor = corridor_of([event_record(1)])
    corridor.begin()
    corridor.repartition.unavailable_reason = "the topic is not writable"

    for _ in range(50):
        corridor.stream.turn()
    assert corridor.source.committed == {}
    assert "forward" in corridor.source.causes

    corridor.repartition.unavailable_reason = None
    for _ in range(5):
        corridor.stream.turn()
    assert corridor.source.committed == {(EVENTS, 0): 2}
    assert corridor.dead_letters.buried == []


def test_a_fact_that_was_forwarded_is_in_the_score_event() -> None:
    fact = Fact(NOW_MS - 8 * 86_400_000, "event-1", "web", ("webVisit",), page="Plans")
    corridor = corridor_of(
        [message(3, encode(RepartitionMessage(PERSON, fact)))], [score_record(10)]
    )

    corridor.run()

    assert context_of(corridor)["lastPageName"] == "Plans"
    assert corridor.metrics.value("records_settled", FACTS, "stored") == 1


def test_a_fact_that_is_forwarded_twice_counts_once() -> None:
    first = corridor_of([event_record(1), event_record(1)])
    first.run()
    messages = [message(at, value) for at, (_, value) in enumerate(first.repartition.written)]
    corridor = corridor_of(messages, [score_record(10)])

    corridor.run()

    assert len(messages) == 2
    assert context_of(corridor)["eventCounts"] == {"webVisit": 1}


@pytest.mark.parametrize("value", [b"{}", b"\x01", b"\x02\x91\xc4\x06ECID|1"])
def test_a_broken_message_is_buried_as_malformed(value: bytes) -> None:
    corridor = corridor_of([message(3, value)])

    corridor.run()

    assert ("buried", 3, "malformed") in corridor.happened
    assert corridor.source.committed == {(FACTS, 0): 4}


def test_a_message_from_the_far_future_or_past_harms_nobody() -> None:
    ends = [2**63 - 1, -(2**63), 2**64 - 1]
    corridor = corridor_of(
        [
            message(at, encode(RepartitionMessage(PERSON, Fact(end, "x"))))
            for at, end in enumerate(ends)
        ],
        [score_record(10)],
    )

    corridor.run()

    assert context_of(corridor)["contextStatus"] == "none"
    assert corridor.metrics.value("records_filtered", "event_in_future") == 2


def test_a_score_in_an_experience_event_is_sent_from_where_its_person_lives() -> None:
    first = corridor_of([scored_event(1)])
    first.run()
    assert first.sink.accepted == []
    ((_, value),) = first.repartition.written
    again = message(4, value)

    corridor = corridor_of([message(3, value), again])
    corridor.run()

    assert [event.record.offset for event in corridor.sink.accepted] == [3]
    assert context_of(corridor)["eventCounts"] == {"webVisit": 1}
    assert set(corridor.state_store.durable) == {(0, PERSON)}
    assert corridor.metrics.value("records_settled", FACTS, "duplicate") == 1


def test_a_bad_score_in_an_experience_event_is_buried_with_its_own_record() -> None:
    corridor = corridor_of([scored_event(1, score=130)])

    corridor.run()

    assert ("buried", 1, "bad_score") in corridor.happened
    assert [decode(value).scores for _, value in corridor.repartition.written] == [()]
    assert corridor.metrics.value("records_settled", EVENTS, "dead_lettered") == 1


def test_a_record_too_large_to_be_forwarded_is_buried_and_does_not_hold_the_others() -> None:
    factors = [{"code": "x" * 950_000, "value": "1", "importance": "high"}]
    corridor = corridor_of([scored_event(1, influentialFactors=factors), event_record(2)])

    corridor.run()

    assert ("buried", 1, "too_large") in corridor.happened
    assert len(corridor.repartition.written) == 1


def test_partitions_of_experience_events_are_nobody_s_home() -> None:
    corridor = corridor_of([event_record(1)])
    corridor.begin()
    corridor.stream.turn()
    assert corridor.state_store.owned == {0}

    left = frozenset({Partition(EVENTS, 0), Partition(EVENTS, 7)})
    corridor.source.assigned -= left
    corridor.stream.revoked(sorted(left))
    assert corridor.state_store.owned == {0}


def test_scores_that_are_keyed_otherwise_than_messages_are_counted() -> None:
    stray = score_record(10)
    right = score_record(11, person=2)
    right = Record(SCORES, 0, 11, NOW_MS, b"%038d" % 2, right.value)
    corridor = corridor_of([stray, right])

    corridor.run()

    assert corridor.metrics.value("misplaced_records", SCORES) == 1
