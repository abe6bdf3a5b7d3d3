"""Scores in both shapes, and the rejects of bad ones."""

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


def test_each_model_is_one_score() -> None:
    scores = _scores(a_profile(Churn=a_model(score=1), Upgrade=a_model(score=2)))

    assert [(score.model, score.score) for score in scores] == [("Churn", 1.0), ("Upgrade", 2.0)]


def test_bad_model_does_not_affect_the_good_one() -> None:
    reading = READER.read(json_record(a_profile(Churn=a_model(score="?"), Upgrade=a_model())))

    assert [score.model for score in reading.scores] == ["Upgrade"]
    assert [reject.model for reject in reading.rejects] == ["Churn"]


@pytest.mark.parametrize("container", ["CustomerAI", "customerai", "CUSTOMERAI", "customerAI"])
@pytest.mark.parametrize("tenant", ["_acme", "_x7", "_experience"])
def test_any_tenant_and_letter_case_of_the_container_is_read(container: str, tenant: str) -> None:
    record = {**a_profile(), tenant: {container: {"Churn": a_model()}}}

    assert [score.model for score in _scores(record)] == ["Churn"]


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
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
def test_fields_have_many_names_and_forms(
    key: str, value: object, field: str, read: object
) -> None:
    least = {"score": 50, "scoreDate": "2026-08-03"}
    reindexd = {"score": "score", "scored_at_ms": "scoreDate"}.get(field, "")
    model = {name: one for name, one in least.items() if name != reindexd} | {key: value}

    (score,) = _scores(a_profile(Churn=model))

    assert getattr(score, field) == read


def test_earlier_alias_wins_unless_it_is_null() -> None:
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


def test_empty_key_is_not_a_field() -> None:
    (score,) = _scores(a_profile(Churn={"score": 1, "scoreDate": "2026-08-03", "": 5}))

    assert (score.probability, score.model_type) == (None, None)


def test_factors_beyond_the_limit_are_left_out() -> None:
    many = [{"code": str(index), "value": "1", "importance": "low"} for index in range(50)]

    (score,) = (
        reader_with({"reading/max_factors": 3})
        .read(json_record(a_profile(Churn=a_model(influentialFactors=many))))
        .scores
    )

    assert [factor["code"] for factor in score.factors] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("fields", "reason", "pointer"),
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
def test_bad_field_is_rejected_with_its_pointer(
    fields: dict[str, object], reason: Reason, pointer: str
) -> None:
    reject = refusal(READER, json_record(a_profile(Churn=a_model(**fields))))

    assert (reject.reason, reject.model) == (reason, "Churn")
    assert reject.pointer == f"/_acme/CustomerAI/Churn{pointer}"


def test_pointer_includes_the_envelope_and_is_escaped() -> None:
    entity = {**a_profile(), "_acme": {"CustomerAI": {"a/b~c": a_model(score="?")}}}

    reject = refusal(READER, json_record({"header": {}, "body": {"xdmEntity": entity}}))

    assert reject.pointer == "/body/xdmEntity/_acme/CustomerAI/a~1b~0c/score"


def test_record_with_too_many_models_is_rejected_as_a_whole() -> None:
    models = {f"M{index}": a_model(score="?") for index in range(MAX_MODELS + 1)}

    reject = refusal(READER, json_record(a_profile(**models)))

    assert (reject.reason, reject.model) == (Reason.BAD_SCORE, "")


def test_flat_record_has_its_prediction() -> None:
    flat = {"namespace": "CRMID", "id": "7", "prediction": "Churn 2026", **a_model()}

    (score,) = _scores(flat)

    assert (score.model, score.score, score.percentile) == ("Churn 2026", 83.1, 92)


def test_bad_flat_record_is_rejected_with_its_pointer() -> None:
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
def test_record_without_a_score_is_rejected(record: object) -> None:
    assert refusal(READER, json_record(record)).reason is Reason.NO_SCORE


@pytest.mark.parametrize(
    ("identities", "reason"),
    [
        ({}, Reason.NO_IDENTITY),
        ({"identityMap": {}}, Reason.NO_IDENTITY),
        ({"identityMap": {"CRMID": [{"id": 7}]}}, Reason.BAD_IDENTITY),
        ({"endUserIDs": {"_experience": {"mcid": {"id": 1e37}}}}, Reason.BAD_IDENTITY),
    ],
)
def test_score_without_an_identity_is_rejected(
    identities: dict[str, object], reason: Reason
) -> None:
    nested = {"_acme": {"CustomerAI": {"Churn": a_model()}}}
    flat = {"prediction": "Churn", **a_model()}

    assert refusal(READER, json_record({**identities, **nested})).reason is reason
    assert refusal(READER, json_record({**identities, **flat})).reason is reason


def test_score_in_the_form_of_an_event_is_read() -> None:
    event = {"_id": "1", "timestamp": "2026-08-03T00:00:00Z", **a_profile(Churn=a_model())}

    reading = READER.read(json_record(event))

    assert [score.model for score in reading.scores] == ["Churn"]
    assert reading.event is None


def test_cache_of_keys_is_bounded() -> None:
    for index in range(2_000):
        body = a_model(**{f"unknown{index}": 1})
        assert _scores(a_profile(Churn=body))[0].score == 83.1
