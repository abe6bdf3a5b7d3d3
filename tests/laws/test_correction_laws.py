"""Laws of corrections: the last content sent for a score date is that of its latest record.

The records of one person and date are read in the order of their partition; any of them may be read
again, from any earlier place on, by any replica.
"""

from collections.abc import Iterable
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.record import RecordPosition
from processor.state.format.person import encode
from processor.state.format.score_history import DeliveredScore, Novelty, PreviousScore
from processor.state.person import Person, PersonLimits, merge, novelty, previous_score, with_score

T0 = 1_790_000_000_000
LIMITS = PersonLimits(
    keep_ms=1, facts=1, fact_bytes=200, one_fact_bytes=90, scores=99, all_scores=99
)
OTHERS = [
    DeliveredScore(T0 - 1, "0b" * 32, b"x" * 8, 1.0, "low", RecordPosition(T0 + 9_000, 9_000)),
    DeliveredScore(T0 + 1, "0c" * 32, b"y" * 8, 2.0, "low", RecordPosition(T0, 1)),
]
"""Scores of the same person and model with other dates."""


@st.composite
def records(draw: st.DrawFn) -> list[DeliveredScore]:
    """Return the records of one score date, in order: few contents, many with one Kafka time."""
    steps = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=9))
    times = accumulate((step for _, step in steps), initial=T0)
    return [
        DeliveredScore(
            T0, "0a" * 32, b"%08d" % content, 10.0 * content, "low", RecordPosition(time, 100 + at)
        )
        for at, ((content, _), time) in enumerate(zip(steps, times, strict=False))
    ]


class Replica:
    """The person as a replica has it, and what it has sent."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.sent: list[DeliveredScore] = []

    def read(self, records: Iterable[DeliveredScore]) -> "Replica":
        for record in records:
            found = novelty(
                self.person,
                "churn",
                scored_at_ms=record.scored_at_ms,
                event_id=record.id,
                digest=record.digest,
                position=record.position,
            )
            if found is not Novelty.SAME:
                self.sent.append(record)
                self.person = with_score(self.person, "churn", record, LIMITS)
        return self


def fresh() -> Replica:
    person = Person()
    for other in OTHERS:
        person = with_score(person, "churn", other, LIMITS)
    return Replica(person)


@given(records(), st.data())
def test_the_last_content_sent_is_that_of_the_latest_record_and_reading_again_sends_nothing(
    records: list[DeliveredScore], data: st.DataObject
) -> None:
    replica = fresh()

    for end, latest in enumerate(records, start=1):
        replica.read(records[end - 1 : end])
        sent, state = len(replica.sent), encode(replica.person)
        start = data.draw(st.integers(0, end))
        replica.read(records[start:end])

        assert replica.sent[-1].digest == latest.digest
        assert len(replica.sent) == sent
        assert encode(replica.person) == state
        previous = previous_score(replica.person, "churn", T0 + 1)
        assert previous == PreviousScore(T0, latest.score, "low")


@given(records())
def test_a_content_is_sent_exactly_where_it_differs_from_the_record_before(
    records: list[DeliveredScore],
) -> None:
    changes = [
        record
        for at, record in enumerate(records)
        if at == 0 or record.digest != records[at - 1].digest
    ]

    assert fresh().read(records).sent == changes


@given(records(), st.integers(0, 9), st.integers(0, 9))
def test_states_of_two_replicas_merge_to_that_of_the_one_who_read_more(
    records: list[DeliveredScore], one: int, other: int
) -> None:
    first, second = fresh().read(records[:one]).person, fresh().read(records[:other]).person
    whole = fresh().read(records[: max(one, other)]).person

    assert encode(merge(first, second, LIMITS)) == encode(whole)
    assert encode(merge(second, first, LIMITS)) == encode(whole)


@given(records(), st.integers(0, 9), st.integers(0, 9))
def test_a_crash_before_the_state_is_stored_changes_nothing_of_it(
    records: list[DeliveredScore], stored: int, sent: int
) -> None:
    before = fresh().read(records[:stored]).person
    crashed = Replica(before).read(records[stored : stored + sent])

    again = Replica(before).read(records[stored:])

    assert again.sent[: len(crashed.sent)] == crashed.sent
    assert encode(again.person) == encode(fresh().read(records).person)


@given(records())
def test_records_copied_to_a_new_topic_with_their_times_send_nothing(
    records: list[DeliveredScore],
) -> None:
    replica = fresh().read(records)
    sent = len(replica.sent)

    replica.read(
        DeliveredScore(
            one.scored_at_ms,
            one.id,
            one.digest,
            one.score,
            one.bucket,
            RecordPosition(one.position.time_ms, at),
        )
        for at, one in enumerate(records)
    )

    assert len(replica.sent) == sent


@given(records(), st.data())
def test_a_record_that_was_dead_lettered_sends_nothing_where_its_content_came_again(
    records: list[DeliveredScore], data: st.DataObject
) -> None:
    rejected = data.draw(st.integers(0, len(records) - 1))
    record, later = records[rejected], records[rejected + 1 :]
    replica = fresh().read([*records[:rejected], *later])

    sent = len(replica.sent)
    replica.read([record])

    if any(one.digest == record.digest for one in replica.sent if one.position > record.position):
        assert len(replica.sent) == sent
    else:
        assert replica.sent[-1] == record or record.digest == records[rejected - 1].digest
