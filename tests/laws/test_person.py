"""Merging the states of a person is a semilattice, bounds included."""

from collections.abc import Sequence
from functools import reduce
from random import Random
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Fact
from processor.domain.record import RecordPosition
from processor.state.format.fact import decode_fact
from processor.state.format.person import decode, encode
from processor.state.format.score_history import ENTRY_BYTES, DeliveredScore, Novelty, PreviousScore
from processor.state.person import (
    Person,
    PersonLimits,
    merge,
    novelty,
    previous_score,
    with_fact,
    with_score,
    without_score,
)
from tests.support.state import event_of

HOUR_MS = 3_600_000
T0 = 1_790_000_000_000
LIMITS = PersonLimits(
    keep_ms=40 * HOUR_MS, facts=5, fact_bytes=200, one_fact_bytes=90, scores=3, all_scores=5
)
UNBOUNDED_SCORES = PersonLimits(LIMITS.keep_ms, 5, 200, 90, scores=99, all_scores=999)

facts = st.builds(
    Fact,
    time_ms=st.integers(0, 60).map(lambda hour: T0 + hour * HOUR_MS),
    id=st.sampled_from(["a", "bb", "c" * 40]),
    page=st.sampled_from(["", "home", "cart", "x" * 25, "y" * 25, "z" * 80]),
    kinds=st.sampled_from([(), ("webVisit",)]),
)
scores = st.tuples(
    st.sampled_from(["churn", "upgrade", "win"]),
    st.builds(
        DeliveredScore,
        scored_at_ms=st.integers(0, 8).map(lambda hour: hour * HOUR_MS),
        id=st.sampled_from(["0a" * 32, "0b" * 32]),
        digest=st.sampled_from([b"1" * 8, b"2" * 8]),
        score=st.sampled_from([0.0, 50.5, 100.0]),
        bucket=st.sampled_from(["low", "medium", "high"]),
        position=st.builds(
            RecordPosition, st.sampled_from([-1, 0, T0, T0 + 1]), st.sampled_from([-1, 0, 7])
        ),
    ),
)
Piece: TypeAlias = Fact | tuple[str, DeliveredScore]
pieces: st.SearchStrategy[list[Piece]] = st.lists(st.one_of(facts, scores), max_size=25)


def add(person: Person, pieces: Sequence[Piece]) -> Person:
    for piece in pieces:
        if isinstance(piece, Fact):
            person = with_fact(person, piece, LIMITS)
        else:
            person = with_score(person, *piece, LIMITS)
    return person


persons = pieces.map(lambda some: add(Person(), some))


@given(pieces, st.randoms(use_true_random=False), pieces)
def test_any_order_and_any_duplicates_give_the_same_bytes(
    some: list[Piece], random: Random, again: list[Piece]
) -> None:
    known = add(Person(), some)
    shuffled = [*some, *(piece for piece in again if piece in some), *some]
    random.shuffle(shuffled)

    assert encode(add(Person(), shuffled)) == encode(known)


@given(pieces, st.lists(st.integers(0, 3), min_size=25, max_size=25))
def test_any_split_among_owners_merges_to_the_same_bytes(
    some: list[Piece], owners: list[int]
) -> None:
    parts = [
        add(Person(), [piece for piece, owner in zip(some, owners, strict=False) if owner == one])
        for one in range(4)
    ]

    merged = reduce(lambda one, other: merge(one, other, LIMITS), parts)

    assert encode(merged) == encode(add(Person(), some))


@given(persons, persons, persons)
def test_merging_is_commutative_associative_and_idempotent(
    one: Person, two: Person, three: Person
) -> None:
    def joined(a: Person, b: Person) -> Person:
        return merge(a, b, LIMITS)

    assert encode(joined(one, two)) == encode(joined(two, one))
    assert encode(joined(joined(one, two), three)) == encode(joined(one, joined(two, three)))
    assert encode(joined(one, one)) == encode(one)
    assert encode(joined(joined(one, two), two)) == encode(joined(one, two))


@given(persons)
def test_every_bound_holds(person: Person) -> None:
    known = [decode_fact(encoded) for encoded in person.facts]
    names = [(fact.time_ms, len(fact.id), fact.id) for fact in known]

    assert names == sorted(set(names))
    assert len(names) <= LIMITS.facts
    assert sum(map(len, person.facts)) == person.weight <= LIMITS.fact_bytes
    assert not names or names[0][0] >= names[-1][0] - LIMITS.keep_ms
    assert all(0 < len(history) <= 3 * ENTRY_BYTES for history in person.scores.values())
    assert sum(map(len, person.scores.values())) <= 5 * ENTRY_BYTES


@given(persons)
def test_an_encoded_person_is_decoded_to_the_same_person(person: Person) -> None:
    assert decode(encode(person)) == person


@given(persons, scores)
def test_a_delivered_score_is_recognised_until_it_is_removed(
    person: Person, one: tuple[str, DeliveredScore]
) -> None:
    model, score = one

    def seen(person: Person) -> Novelty:
        return novelty(
            person,
            model,
            scored_at_ms=score.scored_at_ms,
            event_id=score.id,
            digest=score.digest,
            position=score.position,
        )

    marked = with_score(person, model, score, UNBOUNDED_SCORES)
    unmarked = without_score(marked, event_of((0, b"ECID|1"), score, model))

    assert seen(marked) is Novelty.SAME
    if seen(person) is not Novelty.SAME:
        assert encode(unmarked) == encode(person)


@given(st.permutations([0, 1, 2]), st.permutations([b"1" * 8, b"2" * 8, b"3" * 8]))
def test_of_a_corrected_score_the_later_record_counts_whatever_its_digest(
    arrival: list[int], digests: list[bytes]
) -> None:
    contents = [
        DeliveredScore(T0, "0a" * 32, digest, 10.0 * offset, "low", RecordPosition(T0, offset))
        for offset, digest in enumerate(digests)
    ]
    older = DeliveredScore(T0 - 1, "0b" * 32, b"9" * 8, 99.0, "high", RecordPosition(T0 + 9, 9))

    person = add(Person(), [("churn", contents[at]) for at in arrival])
    known = with_score(person, "churn", older, UNBOUNDED_SCORES)

    assert previous_score(known, "churn", T0 + 1) == PreviousScore(T0, 20.0, "low")
    assert previous_score(known, "churn", T0) == PreviousScore(T0 - 1, 99.0, "high")


class LaterPerson(Person, frozen=True, array_like=True, gc=False):
    """A person as a later version may have it."""

    added: int = 0


@given(pieces)
def test_a_field_that_is_added_survives_every_change(some: list[Piece]) -> None:
    changed = add(LaterPerson(added=7), some)
    delivered = DeliveredScore(0, "0a" * 32, b"1" * 8, 1.0, "low", RecordPosition(0, 0))
    event = event_of((0, b"ECID|1"), delivered, "churn")
    undelivered = without_score(with_score(changed, "churn", delivered, LIMITS), event)

    for person in (changed, undelivered, merge(changed, add(Person(), some), LIMITS)):
        assert isinstance(person, LaterPerson)
        assert person.added == 7
