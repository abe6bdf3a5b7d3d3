"""Scores that are corrected, and corrected back: what is sent, and which one is the previous."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from processor.domain.outcome import Outcome
from processor.domain.record import Partition, Record
from processor.state.person import Person, PersonKey
from processor.telemetry.catalogue import CORRECTIONS, RECORDS_SETTLED
from processor.telemetry.labels import CorrectionResult
from tests.support.stream_run import (
    EVENTS,
    FACTS,
    NOW_MS,
    SCORES,
    StreamRun,
    event_record,
    score_record,
)

PEOPLE = 60


def at(record: Record, time_ms: int) -> Record:
    return msgspec.structs.replace(record, timestamp_ms=time_ms)


def there_and_back(*times: int, first: int = 10) -> list[Record]:
    """Return records of 40, 60 and 40 for one date, so many ms apart from now."""
    return [
        at(score_record(offset, score=score), NOW_MS + time)
        for offset, score, time in zip(
            range(first, first + 3), (40.0, 60.0, 40.0), times, strict=True
        )
    ]


def continued(
    run: StreamRun, polls: Sequence[Sequence[Record]], changes: dict[str, Any] | None = None
) -> StreamRun:
    """Return a run that begins with the durable state of another and has these polls behind it."""
    return played(polls, changes, run.state_store.durable)


def played(
    polls: Sequence[Sequence[Record]],
    changes: dict[str, Any] | None = None,
    durable: dict[PersonKey, Person] | None = None,
) -> StreamRun:
    run = StreamRun(polls, changes)
    run.source.group = frozenset(Partition(topic, 0) for topic in (SCORES, EVENTS, FACTS))
    run.state_store.persons, run.state_store.durable = dict(durable or {}), dict(durable or {})
    assert run.finish()
    return run


def scored_event(score: Record) -> Record:
    """Return an experience event that carries a score."""
    event = event_record(score.offset)
    assert event.value is not None
    assert score.value is not None
    content = json.loads(event.value) | {"_acme": json.loads(score.value)["_acme"]}
    value = json.dumps(content).encode()
    return Record(EVENTS, 0, score.offset, score.timestamp_ms, b"any", value)


def sent(run: StreamRun) -> list[float]:
    return [event.score for event in run.sink.accepted]


def previous_scores(run: StreamRun) -> dict[bytes, float]:
    return {
        event.person: json.loads(event.body)["_acme"]["scoreContext"]["previousScore"]
        for event in run.sink.accepted
        if event.scored_at_ms > NOW_MS - 3 * 86_400_000
    }


@pytest.mark.parametrize("in_one_poll", [True, False])
@pytest.mark.parametrize("restart", [True, False])
def test_of_records_with_one_time_the_later_one_is_the_previous_score(
    in_one_poll: bool,  # noqa: FBT001  a parameter of the test
    restart: bool,  # noqa: FBT001  likewise
) -> None:
    people = range(1, PEOPLE + 1)
    first = [score_record(n, person=n, score=20.0 + n / 2) for n in people]
    second = [score_record(100 + n, person=n, score=95.0 - n) for n in people]
    run_after = [score_record(200 + n, person=n, days_ago=1) for n in people]

    past = [[*first, *second]] if in_one_poll else [first, second]
    run = continued(played(past), [run_after]) if restart else played([*past, run_after])

    found = previous_scores(run)
    assert found == {b"ECID|%038d" % n: 95.0 - n for n in people}


@pytest.mark.parametrize("times", [(0, 1, 2), (0, 0, 0), (0, 0, 5), (0, 5, 5)])
@pytest.mark.parametrize("in_one_poll", [True, False])
def test_a_score_that_is_corrected_back_is_sent_three_times(
    times: tuple[int, int, int],
    in_one_poll: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    records = there_and_back(*times)

    run = played([records] if in_one_poll else [[one] for one in records])
    after = continued(run, [records, records[:1], records[1:2], [score_record(20, days_ago=1)]])

    assert sent(run) == [40.0, 60.0, 40.0]
    assert run.metrics.value(CORRECTIONS, "upgrade", CorrectionResult.SENT) == 2
    assert len(sent(after)) == 1
    assert list(previous_scores(after).values()) == [40.0]
    assert after.metrics.value(RECORDS_SETTLED, SCORES, Outcome.DUPLICATE) == 5


def test_a_record_newer_than_the_correction_counts_where_the_first_one_had_a_later_time() -> None:
    run = played([there_and_back(10, 0, 5, first=0)])

    assert sent(run) == [40.0, 60.0, 40.0]
    assert sent(continued(run, [there_and_back(10, 0, 5, first=0)])) == []


def test_an_unchanged_score_that_comes_again_with_a_newer_time_is_a_duplicate() -> None:
    run = played([[at(score_record(offset), NOW_MS + offset)] for offset in range(10, 15)])

    assert len(run.sink.accepted) == 1


def test_corrections_that_are_suppressed_leave_nothing_to_correct_back() -> None:
    run = played([there_and_back(0, 1, 2)], {"join/corrections": "suppress"})

    assert sent(run) == [40.0]
    assert run.metrics.value(CORRECTIONS, "upgrade", CorrectionResult.SUPPRESSED) == 1


def test_a_correction_back_that_is_refused_leaves_the_first_score_delivered() -> None:
    records = there_and_back(0, 1, 2)
    first = played([records[:2]])
    refused = StreamRun([records[2:]])
    refused.state_store.persons = dict(first.state_store.durable)
    refused.sink.refuse_next = 1
    assert refused.finish()

    again = continued(refused, [records])

    assert sent(refused) == []
    assert [event.record.offset for event in again.sink.accepted] == [12]


def test_scores_in_experience_events_count_by_their_own_record_and_not_by_the_message() -> None:
    settings = {"join/repartition_topic": FACTS}
    carried = [scored_event(record) for record in there_and_back(0, 0, 3)]
    values = played([carried], settings).repartition.written
    messages = [
        Record(FACTS, 0, offset, NOW_MS + 1_000 + offset, key, value)
        for offset, (key, value) in enumerate([*values, *values])
    ]

    run = played([messages[:3]], settings)
    again = continued(run, [messages[3:]], settings)

    assert sent(run) == [40.0, 60.0, 40.0]
    assert sent(again) == []
