"""Laws of the join: person state and sent events do not depend on how the input arrived.

A crash is a new stream on the durable state, whose input starts at the committed offsets.
"""

import itertools
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from processor.domain.record import Record
from processor.state.format.score_history import split
from processor.state.person import Person, PersonKey
from tests.support.stream_run import EVENTS, SCORES, StreamRun, event_record, score_record

_PERSONS = 2


class HistoryResult(NamedTuple):
    """The result of a whole history: persons, and for each `_id` every accepted body."""

    persons: dict[PersonKey, Person]
    bodies: dict[str, set[bytes]]
    accepted: int


class _Event(NamedTuple):
    person: int
    hours_ago: int
    page: str


class _Score(NamedTuple):
    person: int
    weeks_ago: int
    value: float


events = st.lists(
    st.builds(_Event, st.integers(1, _PERSONS), st.integers(24, 24 * 40), st.sampled_from("ABC")),
    max_size=8,
)
scores = st.lists(
    st.builds(_Score, st.integers(1, _PERSONS), st.integers(1, 4), st.integers(0, 100)),
    max_size=5,
    unique_by=lambda score: (score.person, score.weeks_ago),
)


def _event(number: int, event: _Event) -> Record:
    days_ago = event.hours_ago / 24
    return event_record(number, person=event.person, days_ago=days_ago, page=event.page)


def _score(number: int, score: _Score) -> Record:
    return score_record(
        number, person=score.person, days_ago=7 * score.weeks_ago, score=float(score.value)
    )


def _numbered(records: list[Record]) -> list[Record]:
    """Give records the offsets they have in this order, by topic."""
    ends = {SCORES: 0, EVENTS: 0}
    numbered = []
    for record in records:
        offset = ends[record.topic]
        ends[record.topic] += 1
        numbered.append(
            Record(record.topic, 0, offset, record.timestamp_ms, record.key, record.value)
        )
    return numbered


def _play(records: list[Record], cuts: list[int], crashes: list[int]) -> HistoryResult:
    """Run records through the run in batches, with crashes after so many turns."""
    durable: dict[PersonKey, Person] = {}
    committed: dict[tuple[str, int], int] = {}
    bodies: dict[str, set[bytes]] = {}
    accepted = 0
    for turns in [*crashes, None]:
        left = [one for one in records if one.offset >= committed.get((one.topic, 0), 0)]
        run = StreamRun(_batches(left, cuts), {"kafka/commit_seconds": 0.001})
        run.state_store.persons, run.state_store.durable = dict(durable), dict(durable)
        if turns is None:
            assert run.finish()
        else:
            run.start()
            for _ in range(turns):
                run.stream.run_once()
        committed |= run.source.committed
        durable = run.state_store.durable
        accepted += len(run.sink.accepted)
        for event in run.sink.accepted:
            bodies.setdefault(event.id, set()).add(event.body)
    return HistoryResult(durable, bodies, accepted)


def _batches(records: list[Record], cuts: list[int]) -> list[list[Record]]:
    places = sorted({cut % (len(records) + 1) for cut in cuts} | {0, len(records)})
    return [records[a:b] for a, b in itertools.pairwise(places)]


@given(
    events,
    scores,
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 30), max_size=4),
    st.lists(st.integers(0, 6), max_size=2),
)
@profile(max_examples=60, deadline=None)
def test_the_same_records_give_the_same_state_in_any_order_any_number_of_times(
    events: list[_Event], scores: list[_Score], dice: Random, cuts: list[int], crashes: list[int]
) -> None:
    records = [_event(at, one) for at, one in enumerate(events)]
    records += [_score(at, one) for at, one in enumerate(scores)]
    shuffled = records + [one for one in records if dice.random() < 0.3]
    dice.shuffle(shuffled)

    plain = _play(_numbered(records), [], [])
    other = _play(_numbered(shuffled), cuts, crashes)

    assert _without_positions(other.persons) == _without_positions(plain.persons)


def _without_positions(persons: dict[PersonKey, Person]) -> dict[PersonKey, object]:
    """Return persons without the positions of score records, which differ with the order."""
    return {
        key: (
            person.facts,
            person.cut,
            {
                model: [entry[:8] + entry[24:] for entry in split(history)]
                for model, history in person.scores.items()
            },
        )
        for key, person in persons.items()
    }


@given(
    events,
    scores,
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 30), max_size=4),
    st.lists(st.integers(0, 6), max_size=2),
)
@profile(max_examples=60, deadline=None)
def test_scores_that_come_after_their_events_give_the_same_bytes_however_they_come(
    events: list[_Event], scores: list[_Score], dice: Random, cuts: list[int], crashes: list[int]
) -> None:
    in_order = sorted(scores, key=lambda score: -score.weeks_ago)
    plain = _play(_numbered(_interleaved(events, in_order, None)), [], [])
    other = _play(_numbered(_interleaved(events, in_order, dice)), cuts, crashes)

    assert all(len(each) == 1 for each in other.bodies.values())
    assert other.bodies == plain.bodies
    if not crashes:
        assert other.accepted == len(scores)


def _interleaved(events: list[_Event], scores: list[_Score], dice: Random | None) -> list[Record]:
    """Put scores in order of their date, each after every event at or before its date.

    With dice, later events come anywhere, events come in any order, and some records come twice.
    """
    waiting = [(event, _event(at, event)) for at, event in enumerate(events)]
    if dice is not None:
        dice.shuffle(waiting)
    records: list[Record] = []
    for at, score in enumerate(scores):
        early = [one for one in waiting if one[0].hours_ago >= 24 * 7 * score.weeks_ago - 24]
        if dice is not None:
            early += [one for one in waiting if one not in early and dice.random() < 0.3]
        waiting = [one for one in waiting if one not in early]
        records += [record for _, record in early]
        records.append(_score(at, score))
        if dice is not None and dice.random() < 0.4:
            records.append(dice.choice(records))
    return records + [record for _, record in waiting]
