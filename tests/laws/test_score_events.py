"""Laws of score events: they are valid, `_id` is of the score alone, context is of the past."""

import json
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Fact
from processor.domain.outcome import ContextStatus
from processor.domain.score import Identity, Score
from processor.enrich.prepared_score import digest, event_id, id_seed
from processor.state.format.score_history import DeliveredScore
from processor.state.person import Person
from tests.support.enriching import (
    AT_MS,
    DAY_MS,
    MODEL_KEY,
    NOW_MS,
    body_of,
    enricher_with,
    person_of,
    score_of,
)
from tests.support.xdm_rules import broken_rules

ENRICHER = enricher_with()

ecids = st.text("0123456789", min_size=38, max_size=38).map(lambda text: Identity("ECID", text))
others = st.builds(
    Identity,
    st.sampled_from(["CRMID", "Email", "LOYALTY", " "]),
    st.text(max_size=40),
    st.booleans(),
)
named = st.builds(Identity, st.just("CRMID"), st.integers(1, 10**9).map(lambda n: f"c{n}"))
identities = st.builds(lambda rest, one: (*rest, one), st.lists(ecids | others, max_size=25), named)
factors = st.lists(
    st.dictionaries(st.sampled_from(["code", "value", "importance"]), st.text(max_size=600)),
    max_size=20,
).map(tuple)
scores = st.builds(
    Score,
    model=st.sampled_from(["Likelihood to upgrade account", "likelihoodToUpgradeAccount"]),
    identities=identities,
    score=st.integers(0, 100) | st.floats(0, 100),
    scored_at_ms=st.integers(NOW_MS - 3_000 * DAY_MS, NOW_MS),
    probability=st.none() | st.floats(0, 1),
    percentile=st.none() | st.integers(1, 100),
    model_type=st.none() | st.text(max_size=600),
    factors=factors,
)
texts = st.text(max_size=60)
facts = st.builds(
    Fact,
    time_ms=st.integers(AT_MS - 60 * DAY_MS, AT_MS + 20 * DAY_MS),
    id=st.text("abcdef", min_size=1, max_size=4),
    type=texts,
    kinds=st.lists(st.sampled_from(["search", "webVisit", "own"]), max_size=3).map(tuple),
    success=st.booleans(),
    page=texts,
    campaign=texts,
    order_id=texts,
    cohort=texts,
    audiences=st.lists(texts.filter(bool), max_size=4).map(tuple),
)
past_scores = st.builds(
    DeliveredScore,
    scored_at_ms=st.integers(AT_MS - 90 * DAY_MS, AT_MS + 20 * DAY_MS),
    id=st.just("ab" * 32),
    digest=st.just(b"8 bytes."),
    score=st.floats(0, 100),
    bucket=st.sampled_from(["low", "medium", "high"]),
)
stored_values = st.lists(facts | past_scores, max_size=12)


def event_of(score: Score, person: Person | None, status: ContextStatus) -> dict[str, Any]:
    prepared = ENRICHER.prepare(score, NOW_MS)
    event: dict[str, Any] = json.loads(body_of(ENRICHER, prepared, person, status))
    return event


@given(scores, stored_values, st.sampled_from(ContextStatus))
def test_every_accepted_score_becomes_a_valid_xdm_event(
    score: Score, stored: list[Fact | DeliveredScore], status: ContextStatus
) -> None:
    event = event_of(score, person_of(*stored), status)

    fields = event["_acme"]["CustomerAI"][MODEL_KEY]
    assert broken_rules(event, "acme") == []
    assert event["timestamp"] == fields["scoreDate"]
    assert fields["score"] == score.score
    assert isinstance(fields["score"], float)


@given(scores, stored_values)
def test_the_context_does_not_depend_on_later_events(
    score: Score, stored: list[Fact | DeliveredScore]
) -> None:
    as_of_ms = score.scored_at_ms
    before = [
        one
        for one in stored
        if (one.time_ms <= as_of_ms if isinstance(one, Fact) else one.scored_at_ms < as_of_ms)
    ]

    whole = event_of(score, person_of(*stored), ContextStatus.PARTIAL)
    past = event_of(score, person_of(*before), ContextStatus.PARTIAL)

    assert whole == past


@given(scores, stored_values, stored_values)
def test_id_and_digest_depend_on_the_score_alone(
    score: Score, one: list[Fact | DeliveredScore], other: list[Fact | DeliveredScore]
) -> None:
    now, later = ENRICHER.prepare(score, NOW_MS), ENRICHER.prepare(score, NOW_MS + DAY_MS)
    first = json.loads(body_of(ENRICHER, now, person_of(*one), ContextStatus.COMPLETE))
    again = json.loads(body_of(ENRICHER, later, person_of(*other), ContextStatus.PARTIAL))

    assert first["_id"] == again["_id"] == now.id
    assert (now.digest, now.person) == (later.digest, later.person)


@given(
    scores.filter(lambda score: len(score.identities) < 5),
    st.sampled_from(["Likelihood to upgrade account", "LIKELIHOOD_TO_UPGRADE-ACCOUNT"]),
)
def test_id_does_not_depend_on_the_order_of_identities_or_the_spelling_of_the_model(
    score: Score, model: str
) -> None:
    orders = permutations(score.identities)

    ids = {
        ENRICHER.prepare(Score(model, order, score.score, score.scored_at_ms), NOW_MS).id
        for order in orders
    }

    assert ids == {ENRICHER.prepare(score, NOW_MS).id}


@given(st.integers(0, 100), factors)
def test_the_digest_depends_on_the_content_not_its_form(
    number: int, listed: tuple[dict[str, str], ...]
) -> None:
    reordered = tuple(dict(reversed(factor.items())) for factor in listed)

    assert digest(score_of(score=number, factors=listed)) == digest(
        score_of(score=float(number), factors=reordered)
    )


parts = st.tuples(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6), st.integers())


@given(parts, parts)
def test_different_parts_give_different_ids(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    first = event_id(id_seed("acme", one[0]), *one[1:])
    second = event_id(id_seed("acme", other[0]), *other[1:])

    assert (first == second) == (one == other)
