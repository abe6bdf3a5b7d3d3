"""Scores in both shapes, and what is wrong with bad ones."""

import pytest

from processor.codec.scores import MAX_MODELS
from processor.domain.outcome import Reason
from processor.domain.score import Score
from tests.support.reading import ECID, a_model, a_profile, json_record, reader_with, refusal

READER = reader_with()
MIDNIGHT_MS = 1_785_715_200_000


def _scores(content: object) -> tuple[Score, ...]:
    return READER.read(json_record(content)).scores


def test_profile_shaped_record_is_read() -> None:
    factors = [{"code": "Counts of webVisit", "value": "14", "importance": "high"}]

    (score,) = _scores(a_profile(Churn=a_model(influentialFactors=factors)))

    assert (score.model, score.score, score.scored_at_ms) == ("Churn", 83.1, MIDNIGHT_MS)
    assert (score.probability, score.percentile, score.model_type) == (0.412, 92, "Conversion")
    assert list(score.factors) == factors
    assert score.identities[0].id == ECID


def test_every_model_is_a_score_of_its_own() -> None:
    scores = _scores(a_profile(Churn=a_model(score=1), Upgrade=a_model(score=2)))

    assert [(score.model, score.score) for score in scores] == [("Churn", 1.0), ("Upgrade", 2.0)]


def test_bad_model_does_not_cost_the_good_one() -> None:
    reading = READER.read(json_record(a_profile(Churn=a_model(score="?"), Upgrade=a_model())))

    assert [score.model for score in reading.scores] == ["Upgrade"]
    assert [reject.model for reject in reading.rejects] == ["Churn"]


@pytest.mark.parametrize("container", ["CustomerAI", "customerai", "CUSTOMERAI", "customerAI"])
@pytest.mark.parametrize("tenant", ["_acme", "_x7", "_experience"])
def test_any_tenant_and_letter_case_of_the_container(container: str, tenant: str) -> None:
    record = {**a_profile(), tenant: {container: {"Churn": a_model()}}}

    assert [score.model for score in _scores(record)] == ["Churn"]


@pytest.mark.parametrize(
    ("key", "value", "leaf", "read"),
    [
        ("propensityScore", 7, "score", 7.0),
        ("SCORE", "7.5", "score", 7.5),
        ("percentile", 92.0, "percentile", 92),
        ("percentileRank", "92", "percentile", 92),
        ("PercentileScore", "92.0", "percentile", 92),
        ("propensity", "4.12e-1", "probability", 0.412),
        ("propensityType", " Churn ", "model_type", "Churn"),
        ("modelType", "", "model_type", None),
        ("modelType", " Chu\x00rn\x1f ", "model_type", "Churn"),
        ("score", " 83.1 ", "score", 83.1),
        ("probability", "", "probability", None),
        ("probability", " 0.5 ", "probability", 0.5),
        ("percentileScore", " ", "percentile", None),
        ("percentileScore", " 92\t", "percentile", 92),
        ("scoreDate", "20260803", "scored_at_ms", MIDNIGHT_MS),
        ("score_date", 1_785_715_200, "scored_at_ms", MIDNIGHT_MS),
        ("factors", [{"code": "x"}], "factors", ({"code": "x"},)),
    ],
)
def test_leaves_go_by_many_names_and_forms(
    key: str, value: object, leaf: str, read: object
) -> None:
    least = {"score": 50, "scoreDate": "2026-08-03"}
    replaced = {"score": "score", "scored_at_ms": "scoreDate"}.get(leaf, "")
    model = {name: kept for name, kept in least.items() if name != replaced} | {key: value}

    (score,) = _scores(a_profile(Churn=model))

    assert getattr(score, leaf) == read


def test_earlier_alias_goes_before_a_later_one_unless_it_is_null() -> None:
    both = a_model(percentileScore=1, percentile=2)
    null = a_model(percentileScore=None, percentile=2)

    assert [one.percentile for one in _scores(a_profile(A=both, B=null))] == [1, 2]


@pytest.mark.parametrize(
    ("factors", "read"),
    [
        (None, ()),
        ([], ()),
        ([None, {}], ()),
        ([{"code": None, "value": ""}], ()),
        (
            [{"Code": "a", "VALUE": 14, "Importance": "HIGH"}],
            ({"code": "a", "value": "14", "importance": "high"},),
        ),
        ([{"code": "a", "value": True, "x": 1}], ({"code": "a", "value": "true"},)),
        ([{"code": "a", "value": 1.5}], ({"code": "a", "value": "1.5"},)),
        ([{"code": "a", "importance": " Low "}], ({"code": "a", "importance": "low"},)),
        ([{"code": "a", "importance": "very high"}], ({"code": "a"},)),
        ([{"importance": "grave"}, {"code": " ", "value": "\x00"}], ()),
        (
            [{"code": "a\x00b", "value": "\x1b1", "importance": "low"}],
            ({"code": "ab", "value": "1", "importance": "low"},),
        ),
        (
            [{"code": " ", "value": "1", "importance": "low"}],
            ({"value": "1", "importance": "low"},),
        ),
    ],
)
def test_factors_are_text_and_may_be_missing(factors: object, read: object) -> None:
    (score,) = _scores(a_profile(Churn=a_model(influentialFactors=factors)))

    assert score.factors == read


def test_key_of_no_name_is_no_leaf() -> None:
    (score,) = _scores(a_profile(Churn={"score": 1, "scoreDate": "2026-08-03", "": 5}))

    assert (score.probability, score.model_type) == (None, None)


def test_factors_beyond_the_limit_are_left_out() -> None:
    many = [{"code": str(place), "value": "1", "importance": "low"} for place in range(50)]

    (score,) = (
        reader_with({"reading/max_factors": 3})
        .read(json_record(a_profile(Churn=a_model(influentialFactors=many))))
        .scores
    )

    assert [factor["code"] for factor in score.factors] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("leaves", "reason", "leaf"),
    [
        ({"score": "high"}, Reason.BAD_SCORE, "/score"),
        ({"score": "NaN"}, Reason.BAD_SCORE, "/score"),
        ({"score": "1_0"}, Reason.BAD_SCORE, "/score"),
        ({"score": "1e999"}, Reason.BAD_SCORE, "/score"),
        ({"score": True}, Reason.BAD_SCORE, "/score"),
        ({"score": None}, Reason.BAD_SCORE, ""),
        ({"probability": [0.5]}, Reason.BAD_SCORE, "/probability"),
        ({"percentileScore": 92.5}, Reason.BAD_SCORE, "/percentileScore"),
        ({"percentileScore": "ninety"}, Reason.BAD_SCORE, "/percentileScore"),
        ({"modelType": 3}, Reason.BAD_SCORE, "/modelType"),
        ({"influentialFactors": "x"}, Reason.BAD_SCORE, "/influentialFactors"),
        ({"influentialFactors": [7]}, Reason.BAD_SCORE, "/influentialFactors"),
        ({"influentialFactors": [{"code": {}}]}, Reason.BAD_SCORE, "/influentialFactors"),
        ({"scoreDate": "2026-02-30"}, Reason.BAD_DATE, "/scoreDate"),
        ({"scoreDate": None}, Reason.BAD_DATE, ""),
    ],
)
def test_bad_leaf_is_pointed_at(leaves: dict[str, object], reason: Reason, leaf: str) -> None:
    reject = refusal(READER, json_record(a_profile(Churn=a_model(**leaves))))

    assert (reject.reason, reject.model) == (reason, "Churn")
    assert reject.pointer == f"/_acme/CustomerAI/Churn{leaf}"


def test_pointer_leads_through_the_envelope_and_is_escaped() -> None:
    entity = {**a_profile(), "_acme": {"CustomerAI": {"a/b~c": a_model(score="?")}}}

    reject = refusal(READER, json_record({"header": {}, "body": {"xdmEntity": entity}}))

    assert reject.pointer == "/body/xdmEntity/_acme/CustomerAI/a~1b~0c/score"


def test_more_models_than_any_tenant_has_are_refused_as_one() -> None:
    models = {f"M{place}": a_model(score="?") for place in range(MAX_MODELS + 1)}

    reject = refusal(READER, json_record(a_profile(**models)))

    assert (reject.reason, reject.model) == (Reason.BAD_SCORE, "")


def test_flat_record_names_its_prediction() -> None:
    flat = {"namespace": "CRMID", "id": "7", "prediction": "Churn 2026", **a_model()}

    (score,) = _scores(flat)

    assert (score.model, score.score, score.percentile) == ("Churn 2026", 83.1, 92)


def test_bad_flat_record_is_pointed_at() -> None:
    flat = {
        "namespace": "CRMID",
        "id": "7",
        "Prediction": "Churn",
        **a_model(Score="?", score=None),
    }

    reject = refusal(READER, json_record(flat))

    assert (reject.pointer, reject.model) == ("/Score", "Churn")


@pytest.mark.parametrize(
    "record",
    [
        {},
        a_profile(),
        a_profile(Churn=None),
        a_profile(Churn={"score": None}),
        {"_acme": {"CustomerAI": []}},
        {"CustomerAI": {"Churn": a_model()}},
        {"prediction": " ", **a_model()},
    ],
)
def test_record_without_a_score_says_so(record: object) -> None:
    assert refusal(READER, json_record(record)).reason is Reason.NO_SCORE


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({}, Reason.NO_IDENTITY),
        ({"identityMap": {}}, Reason.NO_IDENTITY),
        ({"identityMap": {"CRMID": [{"id": 7}]}}, Reason.BAD_IDENTITY),
        ({"endUserIDs": {"_experience": {"mcid": {"id": 1e37}}}}, Reason.BAD_IDENTITY),
    ],
)
def test_score_about_nobody_is_refused(who: dict[str, object], reason: Reason) -> None:
    nested = {"_acme": {"CustomerAI": {"Churn": a_model()}}}
    flat = {"prediction": "Churn", **a_model()}

    assert refusal(READER, json_record({**who, **nested})).reason is reason
    assert refusal(READER, json_record({**who, **flat})).reason is reason


def test_score_may_come_in_the_format_of_an_event() -> None:
    event = {"_id": "1", "timestamp": "2026-08-03T00:00:00Z", **a_profile(Churn=a_model())}

    reading = READER.read(json_record(event))

    assert [score.model for score in reading.scores] == ["Churn"]
    assert reading.event is None


def test_what_keys_mean_is_remembered_within_bounds() -> None:
    for place in range(2_000):
        odd = a_model(**{f"unknown{place}": 1})
        assert _scores(a_profile(Churn=odd))[0].score == 83.1
