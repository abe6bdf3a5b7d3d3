"""Laws of repartitioning: facts by the repartition topic have the same effect as direct events."""

from random import Random

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from processor.codec.repartition_message import decode, encode
from processor.domain.event import Fact, RepartitionMessage
from processor.domain.record import Partition, Record, RecordPosition
from processor.domain.score import Factor, Identity, Score
from tests.support.stream_run import (
    EVENTS,
    FACTS,
    NOW_MS,
    SCORES,
    StreamRun,
    event_record,
    score_record,
)

REPARTITIONED = {"join/repartition_topic": FACTS}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
facts = st.builds(
    Fact,
    time_ms=st.integers(-(2**63), 2**63 - 1),
    id=texts,
    type=texts,
    kinds=st.lists(texts, max_size=3).map(tuple),
    success=st.booleans(),
    page=texts,
    campaign=texts,
    order_id=texts,
    cohort=texts,
    audiences=st.lists(texts, max_size=3).map(tuple),
)
scores = st.builds(
    Score,
    model=texts,
    identities=st.lists(st.builds(Identity, texts, texts, st.booleans()), max_size=3).map(tuple),
    score=numbers,
    scored_at_ms=st.integers(0, 2**53),
    probability=st.none() | numbers,
    percentile=st.none() | st.integers(1, 100),
    model_type=st.none() | texts,
    factors=st.lists(
        st.fixed_dictionaries({"code": texts}, optional={"value": texts, "importance": texts}).map(
            lambda one: Factor(**one)  # type: ignore[typeddict-item]  # these keys it is
        ),
        max_size=3,
    ).map(tuple),
)
messages = st.builds(
    RepartitionMessage,
    person=st.binary(max_size=20).map(lambda name: b"ECID|" + name),
    fact=st.none() | facts,
    scores=st.lists(scores, max_size=2).map(tuple),
    position=st.none() | st.builds(RecordPosition, st.integers(-1, 2**53), st.integers(0, 2**63)),
)


@given(messages)
def test_messages_are_decoded_as_they_were_encoded(message: RepartitionMessage) -> None:
    assert decode(encode(message)) == message


seen = st.lists(
    st.tuples(st.integers(1, 2), st.integers(8, 40), st.sampled_from("ABC")), max_size=8
)


@given(seen, st.randoms(use_true_random=False))
@profile(max_examples=40, deadline=None)
def test_score_events_are_the_same_with_repartitioned_facts(
    seen: list[tuple[int, int, str]], dice: Random
) -> None:
    events = [
        event_record(index, person=person, days_ago=days, page=page)
        for index, (person, days, page) in enumerate(seen)
    ]
    score = score_record(0)
    direct = played([events, [score]])

    messages = repartitioned(events)
    again = [one for one in messages if dice.random() < 0.4]
    dice.shuffle(messages)
    records = [
        Record(FACTS, 0, index, NOW_MS, key, value)
        for index, (key, value) in enumerate([*messages, *again])
    ]
    repartitioned_run = played([records, [score]], REPARTITIONED)

    assert [e.body for e in repartitioned_run.sink.accepted] == [
        e.body for e in direct.sink.accepted
    ]
    assert repartitioned_run.state_store.durable == direct.state_store.durable


def repartitioned(events: list[Record]) -> list[tuple[bytes, bytes]]:
    """Return the messages that experience events become."""
    return list(played([events], REPARTITIONED).repartition.written)


def played(polls: list[list[Record]], changes: dict[str, str] | None = None) -> StreamRun:
    """Return a run that has these polls behind it."""
    run = StreamRun(polls, changes)
    run.source.group = frozenset(Partition(topic, 0) for topic in (SCORES, EVENTS, FACTS))
    assert run.finish()
    return run
