"""Which score records take the fast path, and which are read the general way."""

import pytest

from processor.codec.dates import Dates
from processor.codec.entity import IdentityReader
from processor.codec.fast_path import FastScoreReader
from processor.codec.json_text import decode_json
from processor.domain.outcome import Reason
from processor.settings import IdentitySettings, ReadingSettings
from tests.support.paths import ROOT
from tests.support.reading import ECID, a_model, a_profile, json_record, reader_with, refusal

VALID = ROOT / "schemas/examples/customer-ai-scores/valid"
FACTOR = {"code": "Counts of webVisit", "value": "14", "importance": "high"}
FLAT = {"namespace": "CRMID", "id": "7", "prediction": "Churn", "score": 1, "scoreDate": 1}


def _fast_path(tenant: str = "acme", **changes: object) -> FastScoreReader:
    settings = ReadingSettings.model_validate(changes)
    return FastScoreReader(settings, tenant, IdentityReader(IdentitySettings()), Dates("UTC"))


def _is_fast(content: object, fast_path: FastScoreReader) -> bool:
    text = json_record(content).value
    assert text is not None
    is_fast = bool(fast_path.of_json(text))
    assert is_fast == bool(fast_path.of_value(decode_json(text, 64)))
    return is_fast


@pytest.mark.parametrize(
    "name",
    [
        *("profile-one-model", "profile-several-models", "wild-epoch-date"),
        *("envelope", "flat-identities", "flat-least", "wild-flat-identity-map"),
    ],
)
def test_examples_in_the_frequent_form_take_the_fast_path(name: str) -> None:
    assert _is_fast((VALID / f"{name}.json").read_bytes(), _fast_path())


def test_fast_path_reads_no_deeper_than_the_least_depth_limit() -> None:
    reader = reader_with({"reading/max_depth": 8})
    deepest = json_record((VALID / "envelope.json").read_bytes())
    nested: object = "2026-08-03"
    for _ in range(8):
        nested = [nested]

    assert reader.read(deepest).scores
    assert refusal(reader, json_record({**FLAT, "scoreDate": nested})).reason is Reason.TOO_DEEP


def test_size_limit_is_checked_before_the_fast_path() -> None:
    reader = reader_with({"reading/max_record_bytes": 1_024})
    record = a_profile(Churn=a_model(influentialFactors=[FACTOR] * 20))

    assert _is_fast(record, _fast_path())
    assert refusal(reader, json_record(record)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("tenant", ["acme", "_acme"])
def test_fast_path_is_for_the_tenant_of_the_settings(tenant: str) -> None:
    assert _is_fast(a_profile(Churn=a_model()), _fast_path(tenant))
    assert not _is_fast(a_profile(Churn=a_model()), _fast_path("other"))


@pytest.mark.parametrize(
    "fields",
    [
        {"Score": 1},
        {"percentile": 5},
        {"propensity": 0.5},
        {"score": None},
        {"score": "83.1"},
        {"percentileScore": 92.5},
        {"scoreDate": "soon"},
        {"influentialFactors": [{**FACTOR, "Code": "x"}]},
        {"influentialFactors": [{**FACTOR, "importance": "HIGH"}]},
        {"influentialFactors": [{**FACTOR, "value": 14}]},
        {"influentialFactors": [{**FACTOR, "value": ""}]},
        {"influentialFactors": [{"code": "x", "value": "1"}]},
        {"influentialFactors": [None]},
        {"horizonDays": 30},
    ],
)
def test_model_in_another_form_is_read_the_general_way(fields: dict[str, object]) -> None:
    assert _is_fast(a_profile(Churn=a_model(influentialFactors=[FACTOR])), _fast_path())
    assert not _is_fast(a_profile(Churn=a_model(**fields)), _fast_path())


@pytest.mark.parametrize(
    "more",
    [
        {"_other": {"CustomerAI": {"Churn": a_model()}}},
        {"endUserIDs": {"_experience": {"mcid": {"id": ECID}}}},
        {"identityMap": {}},
        {"identityMap": {"ECID": [{"id": 7}]}},
        {"identityMap": {"ECID": {"id": ECID}}},
        {"_acme": {"loyalty": {}, "CustomerAI": {"Churn": a_model()}}},
        {"_acme": {"CustomerAI": {f"M{index}": a_model() for index in range(65)}}},
        {"body": {"score": 1}, "header": {}},
    ],
)
def test_record_in_another_form_is_read_the_general_way(more: dict[str, object]) -> None:
    assert not _is_fast({**a_profile(Churn=a_model()), **more}, _fast_path())


@pytest.mark.parametrize("more", [{"prediction": " "}, {"id": None}, {"_acme": {"CustomerAI": {}}}])
def test_flat_record_in_another_form_is_read_the_general_way(more: dict[str, object]) -> None:
    assert _is_fast(FLAT, _fast_path())
    assert not _is_fast({**FLAT, **more}, _fast_path())


@pytest.mark.parametrize("value", [None, [], 7, "x", {}, {"body": None}, {"body": {}}])
def test_value_that_is_not_a_record_is_left_to_the_general_way(value: object) -> None:
    assert _fast_path().of_value(value) == ()


def test_fast_path_uses_the_aliases_of_the_settings() -> None:
    aliases = {"score": ["points", "score"], "scoreDate": ["day"]}
    model = {"points": 5, "day": "2026-08-03"}

    assert _is_fast(a_profile(Churn=model), _fast_path(aliases=aliases))
    assert not _is_fast(a_profile(Churn=a_model()), _fast_path(aliases=aliases))


@pytest.mark.parametrize(
    "aliases",
    [
        {"score": ['a"b', "score"]},
        {"score": ["score"], "probability": ["score"]},
        {"modelType": ["modelType", "namespace"]},
        {"prediction": ["identityMap", "prediction"], "score": ["id"]},
        {"percentile": []},
    ],
)
def test_ambiguous_aliases_turn_the_fast_path_off(
    aliases: dict[str, list[str]],
) -> None:
    fast_path = _fast_path(aliases=aliases)

    assert not _is_fast(a_profile(Churn={"score": 5, "scoreDate": "2026-08-03"}), fast_path)
    assert not _is_fast(FLAT, fast_path)


def test_tenant_with_the_name_of_the_id_turns_the_fast_path_off() -> None:
    assert not _is_fast({**FLAT, "_id": "x"}, _fast_path("id"))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_avro_number_that_is_not_finite_is_read_the_general_way(score: float) -> None:
    assert _fast_path().of_value(FLAT)
    assert _fast_path().of_value({**FLAT, "score": score}) == ()
    assert _fast_path().of_value({**FLAT, "probability": score}) == ()
