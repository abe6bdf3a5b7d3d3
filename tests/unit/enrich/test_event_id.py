import hashlib

from processor.enrich.prepared_score import digest, event_id, id_seed
from tests.support.enriching import score_of

SEED = id_seed("acme", "Upgrade")


def test_the_id_is_the_sha_256_of_length_prefixed_parts() -> None:
    text = "score-event/1|4:acme7:Upgrade4:ECID3:1231785715200000"

    expected = hashlib.sha256(text.encode()).hexdigest()

    assert event_id(SEED, "ECID", "123", 1_785_715_200_000) == expected


def test_parts_with_the_same_concatenation_give_different_ids() -> None:
    assert event_id(SEED, "A", "BC", 1) != event_id(SEED, "AB", "C", 1)
    assert event_id(SEED, "A", "1", 11) != event_id(SEED, "A", "11", 1)
    assert id_seed("acme", "Churn") != id_seed("acmeC", "hurn")


def test_the_digest_is_the_same_for_all_number_forms() -> None:
    assert digest(score_of(score=83, probability=1)) == digest(
        score_of(score=83.0, probability=1.0)
    )
    assert digest(score_of(score=0.0)) == digest(score_of(score=-0.0))


def test_the_digest_is_the_same_for_all_key_orders() -> None:
    one = score_of(factors=({"code": "a", "value": "b"},))
    other = score_of(factors=({"value": "b", "code": "a"},))

    assert digest(one) == digest(other)


def test_the_digest_differs_with_every_part_of_the_content() -> None:
    scores = [
        score_of(),
        score_of(score=82.1),
        score_of(probability=None),
        score_of(percentile=91),
        score_of(model_type="Churn"),
        score_of(factors=()),
        score_of(factors=({"code": "b"}, {"code": "a"})),
        score_of(factors=({"code": "a"}, {"code": "b"})),
    ]

    assert len({digest(score) for score in scores}) == len(scores)


def test_the_digest_does_not_depend_on_person_date_and_model() -> None:
    assert digest(score_of()) == digest(score_of(identities=(), scored_at_ms=1, model="other"))
